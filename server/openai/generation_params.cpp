#include "server/openai/generation_params.h"

#include <array>
#include <charconv>
#include <limits>

namespace qwend {
namespace {

using Params = GenerationParams;
constexpr int64_t kInt32Max = std::numeric_limits<int32_t>::max();
constexpr double kAnyNumber = std::numeric_limits<double>::max();

// ---- parameters whose shape is more than one number

Problem apply_seed(const Value& value, Params& params, const ParseContext&) {
  if (const auto* large = std::get_if<uint64_t>(&value.data)) {
    params.seed = *large;
    return std::nullopt;
  }
  auto seed =
      read_integer(value, std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max(), "seed");
  if (!seed) return seed.error();
  params.seed = static_cast<uint64_t>(seed.value());
  return std::nullopt;
}

Problem add_stop(const Value& value, std::string path, Params& params) {
  auto text = read_string(value, path);
  if (!text) return text.error();
  if (text.value().empty()) return invalid_value(path, "must not be empty");
  if (text.value().size() > kMaxStopBytes)
    return invalid_value(path, "must be at most " + std::to_string(kMaxStopBytes) + " bytes long");
  if (text.value().find('\0') != std::string::npos) return invalid_value(path, "must not contain NUL");
  params.stop.push_back(std::move(text).value());
  return std::nullopt;
}

Problem apply_stop(const Value& value, Params& params, const ParseContext&) {
  params.stop.clear();
  if (std::holds_alternative<std::string>(value.data)) return add_stop(value, "stop", params);
  const auto* list = std::get_if<ValueArray>(&value.data);
  if (list == nullptr) return invalid_type("stop", "a string or an array of strings", type_name(value));
  if (list->size() > kMaxStopStrings)
    return invalid_value("stop", "must have at most " + std::to_string(kMaxStopStrings) + " entries");
  for (size_t i = 0; i < list->size(); ++i)
    if (Problem problem = add_stop((*list)[i], at("stop", i), params)) return problem;
  return std::nullopt;
}

Problem apply_stop_token_ids(const Value& value, Params& params, const ParseContext& context) {
  auto ids = read_token_ids(value, context.vocab_size, "stop_token_ids");
  if (!ids) return ids.error();
  if (ids.value().size() > kMaxLogitBias)
    return invalid_value("stop_token_ids", "must have at most " + std::to_string(kMaxLogitBias) + " entries");
  params.stop_token_ids = std::move(ids).value();
  return std::nullopt;
}

Problem apply_logit_bias(const Value& value, Params& params, const ParseContext& context) {
  auto object = read_object(value, "logit_bias");
  if (!object) return object.error();
  if (object.value()->size() > kMaxLogitBias)
    return invalid_value("logit_bias", "must have at most " + std::to_string(kMaxLogitBias) + " entries");
  for (const auto& [key, entry] : *object.value()) {
    int32_t token = -1;
    const auto [end, failure] = std::from_chars(key.data(), key.data() + key.size(), token);
    if (failure != std::errc() || end != key.data() + key.size() || token < 0 || token >= context.vocab_size)
      return invalid_value("logit_bias", "must have token ids between 0 and " +
                                             std::to_string(context.vocab_size - 1) + " as keys");
    auto bias = read_number(entry, -100, 100, at("logit_bias", key));
    if (!bias) return bias.error();
    params.logit_bias.emplace_back(token, static_cast<float>(bias.value()));
  }
  return std::nullopt;
}

Problem apply_stream_options(const Value& value, Params& params, const ParseContext&) {
  if (auto object = read_object(value, "stream_options"); !object) return object.error();
  const auto flag = [&](std::string_view name, bool* target) -> Problem {
    const Value* member = find_present(value, name);
    if (member == nullptr) return std::nullopt;
    auto read = read_bool(*member, at("stream_options", name));
    if (!read) return read.error();
    *target = read.value();
    return std::nullopt;
  };
  bool obfuscation = false;  // nothing to do: our streams are never padded
  if (Problem problem = flag("include_usage", &params.include_usage)) return problem;
  if (Problem problem = flag("continuous_usage_stats", &params.continuous_usage_stats)) return problem;
  return flag("include_obfuscation", &obfuscation);
}

Problem apply_response_format(const Value& value, Params&, const ParseContext&) {
  if (auto object = read_object(value, "response_format"); !object) return object.error();
  const Value* type = find_present(value, "type");
  if (type == nullptr) return missing_parameter("response_format.type");
  static constexpr std::string_view kTypes[] = {"text", "json_object", "json_schema"};
  auto chosen = read_choice(*type, kTypes, "response_format.type");
  if (!chosen) return chosen.error();
  if (chosen.value() != "text")
    return unsupported("response_format", "structured output is not supported by this server");
  return std::nullopt;
}

// Empty lists ask for nothing.
Field<Params> empty_list_field(std::string_view name) {
  return {name,
          [=](const Value& value, Params&, const ParseContext&) -> Problem {
            auto list = read_array(value, std::string(name));
            if (!list) return list.error();
            if (!list.value()->empty()) return unsupported(std::string(name), "not supported by this server");
            return std::nullopt;
          },
          R"({"type":"array"})"};
}

// ---- parameters that don't change the answer; well typed is enough

Result<double, ApiError> any_number(const Value& value, std::string path) {
  return read_number(value, -kAnyNumber, kAnyNumber, std::move(path));
}
Field<Params> choice_field(std::string_view name, std::span<const std::string_view> allowed) {
  return checked_field<Params>(name, choice_schema(allowed), [=](const Value& value, std::string path) {
    return read_choice(value, allowed, std::move(path));
  });
}
constexpr std::string_view kTiers[] = {"auto", "default", "flex", "scale", "priority", "fast"};
constexpr std::string_view kVerbosities[] = {"low", "medium", "high"};

constexpr std::string_view kNoStructuredOutput = "structured output is not supported by this server";

}  // namespace

std::span<const Field<GenerationParams>> generation_fields() {
  static const std::vector<Field<Params>> table = {
      string_field<Params>("model", &Params::model),
      integer_field("n", 1, kMaxChoices, &Params::n),
      // sampling; where peers differ in a name, the later row wins
      number_field("temperature", 0, 2, &Params::temperature),
      number_field("top_p", 0, 1, &Params::top_p),
      integer_field("top_k", -1, kInt32Max, &Params::top_k),
      number_field("min_p", 0, 1, &Params::min_p),
      number_field("typical_p", 0, 1, &Params::typical_p),
      number_field("repeat_penalty", 0.01, 10, &Params::repetition_penalty),
      number_field("repetition_penalty", 0.01, 10, &Params::repetition_penalty),
      number_field("presence_penalty", -2, 2, &Params::presence_penalty),
      number_field("frequency_penalty", -2, 2, &Params::frequency_penalty),
      {"seed", apply_seed, R"({"type":"integer"})"},
      {"logit_bias", apply_logit_bias,
       R"({"type":"object","additionalProperties":{"type":"number","minimum":-100,"maximum":100}})"},
      // when to stop
      integer_field("max_tokens", 0, kInt32Max, &Params::max_tokens),
      integer_field("max_completion_tokens", 0, kInt32Max, &Params::max_tokens),
      integer_field("min_tokens", 0, kInt32Max, &Params::min_tokens),
      bool_field("ignore_eos", &Params::ignore_eos),
      {"stop", apply_stop,
       R"({"anyOf":[{"type":"string"},{"type":"array","items":{"type":"string"},"maxItems":16}]})"},
      {"stop_token_ids", apply_stop_token_ids, kTokenIdsSchema},
      bool_field("include_stop_str_in_output", &Params::include_stop),
      // how to answer
      bool_field("stream", &Params::stream),
      {"stream_options", apply_stream_options,
       R"({"type":"object","properties":{"include_usage":{"type":"boolean"},)"
       R"("continuous_usage_stats":{"type":"boolean"},"include_obfuscation":{"type":"boolean"}}})"},
      bool_field("skip_special_tokens", &Params::skip_special_tokens),
      bool_field("return_token_ids", &Params::return_token_ids),
      bool_field("return_params", &Params::return_params),
      // how to run
      bool_field("cache_prompt", &Params::cache_prompt),
      string_field("cache_salt", &Params::cache_salt),
      string_field("prompt_cache_key", &Params::prompt_cache_key),
      integer_field("priority", -1'000'000, 1'000'000, &Params::priority),
      integer_field("timeout_ms", 1, kInt32Max, &Params::timeout_ms),
      integer_field("queue_timeout_ms", 1, kInt32Max, &Params::queue_timeout_ms),
      integer_field("truncate_prompt_tokens", 1, kInt32Max, &Params::truncate_prompt_tokens),
      // fine, and without effect on the answer
      checked_field<Params>("user", kStringSchema, read_string),
      checked_field<Params>("safety_identifier", kStringSchema, read_string),
      checked_field<Params>("metadata", kObjectSchema, read_object),
      checked_field<Params>("store", kBoolSchema, read_bool),
      choice_field("service_tier", kTiers),
      choice_field("verbosity", kVerbosities),
      checked_field<Params>("prediction", kObjectSchema, read_object),
      checked_field<Params>("timings_per_token", kBoolSchema, read_bool),
      // would change the answer, and can't be done
      {"response_format", apply_response_format, kObjectSchema},
      unsupported_field<Params>("guided_json", kNoStructuredOutput),
      unsupported_field<Params>("guided_regex", kNoStructuredOutput),
      unsupported_field<Params>("guided_choice", kNoStructuredOutput),
      unsupported_field<Params>("guided_grammar", kNoStructuredOutput),
      unsupported_field<Params>("structured_outputs", kNoStructuredOutput),
      unsupported_field<Params>("json_schema", kNoStructuredOutput),
      unsupported_field<Params>("grammar", kNoStructuredOutput),
      unsupported_field<Params>("repetition_detection"),
      unsupported_field<Params>("thinking_token_budget"),
      empty_list_field("bad_words"),
      empty_list_field("allowed_token_ids"),
      empty_list_field("logprob_token_ids"),
      neutral_field<Params>("dry_multiplier", 0),
      checked_field<Params>("dry_base", R"({"type":"number"})", any_number),
      checked_field<Params>("dry_allowed_length", R"({"type":"number"})", any_number),
      checked_field<Params>("dry_penalty_last_n", R"({"type":"number"})", any_number),
      checked_field<Params>("dry_sequence_breakers", kStringsSchema, read_array),
      neutral_field<Params>("xtc_probability", 0),
      checked_field<Params>("xtc_threshold", R"({"type":"number"})", any_number),
  };
  return table;
}

Problem check_generation_params(const GenerationParams& params) {
  if (params.max_tokens && params.min_tokens > *params.max_tokens)
    return invalid_value("min_tokens", "must not be larger than max_tokens");
  return std::nullopt;
}

}  // namespace qwend
