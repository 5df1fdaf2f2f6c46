#include "server/openai/tokenize_request.h"

namespace qwend {
namespace {

std::span<const Field<TokenizeRequest>> llama_fields() {
  static const std::vector<Field<TokenizeRequest>> table = {
      string_field("content", &TokenizeRequest::text),
      bool_field("add_special", &TokenizeRequest::add_special),
      bool_field("parse_special", &TokenizeRequest::parse_special),
      bool_field("with_pieces", &TokenizeRequest::with_pieces),
  };
  return table;
}

std::span<const Field<TokenizeRequest>> vllm_fields() {
  static const std::vector<Field<TokenizeRequest>> table = {
      string_field("prompt", &TokenizeRequest::text),
      bool_field("add_special_tokens", &TokenizeRequest::add_special),
      bool_field("return_token_strs", &TokenizeRequest::return_token_strs),
  };
  return table;
}

}  // namespace

std::span<const Field<TokenizeRequest>> tokenize_fields() {
  static const std::vector<Field<TokenizeRequest>> both = [] {
    std::vector<Field<TokenizeRequest>> all(llama_fields().begin(), llama_fields().end());
    all.insert(all.end(), vllm_fields().begin(), vllm_fields().end());
    return all;
  }();
  return both;
}

Result<TokenizeRequest, ApiError> parse_tokenize_request(const Value& body) {
  TokenizeRequest request;
  const ParseContext context;
  if (find_present(body, "content") != nullptr) {
    if (Problem problem = apply_fields(llama_fields(), body, request, context)) return *problem;
    return request;
  }
  request.with_counts = true;
  const bool messages = find_present(body, "messages") != nullptr;
  if (!messages && find_present(body, "prompt") == nullptr) return missing_parameter("content");
  request.add_special = !messages;  // templates write their own
  if (Problem problem = apply_fields(vllm_fields(), body, request, context)) return *problem;
  if (messages) {
    auto chat = parse_chat_prompt(body);
    if (!chat) return chat.error();
    request.chat = std::move(chat).value();
  }
  return request;
}

Result<std::vector<int32_t>, ApiError> parse_detokenize_request(const Value& body,
                                                                const ParseContext& context) {
  const Value* tokens = find_present(body, "tokens");
  if (tokens == nullptr) return missing_parameter("tokens");
  return read_token_ids(*tokens, context.vocab_size, "tokens");
}

}  // namespace qwend
