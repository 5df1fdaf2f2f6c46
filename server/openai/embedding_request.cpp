#include "server/openai/embedding_request.h"

#include <limits>

namespace qwend {
namespace {

constexpr int64_t kInt32Max = std::numeric_limits<int32_t>::max();

template <class T>
Problem check_known(const Value& body, std::span<const Field<T>> table) {
  for (const auto& [key, value] : std::get<ValueObject>(body.data))
    if (!has_field(table, key)) return unknown_parameter(key);
  return std::nullopt;
}

Problem apply_input(const Value& value, EmbeddingRequest& request, const ParseContext& context) {
  auto inputs = read_prompts(value, "input", context);
  if (!inputs) return inputs.error();
  if (inputs.value().size() > kMaxInputs)
    return invalid_value("input", "must have at most " + std::to_string(kMaxInputs) + " entries");
  request.inputs = std::move(inputs).value();
  return std::nullopt;
}

constexpr std::string_view kEncodings[] = {"float", "base64"};

Problem apply_encoding(const Value& value, EmbeddingRequest& request, const ParseContext&) {
  auto encoding = read_choice(value, kEncodings, "encoding_format");
  if (!encoding) return encoding.error();
  request.base64 = encoding.value() == "base64";
  return std::nullopt;
}

// A text, or an object that has it as "text".
Result<std::string, ApiError> read_document(const Value& value, const std::string& path) {
  if (std::holds_alternative<std::string>(value.data)) return read_string(value, path);
  if (!std::holds_alternative<ValueObject>(value.data))
    return invalid_type(path, "a string or an object", type_name(value));
  const Value* text = find_present(value, "text");
  if (text == nullptr) return missing_parameter(at(path, "text"));
  return read_string(*text, at(path, "text"));
}

Problem apply_documents(const Value& value, RerankRequest& request, const ParseContext&) {
  auto list = read_array(value, "documents");
  if (!list) return list.error();
  if (list.value()->empty()) return invalid_value("documents", "must have at least one entry");
  if (list.value()->size() > kMaxInputs)
    return invalid_value("documents", "must have at most " + std::to_string(kMaxInputs) + " entries");
  for (size_t i = 0; i < list.value()->size(); ++i) {
    auto document = read_document((*list.value())[i], at("documents", i));
    if (!document) return document.error();
    request.documents.push_back(std::move(document).value());
  }
  return std::nullopt;
}

}  // namespace

std::span<const Field<EmbeddingRequest>> embedding_fields() {
  using R = EmbeddingRequest;
  static const std::vector<Field<R>> table = {
      string_field<R>("model", &R::model),
      {"input", apply_input, kPromptSchema},
      {"encoding_format", apply_encoding, choice_schema(kEncodings)},
      integer_field("dimensions", 1, kInt32Max, &R::dimensions),
      checked_field<R>("user", kStringSchema, read_string),
  };
  return table;
}

std::span<const Field<RerankRequest>> rerank_fields() {
  using R = RerankRequest;
  static const std::vector<Field<R>> table = {
      string_field<R>("model", &R::model),
      string_field<R>("query", &R::query),
      {"documents", apply_documents,
       R"({"type":"array","minItems":1,"items":{"oneOf":[{"type":"string"},{"type":"object"}]}})"},
      string_field<R>("instruction", &R::instruction),
      integer_field("top_n", 1, kInt32Max, &R::top_n),
      bool_field("return_documents", &R::return_documents),
  };
  return table;
}

Result<EmbeddingRequest, ApiError> parse_embedding_request(const Value& body, const ParseContext& context) {
  EmbeddingRequest request;
  if (context.strict_params)
    if (Problem problem = check_known(body, embedding_fields())) return *problem;
  if (Problem problem = apply_fields(embedding_fields(), body, request, context)) return *problem;
  if (request.inputs.empty()) return missing_parameter("input");
  return request;
}

Result<RerankRequest, ApiError> parse_rerank_request(const Value& body, const ParseContext& context) {
  RerankRequest request;
  if (context.strict_params)
    if (Problem problem = check_known(body, rerank_fields())) return *problem;
  if (Problem problem = apply_fields(rerank_fields(), body, request, context)) return *problem;
  if (find_present(body, "query") == nullptr) return missing_parameter("query");
  if (request.documents.empty()) return missing_parameter("documents");
  return request;
}

}  // namespace qwend
