#include "server/cli/tokenize.h"

#include <algorithm>
#include <iomanip>
#include <nlohmann/json.hpp>
#include <ostream>

#include "engine/gguf/printable.h"
#include "engine/text/utf8.h"

namespace qwend::cli {

namespace {

nlohmann::ordered_json token_json(const Tokenizer& tokenizer, int32_t id) {
  const std::string_view bytes = tokenizer.bytes(id);
  const std::string text = sanitize_utf8(bytes);
  nlohmann::ordered_json entry = {{"id", id}, {"type", name_of(tokenizer.type(id))}, {"text", text}};
  if (text != bytes) {
    auto& numbers = entry["bytes"] = nlohmann::ordered_json::array();
    for (const char byte : bytes) numbers.push_back(static_cast<unsigned char>(byte));
  }
  return entry;
}

void print_json(const Tokenizer& tokenizer, const std::vector<int32_t>& ids, std::ostream& out) {
  nlohmann::ordered_json tokens = nlohmann::ordered_json::array();
  for (const int32_t id : ids) tokens.push_back(token_json(tokenizer, id));
  out << nlohmann::ordered_json{{"count", ids.size()}, {"tokens", std::move(tokens)}}.dump() << '\n';
}

void print_table(const Tokenizer& tokenizer, const std::vector<int32_t>& ids, std::ostream& out) {
  constexpr int kIdWidth = 7, kTypeWidth = 12;  // USER_DEFINED
  const bool any_special = std::any_of(ids.begin(), ids.end(),
                                       [&](int32_t id) { return tokenizer.type(id) != TokenType::Normal; });
  for (const int32_t id : ids) {
    const TokenType type = tokenizer.type(id);
    const std::string_view bytes = tokenizer.bytes(id);
    out << std::right << std::setw(kIdWidth) << id << "  ";
    if (any_special) {
      out << std::left << std::setw(kTypeWidth) << (type == TokenType::Normal ? "" : name_of(type)) << "  ";
    }
    out << gguf::quoted(bytes, bytes.size()) << '\n';
  }
  out << ids.size() << (ids.size() == 1 ? " token\n" : " tokens\n");
}

}  // namespace

int run_tokenize(const Tokenizer& tokenizer, std::string_view text, bool json, bool specials,
                 std::ostream& out) {
  const std::vector<int32_t> ids = tokenizer.encode(text, specials ? Specials::All : Specials::None);
  (json ? print_json : print_table)(tokenizer, ids, out);
  return 0;
}

}  // namespace qwend::cli
