#include "server/openai/generation_params.h"

#include <algorithm>
#include <charconv>
#include <limits>

namespace qwend {
namespace {

using Params = GenerationParams;
constexpr int64_t kInt32Max = std::numeric_limits<int32_t>::max();

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

// A list of strings, each with text.
Problem read_words(const Value& value, const std::string& path, size_t most,
                   std::vector<std::string>& words) {
  auto list = read_array(value, path);
  if (!list) return list.error();
  if (list.value()->size() > most)
    return invalid_value(path, "must have at most " + std::to_string(most) + " entries");
  words.clear();
  for (size_t i = 0; i < list.value()->size(); ++i) {
    auto word = read_string((*list.value())[i], at(path, i));
    if (!word) return word.error();
    if (word.value().empty() || word.value().size() > kMaxWordBytes)
      return invalid_value(at(path, i), "must be 1 to " + std::to_string(kMaxWordBytes) + " bytes long");
    words.push_back(std::move(word).value());
  }
  return std::nullopt;
}

Problem apply_bad_words(const Value& value, Params& params, const ParseContext&) {
  return read_words(value, "bad_words", kMaxBadWords, params.bad_words);
}

Problem apply_breakers(const Value& value, Params& params, const ParseContext&) {
  return read_words(value, "dry_sequence_breakers", kMaxBreakers, params.dry.breakers);
}

Problem apply_allowed_tokens(const Value& value, Params& params, const ParseContext& context) {
  auto ids = read_token_ids(value, context.vocab_size, "allowed_token_ids");
  if (!ids) return ids.error();
  params.allowed_token_ids = std::move(ids).value();
  return std::nullopt;
}

Problem apply_logprob_tokens(const Value& value, Params& params, const ParseContext& context) {
  auto ids = read_token_ids(value, context.vocab_size, "logprob_token_ids");
  if (!ids) return ids.error();
  if (ids.value().size() > kMaxLogprobTokens)
    return invalid_value("logprob_token_ids",
                         "must have at most " + std::to_string(kMaxLogprobTokens) + " entries");
  for (const int32_t id : ids.value())
    if (std::ranges::find(params.logprob_token_ids, id) == params.logprob_token_ids.end())
      params.logprob_token_ids.push_back(id);
  return std::nullopt;
}

// Members of the DRY settings.
Field<Params> dry_number(std::string_view name, double min, double max, float DryParams::*member) {
  return {name,
          [=](const Value& value, Params& params, const ParseContext&) -> Problem {
            auto read = read_number(value, min, max, std::string(name));
            if (!read) return read.error();
            params.dry.*member = static_cast<float>(read.value());
            return std::nullopt;
          },
          number_schema(min, max)};
}

Field<Params> dry_integer(std::string_view name, int64_t min, int32_t DryParams::*member) {
  return {name,
          [=](const Value& value, Params& params, const ParseContext&) -> Problem {
            auto read = read_integer(value, min, kInt32Max, std::string(name));
            if (!read) return read.error();
            params.dry.*member = static_cast<int32_t>(read.value());
            return std::nullopt;
          },
          integer_schema(min, kInt32Max)};
}

std::span<const Field<RepetitionLimit>> repetition_fields() {
  static const std::vector<Field<RepetitionLimit>> table = {
      integer_field("max_pattern_size", 0, kMaxPatternSize, &RepetitionLimit::max_pattern),
      integer_field("min_pattern_size", 0, kMaxPatternSize, &RepetitionLimit::min_pattern),
      integer_field("min_count", 2, 1'000'000, &RepetitionLimit::min_count),
  };
  return table;
}

Problem apply_repetition(const Value& value, Params& params, const ParseContext& context) {
  const std::string param = "repetition_detection";
  if (auto object = read_object(value, param); !object) return object.error();
  for (const std::string_view needed : {"max_pattern_size", "min_count"})
    if (find_present(value, needed) == nullptr) return missing_parameter(at(param, needed));
  RepetitionLimit limit;
  if (Problem problem = apply_fields(repetition_fields(), value, limit, context)) {
    static constexpr std::pair<std::string_view, std::string_view> kNames[] = {
        {"max_pattern_size", "repetition_detection.max_pattern_size"},
        {"min_pattern_size", "repetition_detection.min_pattern_size"},
        {"min_count", "repetition_detection.min_count"}};
    return renamed(std::move(*problem), kNames);
  }
  limit.min_pattern = std::max(limit.min_pattern, 1);  // 0, as leaving it out, means 1
  if (limit.max_pattern > 0 && limit.min_pattern > limit.max_pattern)
    return invalid_value(at(param, "min_pattern_size"), "must not be larger than max_pattern_size");
  params.repetition = limit;
  return std::nullopt;
}

// {"type": "content", "content": text or parts}
Problem apply_prediction(const Value& value, Params&, const ParseContext&) {
  if (auto object = read_object(value, "prediction"); !object) return object.error();
  const Value* type = find_present(value, "type");
  if (type == nullptr) return missing_parameter("prediction.type");
  static constexpr std::string_view kTypes[] = {"content"};
  if (auto kind = read_choice(*type, kTypes, "prediction.type"); !kind) return kind.error();
  const Value* content = find_present(value, "content");
  if (content == nullptr) return missing_parameter("prediction.content");
  const bool fits =
      std::holds_alternative<std::string>(content->data) || std::holds_alternative<ValueArray>(content->data);
  if (fits) return std::nullopt;
  return invalid_type("prediction.content", "a string or an array of content parts", type_name(*content));
}

Problem apply_truncation(const Value& value, Params& params, const ParseContext&) {
  auto read = read_integer(value, -1, kInt32Max, "truncate_prompt_tokens");
  if (!read) return read.error();
  if (read.value() == 0) return invalid_value("truncate_prompt_tokens", "must be -1 or at least 1");
  params.truncate_prompt_tokens = static_cast<int32_t>(read.value());
  return std::nullopt;
}

// At most one parameter may say what the output has to look like.
Problem set_structured(ParsedOutput read, Params& params) {
  if (!read) return read.error();
  if (!read.value()) return std::nullopt;
  if (params.structured)
    return invalid_value(read.value()->param, "can't be combined with " + params.structured->param);
  params.structured = std::move(read).value();
  return std::nullopt;
}

using StructuredReader = ParsedOutput (*)(const Value&, const std::string&);
Field<Params> structured_field(std::string_view name, StructuredReader read, std::string schema) {
  return {name,
          [=](const Value& value, Params& params, const ParseContext&) -> Problem {
            return set_structured(read(value, std::string(name)), params);
          },
          std::move(schema)};
}

Problem apply_response_format(const Value& value, Params& params, const ParseContext&) {
  return set_structured(read_response_format(value), params);
}

Problem apply_structured_outputs(const Value& value, Params& params, const ParseContext&) {
  return set_structured(read_structured_outputs(value), params);
}

// ---- parameters that don't change the answer; well typed is enough

Field<Params> choice_field(std::string_view name, std::span<const std::string_view> allowed) {
  return checked_field<Params>(name, choice_schema(allowed), [=](const Value& value, std::string path) {
    return read_choice(value, allowed, std::move(path));
  });
}
constexpr std::string_view kTiers[] = {"auto", "default", "flex", "scale", "priority", "fast"};
constexpr std::string_view kVerbosities[] = {"low", "medium", "high"};

constexpr char kResponseFormatSchema[] =
    R"({"type":"object","properties":{"type":{"type":"string","enum":["text","json_object","json_schema"]},)"
    R"("json_schema":{"type":"object","properties":{"name":{"type":"string"},"description":{"type":"string"},)"
    R"("schema":{"type":"object"},"strict":{"type":"boolean"}},"required":["name"]}},"required":["type"]})";
constexpr char kStructuredSchema[] =
    R"({"type":"object","properties":{"json":{},"regex":{"type":"string"},"choice":{"type":"array",)"
    R"("items":{"type":"string"}},"grammar":{"type":"string"},"json_object":{"type":"boolean"}}})";
constexpr char kRepetitionSchema[] =
    R"({"type":"object","properties":{"max_pattern_size":{"type":"integer","minimum":0,"maximum":512},)"
    R"("min_pattern_size":{"type":"integer","minimum":0,"maximum":512},)"
    R"("min_count":{"type":"integer","minimum":2}},"required":["max_pattern_size","min_count"]})";
constexpr char kPredictionSchema[] =
    R"({"type":"object","properties":{"type":{"type":"string","enum":["content"]},"content":{}},)"
    R"("required":["type","content"]})";

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
      number_field("xtc_probability", 0, 1, &Params::xtc_probability),
      number_field("xtc_threshold", 0, 1, &Params::xtc_threshold),
      dry_number("dry_multiplier", 0, 100, &DryParams::multiplier),
      dry_number("dry_base", 1, 100, &DryParams::base),
      dry_integer("dry_allowed_length", 1, &DryParams::allowed_length),
      dry_integer("dry_penalty_last_n", -1, &DryParams::last_n),
      {"dry_sequence_breakers", apply_breakers, kStringsSchema},
      {"bad_words", apply_bad_words, kStringsSchema},
      {"allowed_token_ids", apply_allowed_tokens, kTokenIdsSchema},
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
      {"repetition_detection", apply_repetition, kRepetitionSchema},
      // how to answer
      {"logprob_token_ids", apply_logprob_tokens, kTokenIdsSchema},
      bool_field("timings_per_token", &Params::timings_per_token),
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
      {"truncate_prompt_tokens", apply_truncation, integer_schema(-1, kInt32Max)},
      // fine, and without effect on the answer
      checked_field<Params>("user", kStringSchema, read_string),
      checked_field<Params>("safety_identifier", kStringSchema, read_string),
      checked_field<Params>("metadata", kObjectSchema, read_object),
      checked_field<Params>("store", kBoolSchema, read_bool),
      choice_field("service_tier", kTiers),
      choice_field("verbosity", kVerbosities),
      {"prediction", apply_prediction, kPredictionSchema},
      // what the output has to look like
      {"response_format", apply_response_format, kResponseFormatSchema},
      {"structured_outputs", apply_structured_outputs, kStructuredSchema},
      structured_field("guided_json", read_json_schema, R"({"type":["object","boolean","string"]})"),
      structured_field("guided_regex", read_regex, kStringSchema),
      structured_field("guided_choice", read_choice_list, kStringsSchema),
      structured_field("guided_grammar", read_grammar, kStringSchema),
      structured_field("json_schema", read_json_schema, R"({"type":["object","boolean","string"]})"),
      structured_field("grammar", read_grammar, kStringSchema),
  };
  return table;
}

Problem check_generation_params(const GenerationParams& params) {
  if (params.max_tokens && params.min_tokens > *params.max_tokens)
    return invalid_value("min_tokens", "must not be larger than max_tokens");
  if (!params.logprob_token_ids.empty() && params.num_logprobs < 0)
    return invalid_value("logprob_token_ids", "needs logprobs");
  if (params.structured)
    return unsupported(params.structured->param, "structured output is not supported by this server");
  return std::nullopt;
}

}  // namespace qwend
