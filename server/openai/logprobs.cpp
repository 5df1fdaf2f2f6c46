#include "server/openai/logprobs.h"

#include "engine/text/detokenizer.h"

namespace qwend {
namespace {

void write_token(json::JsonWriter& writer, int32_t token, float logprob, const Tokenizer& tokenizer) {
  const std::string_view bytes = tokenizer.bytes(token);
  writer.member("token", bytes).member("logprob", logprob).key("bytes").begin_array();
  for (const char c : bytes) writer.value(static_cast<int32_t>(static_cast<unsigned char>(c)));
  writer.end_array();
}

int64_t count_code_points(std::string_view bytes) {
  int64_t count = 0;
  for (const char c : bytes) count += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return count;
}

// The chosen token's own entry is always there, as clients look it up.
void write_top(json::JsonWriter& writer, const TokenOutput& token, const Tokenizer& tokenizer) {
  writer.begin_object();
  bool listed = false;
  for (const TokenLogprob& top : token.top) {
    writer.member(token_text(top.token, tokenizer), top.logprob);
    listed = listed || top.token == token.token;
  }
  if (!listed) writer.member(token_text(token.token, tokenizer), token.logprob);
  writer.end_object();
}

}  // namespace

std::string token_text(int32_t token, const Tokenizer& tokenizer) {
  static constexpr char kHex[] = "0123456789abcdef";
  const std::string_view bytes = tokenizer.bytes(token);
  std::string text = sanitize_utf8(bytes);
  if (text == bytes) return text;
  text = "bytes:";
  for (const char c : bytes) {
    text += "\\x";
    text += kHex[static_cast<unsigned char>(c) >> 4];
    text += kHex[static_cast<unsigned char>(c) & 15];
  }
  return text;
}

void write_logprob_entries(json::JsonWriter& writer, std::span<const TokenOutput> tokens,
                           const Tokenizer& tokenizer) {
  writer.begin_array();
  for (const TokenOutput& token : tokens) {
    writer.begin_object();
    write_token(writer, token.token, token.logprob, tokenizer);
    writer.key("top_logprobs").begin_array();
    for (const TokenLogprob& top : token.top) {
      writer.begin_object();
      write_token(writer, top.token, top.logprob, tokenizer);
      writer.end_object();
    }
    writer.end_array().end_object();
  }
  writer.end_array();
}

void write_chat_logprobs(json::JsonWriter& writer, std::span<const TokenOutput> tokens,
                         const Tokenizer& tokenizer) {
  write_logprob_entries(writer.begin_object().key("content"), tokens, tokenizer);
  writer.key("refusal").null().end_object();
}

void LegacyLogprobs::write(json::JsonWriter& writer, std::span<const TokenOutput> prompt,
                           std::span<const TokenOutput> generated) {
  const auto each = [&](auto&& visit) {
    for (size_t i = 0; i < prompt.size(); ++i) visit(prompt[i], i == 0);
    for (const TokenOutput& token : generated) visit(token, false);
  };
  writer.begin_object().key("tokens").begin_array();
  each([&](const TokenOutput& token, bool) { writer.value(token_text(token.token, *tokenizer_)); });
  writer.end_array().key("token_logprobs").begin_array();
  each([&](const TokenOutput& token, bool first) { first ? writer.null() : writer.value(token.logprob); });
  writer.end_array().key("top_logprobs").begin_array();
  each([&](const TokenOutput& token, bool first) {
    if (first) {
      writer.null();
    } else {
      write_top(writer, token, *tokenizer_);
    }
  });
  writer.end_array().key("text_offset").begin_array();
  each([&](const TokenOutput& token, bool) {
    writer.value(offset_);
    offset_ += count_code_points(tokenizer_->bytes(token.token));
  });
  writer.end_array().end_object();
}

}  // namespace qwend
