#include "server/openai/infill_request.h"

#include <limits>

namespace qwend {
namespace {

Result<std::string, ApiError> read_member(const Value& object, std::string_view name,
                                          const std::string& path) {
  const Value* value = find_present(object, name);
  if (value == nullptr) return missing_parameter(at(path, name));
  return read_string(*value, at(path, name));
}

Problem apply_extra(const Value& value, InfillRequest& request, const ParseContext&) {
  auto list = read_array(value, "input_extra");
  if (!list) return list.error();
  for (size_t i = 0; i < list.value()->size(); ++i) {
    const std::string path = at("input_extra", i);
    if (auto object = read_object((*list.value())[i], path); !object) return object.error();
    auto text = read_member((*list.value())[i], "text", path);
    if (!text) return text.error();
    std::string name = "file";  // clients may leave it out
    if (find_present((*list.value())[i], "filename") != nullptr) {
      auto given = read_member((*list.value())[i], "filename", path);
      if (!given) return given.error();
      name = std::move(given).value();
    }
    request.files.emplace_back(std::move(name), std::move(text).value());
  }
  return std::nullopt;
}

Problem check_known(const Value& body) {
  for (const auto& [key, value] : std::get<ValueObject>(body.data))
    if (!has_field(generation_fields(), key) && !has_field(infill_fields(), key))
      return unknown_parameter(key);
  return std::nullopt;
}

}  // namespace

std::span<const Field<InfillRequest>> infill_fields() {
  using R = InfillRequest;
  static const std::vector<Field<R>> table = {
      string_field<R>("input_prefix", &R::prefix),
      string_field<R>("input_suffix", &R::suffix),
      string_field<R>("prompt", &R::begun),
      {"input_extra", apply_extra,
       R"({"type":"array","items":{"type":"object","properties":{"filename":{"type":"string"},)"
       R"("text":{"type":"string"}},"required":["text"]}})"},
      integer_field("n_predict", -1, std::numeric_limits<int32_t>::max(), &R::n_predict),
  };
  return table;
}

Result<InfillRequest, ApiError> parse_infill_request(const Value& body, const ParseContext& context) {
  InfillRequest request;
  if (context.strict_params)
    if (Problem problem = check_known(body)) return *problem;
  if (Problem problem = apply_fields(generation_fields(), body, request.params, context)) return *problem;
  if (Problem problem = apply_fields(infill_fields(), body, request, context)) return *problem;
  if (request.prefix.empty() && request.suffix.empty()) return missing_parameter("input_prefix");
  GenerationParams& params = request.params;
  if (params.n != 1) return unsupported("n", "this endpoint has one answer");
  if (request.n_predict && *request.n_predict >= 0) params.max_tokens = request.n_predict;
  if (params.max_tokens == 0) return invalid_value("n_predict", "must be -1 or at least 1");
  if (Problem problem = check_generation_params(params)) return *problem;
  return request;
}

}  // namespace qwend
