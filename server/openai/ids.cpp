#include "server/openai/ids.h"

#include <openssl/sha.h>

#include <array>

namespace qwend {
namespace {

std::array<unsigned char, SHA256_DIGEST_LENGTH> digest(std::string_view text) {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> out;
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), out.data());
  return out;
}

}  // namespace

std::string make_id(std::string_view prefix, std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  const auto bytes = digest(text);
  std::string id(prefix);
  for (int i = 0; i < 12; ++i) {
    id += kHex[bytes[i] >> 4];
    id += kHex[bytes[i] & 15];
  }
  return id;
}

uint64_t hash64(std::string_view text) {
  const auto bytes = digest(text);
  uint64_t hash = 0;
  for (int i = 0; i < 8; ++i) hash = hash << 8 | bytes[i];
  return hash;
}

}  // namespace qwend
