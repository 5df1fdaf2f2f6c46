// API keys: who may call.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "server/http/http_server.h"

namespace qwend {

// A set of named keys, of which only SHA-256 digests are kept. Filled at start-up; read-only and so
// thread-safe afterwards.
class ApiKeys {
 public:
  // One key a line, `KEY` or `NAME:KEY`; empty lines and lines starting with # are skipped. A key without a
  // name is called key1, key2 … by its place. Throws LoadError naming file and line, never a key's text.
  void add_file(const std::string& path);
  // The same entries, separated by commas or line ends, from an environment variable; nothing if it is not
  // set. The variable is removed from the environment.
  void add_environment(const char* variable);

  bool empty() const { return keys_.empty(); }
  size_t size() const { return keys_.size(); }

  // Exactly one credential must be present: `Authorization: Bearer KEY` or `x-api-key: KEY`. Takes the same
  // steps whatever is wrong: the digest of what was presented is compared with every key in full.
  http::AuthResult check(const http::Request& head) const;
  // For Server::set_authoriser; the keys must outlive the server.
  http::Authoriser authoriser() const;

 private:
  using Digest = std::array<uint8_t, 32>;
  struct Key {
    std::string name;
    Digest digest;
  };
  static Digest digest_of(std::string_view text);
  void add_entry(std::string_view entry, const std::string& where);

  std::vector<Key> keys_;
};

}  // namespace qwend
