#include "server/auth.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <system_error>

#include "engine/error.h"
#include "server/http/head.h"

namespace qwend {

namespace {

constexpr size_t kMaxKeyLength = 1024;

std::string_view trim(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

bool is_printable(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c > ' ' && c < 0x7f; });
}

// The key in "Bearer KEY"; nothing for any other scheme.
std::optional<std::string_view> bearer_key(std::string_view value) {
  constexpr std::string_view kScheme = "bearer ";
  if (value.size() <= kScheme.size() ||
      !http::equals_ignoring_case(value.substr(0, kScheme.size()), kScheme)) {
    return std::nullopt;
  }
  return trim(value.substr(kScheme.size()));
}

}  // namespace

ApiKeys::Digest ApiKeys::digest_of(std::string_view text) {
  Digest digest;
  unsigned size = 0;
  CHECK(::EVP_Digest(text.data(), text.size(), digest.data(), &size, ::EVP_sha256(), nullptr) == 1);
  CHECK(size == digest.size());
  return digest;
}

void ApiKeys::add_entry(std::string_view entry, const std::string& where) {
  entry = trim(entry);
  if (entry.empty() || entry.front() == '#') return;
  const size_t colon = entry.find(':');
  std::string name = "key" + std::to_string(keys_.size() + 1);
  std::string_view key = entry;
  if (colon != std::string_view::npos) {
    name = trim(entry.substr(0, colon));
    key = trim(entry.substr(colon + 1));
    if (name.empty() || !is_printable(name))
      throw LoadError(where + ": a key's name must be printable, without spaces");
  }
  if (key.empty() || key.size() > kMaxKeyLength || !is_printable(key)) {
    throw LoadError(where + ": a key must be 1 to " + std::to_string(kMaxKeyLength) +
                    " printable characters without spaces");
  }
  const Digest digest = digest_of(key);
  for (const Key& other : keys_) {
    if (other.name == name) throw LoadError(where + ": the name \"" + name + "\" is used twice");
    if (other.digest == digest)
      throw LoadError(where + ": the key of \"" + name + "\" is that of \"" + other.name + "\"");
  }
  keys_.push_back({std::move(name), digest});
}

void ApiKeys::add_file(const std::string& path) {
  std::ifstream file(path);
  if (!file)
    throw LoadError(path + ": can't open the file of API keys: " + std::generic_category().message(errno));
  const size_t before = keys_.size();
  std::string line;
  for (int number = 1; std::getline(file, line); ++number)
    add_entry(line, path + ":" + std::to_string(number));
  if (file.bad()) throw LoadError(path + ": can't read the file of API keys");
  // An empty file would leave the server open to everyone, which is never what naming it meant.
  if (keys_.size() == before) throw LoadError(path + ": the file holds no API key");
}

void ApiKeys::add_environment(const char* variable) {
  const char* const value = std::getenv(variable);
  if (value == nullptr) return;
  std::string entries = value;
  ::unsetenv(variable);  // children and core dumps need not see it
  std::ranges::replace(entries, '\n', ',');
  const size_t before = keys_.size();
  for (size_t start = 0; start <= entries.size();) {
    const size_t end = std::min(entries.find(',', start), entries.size());
    add_entry(std::string_view(entries).substr(start, end - start), variable);
    start = end + 1;
  }
  if (keys_.size() == before)
    throw LoadError(std::string(variable) + ": the variable is set but holds no API key");
}

http::AuthResult ApiKeys::check(const http::Request& head) const {
  int credentials = 0;
  std::string_view presented;
  for (const auto& [name, value] : head.headers) {
    if (name == "x-api-key") {
      ++credentials;
      presented = value;
    } else if (name == "authorization") {
      ++credentials;
      presented = bearer_key(value).value_or(std::string_view());
    }
  }
  if (credentials != 1) presented = {};
  const Digest digest = digest_of(presented);
  const Key* match = nullptr;
  for (const Key& key : keys_) {
    const bool equal = ::CRYPTO_memcmp(key.digest.data(), digest.data(), digest.size()) == 0;
    match = equal ? &key : match;  // no early exit
  }
  return match != nullptr ? http::AuthResult{true, match->name} : http::AuthResult{false, ""};
}

http::Authoriser ApiKeys::authoriser() const {
  return [this](const http::Request& head) { return check(head); };
}

}  // namespace qwend
