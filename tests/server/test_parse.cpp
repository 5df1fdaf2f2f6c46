// Every field of RELIABILITY's list of bad requests, one by one: status, param and code.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "server/json/json_reader.h"
#include "server/openai/chat_request.h"
#include "server/openai/completion_request.h"
#include "server/openai/tokenize_request.h"
#include "tests/support/catch2.h"

using namespace qwend;

namespace {

constexpr ParseContext kContext{.vocab_size = 1000, .strict_params = false};
constexpr ParseContext kStrict{.vocab_size = 1000, .strict_params = true};

Value body_of(const std::string& text) {
  auto parsed = json::parse(text);
  INFO(text);
  REQUIRE(parsed.ok());
  return std::move(parsed).value();
}

// A chat body with one more member (or several).
std::string chat_with(const std::string& members) {
  return R"({"messages":[{"role":"user","content":"Hi"}],)" + members + "}";
}
std::string messages(const std::string& list) { return R"({"messages":[)" + list + "]}"; }
std::string completion_with(const std::string& members) { return R"({"prompt":"Hi",)" + members + "}"; }
std::string tool(const std::string& function) { return R"({"type":"function","function":)" + function + "}"; }

struct Bad {
  std::string body;
  std::string param;
  std::string code;
};

template <class Parse>
void check_bad(const std::vector<Bad>& cases, Parse parse) {
  for (const Bad& bad : cases) {
    INFO(bad.body.substr(0, 300));
    auto request = parse(body_of(bad.body));
    REQUIRE_FALSE(request.ok());
    const ApiError& error = request.error();
    INFO(error.message);
    CHECK(error.status == 400);
    CHECK(error.type == "invalid_request_error");
    CHECK(error.param == bad.param);
    CHECK(error.code == bad.code);
    CHECK_FALSE(error.message.empty());
    CHECK(json::parse(error.to_json()).ok());
  }
}

void check_bad_chat(const std::vector<Bad>& cases) {
  check_bad(cases, [](const Value& body) { return parse_chat_request(body, kContext); });
}
void check_bad_completion(const std::vector<Bad>& cases) {
  check_bad(cases, [](const Value& body) { return parse_completion_request(body, kContext); });
}

ChatRequest good_chat(const std::string& text) {
  auto request = parse_chat_request(body_of(text), kContext);
  INFO(text);
  if (!request) FAIL(request.error().message);
  return std::move(request).value();
}
CompletionRequest good_completion(const std::string& text) {
  auto request = parse_completion_request(body_of(text), kContext);
  INFO(text);
  if (!request) FAIL(request.error().message);
  return std::move(request).value();
}

std::string repeat(const std::string& item, int count) {
  std::string list;
  for (int i = 0; i < count; ++i) list += (i > 0 ? "," : "") + item;
  return list;
}

const std::string kTool = R"({"type":"function","function":{"name":"f","parameters":{"type":"object"}}})";

}  // namespace

TEST_CASE("messages that can't be used are refused by path", "[server][parse]") {
  check_bad_chat({
      {R"({"model":"m"})", "messages", "missing_required_parameter"},
      {R"({"messages":null})", "messages", "missing_required_parameter"},
      {R"({"messages":[]})", "messages", "invalid_value"},
      {R"({"messages":"Hi"})", "messages", "invalid_type"},
      {R"({"messages":{"role":"user","content":"Hi"}})", "messages", "invalid_type"},
      {messages(R"("Hi")"), "messages[0]", "invalid_type"},
      {messages(R"({"content":"Hi"})"), "messages[0].role", "missing_required_parameter"},
      {messages(R"({"role":"robot","content":"Hi"})"), "messages[0].role", "invalid_value"},
      {messages(R"({"role":"function","content":"Hi","name":"f"})"), "messages[0].role", "invalid_value"},
      {messages(R"({"role":3,"content":"Hi"})"), "messages[0].role", "invalid_type"},
      {messages(R"({"role":"user"})"), "messages[0].content", "missing_required_parameter"},
      {messages(R"({"role":"user","content":null})"), "messages[0].content", "missing_required_parameter"},
      {messages(R"({"role":"assistant","content":null})"), "messages[0].content",
       "missing_required_parameter"},
      {messages(R"({"role":"user","content":3})"), "messages[0].content", "invalid_type"},
      {messages(R"({"role":"user","content":[]})"), "messages[0].content", "invalid_value"},
      {messages(R"({"role":"user","content":["Hi"]})"), "messages[0].content[0]", "invalid_type"},
      {messages(R"({"role":"user","content":[{"text":"Hi"}]})"), "messages[0].content[0].type",
       "missing_required_parameter"},
      {messages(R"({"role":"user","content":[{"type":"text"}]})"), "messages[0].content[0].text",
       "missing_required_parameter"},
      {messages(R"({"role":"user","content":[{"type":"text","text":1}]})"), "messages[0].content[0].text",
       "invalid_type"},
      {messages(
           R"({"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"http://x/"}}]})"),
       "messages[0].content[1]", "unsupported"},
      {messages(R"({"role":"user","content":[{"type":"smell"}]})"), "messages[0].content[0].type",
       "invalid_value"},
      {messages(R"({"role":"user","content":"a"},{"role":"tool","content":"b"})"), "messages[1].tool_call_id",
       "missing_required_parameter"},
      {messages(R"({"role":"tool","content":"b","tool_call_id":7})"), "messages[0].tool_call_id",
       "invalid_type"},
      {messages(R"({"role":"user","content":"a","name":1})"), "messages[0].name", "invalid_type"},
      {messages(R"({"role":"assistant","tool_calls":{}})"), "messages[0].tool_calls", "invalid_type"},
      {messages(R"({"role":"assistant","tool_calls":[1]})"), "messages[0].tool_calls[0]", "invalid_type"},
      {messages(R"({"role":"assistant","tool_calls":[{"id":"c","type":"function"}]})"),
       "messages[0].tool_calls[0].function", "missing_required_parameter"},
      {messages(R"({"role":"assistant","tool_calls":[{"function":{"name":"","arguments":"{}"}}]})"),
       "messages[0].tool_calls[0].function.name", "invalid_value"},
      {messages(R"({"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":3}}]})"),
       "messages[0].tool_calls[0].function.arguments", "invalid_type"},
      {messages(R"({"role":"assistant","content":"a","reasoning_content":3})"),
       "messages[0].reasoning_content", "invalid_type"},
  });
}

TEST_CASE("numbers out of range or of the wrong kind are refused, on both endpoints", "[server][parse]") {
  const std::vector<Bad> members = {
      {R"("max_tokens":-1)", "max_tokens", "invalid_value"},
      {R"("max_tokens":0)", "max_tokens", "invalid_value"},
      {R"("max_tokens":2.5)", "max_tokens", "invalid_type"},
      {R"("max_tokens":"10")", "max_tokens", "invalid_type"},
      {R"("max_tokens":1e30)", "max_tokens", "invalid_type"},
      {R"("max_tokens":10.0)", "max_tokens", "invalid_type"},
      {R"("max_tokens":18446744073709551615)", "max_tokens", "invalid_value"},
      {R"("max_tokens":4294967297)", "max_tokens", "invalid_value"},
      {R"("n":0)", "n", "invalid_value"},
      {R"("n":129)", "n", "invalid_value"},
      {R"("n":-1)", "n", "invalid_value"},
      {R"("n":true)", "n", "invalid_type"},
      {R"("temperature":-0.1)", "temperature", "invalid_value"},
      {R"("temperature":2.01)", "temperature", "invalid_value"},
      {R"("temperature":"1")", "temperature", "invalid_type"},
      {R"("top_p":1.01)", "top_p", "invalid_value"},
      {R"("top_p":-0.01)", "top_p", "invalid_value"},
      {R"("top_k":-2)", "top_k", "invalid_value"},
      {R"("top_k":1.5)", "top_k", "invalid_type"},
      {R"("min_p":1.1)", "min_p", "invalid_value"},
      {R"("min_p":-0.1)", "min_p", "invalid_value"},
      {R"("typical_p":1.1)", "typical_p", "invalid_value"},
      {R"("repetition_penalty":0)", "repetition_penalty", "invalid_value"},
      {R"("repeat_penalty":-1)", "repeat_penalty", "invalid_value"},
      {R"("presence_penalty":2.1)", "presence_penalty", "invalid_value"},
      {R"("presence_penalty":-2.1)", "presence_penalty", "invalid_value"},
      {R"("frequency_penalty":3)", "frequency_penalty", "invalid_value"},
      {R"("seed":1.5)", "seed", "invalid_type"},
      {R"("seed":"1")", "seed", "invalid_type"},
      {R"("min_tokens":-1)", "min_tokens", "invalid_value"},
      {R"("min_tokens":11,"max_tokens":10)", "min_tokens", "invalid_value"},
      {R"("priority":"high")", "priority", "invalid_type"},
      {R"("timeout_ms":0)", "timeout_ms", "invalid_value"},
      {R"("queue_timeout_ms":-5)", "queue_timeout_ms", "invalid_value"},
      {R"("truncate_prompt_tokens":0)", "truncate_prompt_tokens", "invalid_value"},
      {R"("stream":"yes")", "stream", "invalid_type"},
      {R"("stream":1)", "stream", "invalid_type"},
      {R"("stream_options":true)", "stream_options", "invalid_type"},
      {R"("stream_options":{"include_usage":1})", "stream_options.include_usage", "invalid_type"},
      {R"("ignore_eos":0)", "ignore_eos", "invalid_type"},
      {R"("cache_prompt":"no")", "cache_prompt", "invalid_type"},
      {R"("model":3)", "model", "invalid_type"},
      {R"("user":3)", "user", "invalid_type"},
      {R"("metadata":[])", "metadata", "invalid_type"},
      {R"("service_tier":"gold")", "service_tier", "invalid_value"},
      {R"("logit_bias":[])", "logit_bias", "invalid_type"},
      {R"("logit_bias":{"x":1})", "logit_bias", "invalid_value"},
      {R"("logit_bias":{"-1":1})", "logit_bias", "invalid_value"},
      {R"("logit_bias":{"1000":1})", "logit_bias", "invalid_value"},
      {R"("logit_bias":{"1.5":1})", "logit_bias", "invalid_value"},
      {R"("logit_bias":{"99999999999999999999":1})", "logit_bias", "invalid_value"},
      {R"("logit_bias":{"5":101})", "logit_bias.5", "invalid_value"},
      {R"("logit_bias":{"5":-100.5})", "logit_bias.5", "invalid_value"},
      {R"("logit_bias":{"5":"1"})", "logit_bias.5", "invalid_type"},
      {R"("stop":"")", "stop", "invalid_value"},
      {R"("stop":[""])", "stop[0]", "invalid_value"},
      {R"("stop":["a",3])", "stop[1]", "invalid_type"},
      {R"("stop":3)", "stop", "invalid_type"},
      {R"("stop":["a\u0000b"])", "stop[0]", "invalid_value"},
      {R"("stop":[)" + repeat(R"("a")", 17) + "]", "stop", "invalid_value"},
      {R"("stop":")" + std::string(4097, 'x') + "\"", "stop", "invalid_value"},
      {R"("stop_token_ids":[1000])", "stop_token_ids[0]", "invalid_value"},
      {R"("stop_token_ids":[1,-1])", "stop_token_ids[1]", "invalid_value"},
      {R"("stop_token_ids":[1.5])", "stop_token_ids[0]", "invalid_type"},
      {R"("stop_token_ids":5)", "stop_token_ids", "invalid_type"},
  };
  std::vector<Bad> chat, completion;
  for (const Bad& bad : members) {
    chat.push_back({chat_with(bad.body), bad.param, bad.code});
    completion.push_back({completion_with(bad.body), bad.param, bad.code});
  }
  check_bad_chat(chat);
  check_bad_completion(completion);
}

TEST_CASE("what can't be done is refused as unsupported, on both endpoints", "[server][parse]") {
  const std::vector<std::pair<std::string, std::string>> members = {
      {R"("response_format":{"type":"json_object"})", "response_format"},
      {R"("response_format":{"type":"json_schema","json_schema":{"name":"x","schema":{}}})",
       "response_format"},
      {R"("guided_json":{"type":"object"})", "guided_json"},
      {R"("guided_regex":"a+")", "guided_regex"},
      {R"("guided_choice":["a"])", "guided_choice"},
      {R"("guided_grammar":"root ::= a")", "guided_grammar"},
      {R"("guided_json":"{\"type\":\"object\"}")", "guided_json"},
      {R"("response_format":{"type":"json_object","schema":{}})", "response_format"},
      {R"("structured_outputs":{"json":true})", "structured_outputs.json"},
      {R"("structured_outputs":{"regex":"a+","choice":null})", "structured_outputs.regex"},
      {R"("structured_outputs":{"choice":["a","b"]})", "structured_outputs.choice"},
      {R"("structured_outputs":{"grammar":"root ::= a"})", "structured_outputs.grammar"},
      {R"("structured_outputs":{"json_object":true})", "structured_outputs.json_object"},
      {R"("structured_outputs":{"structural_tag":{}})", "structured_outputs.structural_tag"},
      {R"("json_schema":{"type":"object"})", "json_schema"},
      {R"("grammar":"x")", "grammar"},
  };
  std::vector<Bad> chat, completion;
  for (const auto& [member, param] : members) {
    chat.push_back({chat_with(member), param, "unsupported"});
    completion.push_back({completion_with(member), param, "unsupported"});
  }
  check_bad_chat(chat);
  check_bad_completion(completion);
}

TEST_CASE("structured output is validated in full", "[server][parse]") {
  const std::string schema = R"("response_format":{"type":"json_schema","json_schema":)";
  const std::vector<Bad> members = {
      {R"("response_format":{"type":"json_schema"})", "response_format.json_schema",
       "missing_required_parameter"},
      {schema + R"([]})", "response_format.json_schema", "invalid_type"},
      {schema + R"({"schema":{}}})", "response_format.json_schema.name", "missing_required_parameter"},
      {schema + R"({"name":"a b"}})", "response_format.json_schema.name", "invalid_value"},
      {schema + R"({"name":"a","schema":3}})", "response_format.json_schema.schema", "invalid_type"},
      {schema + R"({"name":"a","strict":1}})", "response_format.json_schema.strict", "invalid_type"},
      {schema + R"({"name":"a","description":1}})", "response_format.json_schema.description",
       "invalid_type"},
      {R"("guided_json":3)", "guided_json", "invalid_type"},
      {R"("guided_json":"{")", "guided_json", "invalid_value"},
      {R"("guided_json":"[]")", "guided_json", "invalid_value"},
      {R"("guided_regex":"")", "guided_regex", "invalid_value"},
      {R"("guided_choice":[])", "guided_choice", "invalid_value"},
      {R"("guided_choice":["a",1])", "guided_choice[1]", "invalid_type"},
      {R"("guided_choice":["a","a"])", "guided_choice[1]", "invalid_value"},
      {R"("guided_grammar":{})", "guided_grammar", "invalid_type"},
      {R"("structured_outputs":{})", "structured_outputs", "invalid_value"},
      {R"("structured_outputs":{"regex":"a","choice":["b"]})", "structured_outputs", "invalid_value"},
      {R"("structured_outputs":{"xml":"a"})", "structured_outputs.xml", "invalid_value"},
      {R"("structured_outputs":{"json_object":1})", "structured_outputs.json_object", "invalid_type"},
      {R"("guided_regex":"a","guided_choice":["a"])", "guided_choice", "invalid_value"},
      {R"("response_format":{"type":"json_object"},"grammar":"a")", "grammar", "invalid_value"},
  };
  std::vector<Bad> chat, completion;
  for (const Bad& bad : members) {
    chat.push_back({chat_with(bad.body), bad.param, bad.code});
    completion.push_back({completion_with(bad.body), bad.param, bad.code});
  }
  check_bad_chat(chat);
  check_bad_completion(completion);
}

TEST_CASE("sampling beyond OpenAI's is validated and kept", "[server][parse]") {
  check_bad_chat({
      {chat_with(R"("dry_multiplier":-1)"), "dry_multiplier", "invalid_value"},
      {chat_with(R"("dry_base":0.5)"), "dry_base", "invalid_value"},
      {chat_with(R"("dry_allowed_length":0)"), "dry_allowed_length", "invalid_value"},
      {chat_with(R"("dry_allowed_length":1.5)"), "dry_allowed_length", "invalid_type"},
      {chat_with(R"("dry_penalty_last_n":-2)"), "dry_penalty_last_n", "invalid_value"},
      {chat_with(R"("dry_sequence_breakers":"x")"), "dry_sequence_breakers", "invalid_type"},
      {chat_with(R"("dry_sequence_breakers":[""])"), "dry_sequence_breakers[0]", "invalid_value"},
      {chat_with(R"("xtc_probability":1.1)"), "xtc_probability", "invalid_value"},
      {chat_with(R"("xtc_threshold":-0.1)"), "xtc_threshold", "invalid_value"},
      {chat_with(R"("bad_words":["a",2])"), "bad_words[1]", "invalid_type"},
      {chat_with(R"("allowed_token_ids":[1000])"), "allowed_token_ids[0]", "invalid_value"},
      {chat_with(R"("logprob_token_ids":[1])"), "logprob_token_ids", "invalid_value"},
      {chat_with(R"("logprobs":true,"logprob_token_ids":[-1])"), "logprob_token_ids[0]", "invalid_value"},
      {chat_with(R"("repetition_detection":{})"), "repetition_detection.max_pattern_size",
       "missing_required_parameter"},
      {chat_with(R"("repetition_detection":{"max_pattern_size":4})"), "repetition_detection.min_count",
       "missing_required_parameter"},
      {chat_with(R"("repetition_detection":{"max_pattern_size":4,"min_count":1})"),
       "repetition_detection.min_count", "invalid_value"},
      {chat_with(R"("repetition_detection":{"max_pattern_size":4,"min_count":2,"min_pattern_size":5})"),
       "repetition_detection.min_pattern_size", "invalid_value"},
      {chat_with(R"("repetition_detection":{"max_pattern_size":"4","min_count":2})"),
       "repetition_detection.max_pattern_size", "invalid_type"},
      {chat_with(R"("thinking_token_budget":-2)"), "thinking_token_budget", "invalid_value"},
      {chat_with(R"("truncate_prompt_tokens":0)"), "truncate_prompt_tokens", "invalid_value"},
      {chat_with(R"("prediction":{"type":"content"})"), "prediction.content", "missing_required_parameter"},
      {chat_with(R"("prediction":{"type":"x","content":""})"), "prediction.type", "invalid_value"},
      {chat_with(R"("timings_per_token":1)"), "timings_per_token", "invalid_type"},
  });
  const ChatRequest chat = good_chat(chat_with(
      R"("dry_multiplier":0.8,"dry_base":2,"dry_allowed_length":3,"dry_penalty_last_n":64,)"
      R"("dry_sequence_breakers":[";"],"xtc_probability":0.5,"xtc_threshold":0.2,"bad_words":["no"],)"
      R"("allowed_token_ids":[4,5],"logprobs":true,"logprob_token_ids":[7,8,7],"thinking_token_budget":12,)"
      R"("repetition_detection":{"max_pattern_size":8,"min_count":3},"truncate_prompt_tokens":-1)"));
  const GenerationParams& p = chat.params;
  CHECK(p.dry.multiplier == 0.8f);
  CHECK(p.dry.base == 2.0f);
  CHECK(p.dry.allowed_length == 3);
  CHECK(p.dry.last_n == 64);
  CHECK(p.dry.breakers == std::vector<std::string>{";"});
  CHECK(p.xtc_probability == 0.5f);
  CHECK(p.xtc_threshold == 0.2f);
  CHECK(p.bad_words == std::vector<std::string>{"no"});
  CHECK(p.allowed_token_ids == std::vector<int32_t>{4, 5});
  CHECK(p.logprob_token_ids == std::vector<int32_t>{7, 8});
  CHECK(p.repetition.max_pattern == 8);
  CHECK(p.repetition.min_pattern == 1);
  CHECK(p.repetition.min_count == 3);
  CHECK(p.truncate_prompt_tokens == -1);
  CHECK(chat.thinking_token_budget == 12);
  CHECK_FALSE(good_chat(chat_with(R"("thinking_token_budget":-1)")).thinking_token_budget.has_value());
}

TEST_CASE("what asks for nothing is fine", "[server][parse]") {
  for (const std::string member :
       {R"("response_format":{"type":"text"})", R"("dry_multiplier":0)",
        R"("xtc_probability":0.0,"xtc_threshold":0.1)", R"("bad_words":[])", R"("guided_json":null)",
        R"("temperature":null,"max_tokens":null,"stop":null)", R"("stop":[])",
        R"("user":"u","metadata":{"a":"b"},"store":false,"service_tier":"auto","verbosity":"low")",
        R"("prediction":{"type":"content","content":"x"})", R"("some_future_parameter":{"x":1})",
        R"("top_k":-1)", R"("top_p":0)", R"("seed":-1)", R"("seed":18446744073709551615)", R"("n":128)"}) {
    good_chat(chat_with(member));
    good_completion(completion_with(member));
  }
}

TEST_CASE("response_format and other chat fields", "[server][parse]") {
  check_bad_chat({
      {chat_with(R"("response_format":{"type":"xml"})"), "response_format.type", "invalid_value"},
      {chat_with(R"("response_format":{})"), "response_format.type", "missing_required_parameter"},
      {chat_with(R"("response_format":"text")"), "response_format", "invalid_type"},
      {chat_with(R"("top_logprobs":5)"), "top_logprobs", "invalid_value"},
      {chat_with(R"("logprobs":false,"top_logprobs":5)"), "top_logprobs", "invalid_value"},
      {chat_with(R"("logprobs":true,"top_logprobs":21)"), "top_logprobs", "invalid_value"},
      {chat_with(R"("logprobs":true,"top_logprobs":-1)"), "top_logprobs", "invalid_value"},
      {chat_with(R"("logprobs":5)"), "logprobs", "invalid_type"},
      {chat_with(R"("chat_template":"{{ messages }}")"), "chat_template", "unsupported"},
      {chat_with(R"("chat_template_kwargs":{"tokenize":true})"), "chat_template_kwargs.tokenize",
       "invalid_value"},
      {chat_with(R"("chat_template_kwargs":{"enable_thinking":"no"})"),
       "chat_template_kwargs.enable_thinking", "invalid_type"},
      {chat_with(R"("chat_template_kwargs":[])"), "chat_template_kwargs", "invalid_type"},
      {chat_with(R"("enable_thinking":1)"), "enable_thinking", "invalid_type"},
      {chat_with(R"("reasoning_effort":"huge")"), "reasoning_effort", "invalid_value"},
      {chat_with(R"("continue_final_message":true)"), "continue_final_message", "invalid_value"},
      {R"({"messages":[{"role":"assistant","content":"a"}],"continue_final_message":true,"add_generation_prompt":true})",
       "continue_final_message", "invalid_value"},
      {chat_with(R"("functions":[{"name":"f"}])"), "functions", "unsupported"},
      {chat_with(R"("function_call":"auto")"), "function_call", "unsupported"},
      {chat_with(R"("modalities":["text","audio"])"), "modalities[1]", "unsupported"},
      {chat_with(R"("audio":{"voice":"x"})"), "audio", "unsupported"},
      {chat_with(R"("web_search_options":{})"), "web_search_options", "unsupported"},
      {chat_with(R"("parallel_tool_calls":1)"), "parallel_tool_calls", "invalid_type"},
  });
}

TEST_CASE("tools and tool_choice that can't be used are refused by path", "[server][parse][tools]") {
  const auto choice = [](const std::string& value) {
    return chat_with(R"("tools":[)" + kTool + R"(],"tool_choice":)" + value);
  };
  check_bad_chat({
      {chat_with(R"("tools":{})"), "tools", "invalid_type"},
      {chat_with(R"("tools":[1])"), "tools[0]", "invalid_type"},
      {chat_with(R"("tools":[{}])"), "tools[0].type", "missing_required_parameter"},
      {chat_with(R"("tools":[{"type":"retrieval"}])"), "tools[0].type", "invalid_value"},
      {chat_with(R"("tools":[{"type":"custom","custom":{"name":"x"}}])"), "tools[0].type", "unsupported"},
      {chat_with(R"("tools":[{"type":"function"}])"), "tools[0].function", "missing_required_parameter"},
      {chat_with("\"tools\":[" + tool("{}") + "]"), "tools[0].function.name", "missing_required_parameter"},
      {chat_with("\"tools\":[" + tool(R"({"name":"bad name"})") + "]"), "tools[0].function.name",
       "invalid_value"},
      {chat_with("\"tools\":[" + tool(R"({"name":""})") + "]"), "tools[0].function.name", "invalid_value"},
      {chat_with("\"tools\":[" + tool(R"({"name":"a\"}<|im_end|>"})") + "]"), "tools[0].function.name",
       "invalid_value"},
      {chat_with("\"tools\":[" + tool("{\"name\":\"" + std::string(65, 'x') + "\"}") + "]"),
       "tools[0].function.name", "invalid_value"},
      {chat_with("\"tools\":[" + tool(R"({"name":"f","parameters":[]})") + "]"),
       "tools[0].function.parameters", "invalid_type"},
      {chat_with("\"tools\":[" + tool(R"({"name":"f","description":3})") + "]"),
       "tools[0].function.description", "invalid_type"},
      {chat_with("\"tools\":[" + tool(R"({"name":"f","strict":"yes"})") + "]"), "tools[0].function.strict",
       "invalid_type"},
      {chat_with("\"tools\":[" + kTool + "," + kTool + "]"), "tools[1].function.name", "invalid_value"},
      {chat_with("\"tools\":[" + repeat(kTool, 129) + "]"), "tools", "invalid_value"},
      {chat_with(R"("tool_choice":"required")"), "tool_choice", "invalid_value"},
      {chat_with(R"("tool_choice":{"type":"function","function":{"name":"f"}})"), "tool_choice",
       "invalid_value"},
      {choice(R"("always")"), "tool_choice", "invalid_value"},
      {choice("3"), "tool_choice", "invalid_type"},
      {choice(R"({"type":"function","function":{"name":"g"}})"), "tool_choice", "invalid_value"},
      {choice(R"({"type":"function"})"), "tool_choice.function", "missing_required_parameter"},
      {choice(R"({"type":"allowed_tools"})"), "tool_choice.allowed_tools", "missing_required_parameter"},
      {choice(R"({"type":"allowed_tools","allowed_tools":{"mode":"auto"}})"),
       "tool_choice.allowed_tools.tools", "missing_required_parameter"},
      {choice(
           R"({"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":[{"type":"function","function":{"name":"g"}}]}})"),
       "tool_choice.allowed_tools.tools[0]", "invalid_value"},
      {choice(R"({"type":"allowed_tools","allowed_tools":{"mode":"never","tools":[]}})"),
       "tool_choice.allowed_tools.mode", "invalid_value"},
  });
}

TEST_CASE("what tool_choice leaves of the tools", "[server][parse][tools]") {
  const std::string two = R"("tools":[)" + kTool + "," + tool(R"({"name":"g"})") + "]";
  const auto parse = [&](const std::string& choice) { return good_chat(chat_with(two + choice)).tools; };
  CHECK(parse("").mode == ToolMode::Auto);
  CHECK(parse("").tools.size() == 2);
  CHECK(parse(R"(,"tool_choice":"none")").mode == ToolMode::None);
  CHECK(parse(R"(,"tool_choice":"none")").tools.empty());
  CHECK(parse(R"(,"tool_choice":"required")").mode == ToolMode::Required);
  const ToolSettings named = parse(R"(,"tool_choice":{"type":"function","function":{"name":"g"}})");
  CHECK(named.mode == ToolMode::Named);
  CHECK(named.forced_name == "g");
  const ToolSettings allowed = parse(
      R"(,"tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"required","tools":[{"type":"function","function":{"name":"g"}}]}})");
  CHECK(allowed.mode == ToolMode::Required);
  CHECK(allowed.tools.size() == 1);
  CHECK(good_chat(chat_with(R"("tool_choice":"none")")).tools.mode == ToolMode::None);
}

TEST_CASE("prompts that can't be used are refused by path", "[server][parse]") {
  check_bad_completion({
      {"{}", "prompt", "missing_required_parameter"},
      {R"({"prompt":null})", "prompt", "missing_required_parameter"},
      {R"({"prompt":""})", "prompt", "invalid_value"},
      {R"({"prompt":[]})", "prompt", "invalid_value"},
      {R"({"prompt":[[]]})", "prompt[0]", "invalid_value"},
      {R"({"prompt":["a",""]})", "prompt[1]", "invalid_value"},
      {R"({"prompt":3})", "prompt", "invalid_type"},
      {R"({"prompt":{}})", "prompt", "invalid_type"},
      {R"({"prompt":[-1]})", "prompt[0]", "invalid_value"},
      {R"({"prompt":[5,1000]})", "prompt[1]", "invalid_value"},
      {R"({"prompt":[1.5]})", "prompt[0]", "invalid_type"},
      {R"({"prompt":[1,"a"]})", "prompt[1]", "invalid_type"},
      {R"({"prompt":[[1],[2,1000]]})", "prompt[1][1]", "invalid_value"},
      {R"({"prompt":["a",3]})", "prompt[1]", "invalid_type"},
      {R"({"prompt":[true]})", "prompt[0]", "invalid_type"},
      {"{\"prompt\":[" + repeat("\"a\"", 257) + "]}", "prompt", "invalid_value"},
      {"{\"prompt\":[" + repeat("\"a\"", 3) + "],\"n\":100}", "prompt", "invalid_value"},
      {completion_with(R"("logprobs":6)"), "logprobs", "invalid_value"},
      {completion_with(R"("logprobs":true)"), "logprobs", "invalid_type"},
      {completion_with(R"("echo":1)"), "echo", "invalid_type"},
      {completion_with(R"("suffix":1)"), "suffix", "invalid_type"},
      {completion_with(R"("suffix":"x","echo":true)"), "echo", "invalid_value"},
      {completion_with(R"("best_of":0)"), "best_of", "invalid_value"},
      {completion_with(R"("best_of":1,"n":2)"), "best_of", "invalid_value"},
      {completion_with(R"("best_of":3,"n":2)"), "best_of", "unsupported"},
  });
}

TEST_CASE("the four shapes of a prompt", "[server][parse]") {
  using Ids = std::vector<int32_t>;
  CHECK(good_completion(R"({"prompt":"a"})").prompts == std::vector<PromptInput>{"a"});
  CHECK(good_completion(R"({"prompt":["a","b"]})").prompts == std::vector<PromptInput>{"a", "b"});
  CHECK(good_completion(R"({"prompt":[1,2]})").prompts == std::vector<PromptInput>{Ids{1, 2}});
  CHECK(good_completion(R"({"prompt":[[1],[2,3]]})").prompts == std::vector<PromptInput>{Ids{1}, Ids{2, 3}});
}

TEST_CASE("completions: defaults and echo", "[server][parse]") {
  CHECK(good_completion(R"({"prompt":"a"})").params.max_tokens == 16);
  CHECK(good_completion(R"({"prompt":"a"})").params.num_logprobs == -1);
  CHECK(good_completion(R"({"prompt":"a","logprobs":0})").params.num_logprobs == 0);
  const CompletionRequest echo = good_completion(R"({"prompt":"a","echo":true,"max_tokens":0,"logprobs":5})");
  CHECK(echo.echo);
  CHECK(echo.params.max_tokens == 0);
  CHECK(echo.params.num_logprobs == 5);
}

TEST_CASE("aliases, and which of two wins", "[server][parse]") {
  CHECK(good_chat(chat_with(R"("max_completion_tokens":5)")).params.max_tokens == 5);
  CHECK(good_chat(chat_with(R"("max_completion_tokens":5,"max_tokens":9)")).params.max_tokens == 5);
  CHECK(good_chat(chat_with(R"("repeat_penalty":1.5)")).params.repetition_penalty == 1.5f);
  CHECK(good_chat(chat_with(R"("reasoning_effort":"none")")).template_options.enable_thinking == false);
  CHECK(good_chat(chat_with(R"("reasoning_effort":"none","enable_thinking":true)"))
            .template_options.enable_thinking == true);
  CHECK(good_chat(chat_with(R"("reasoning_effort":"high")")).template_options.enable_thinking == true);
  CHECK_FALSE(
      good_chat(chat_with(R"("reasoning_effort":"minimal")")).template_options.enable_thinking.has_value());
  CHECK(good_chat(chat_with(R"("chat_template_kwargs":{"enable_thinking":false})"))
            .template_options.enable_thinking == false);
}

TEST_CASE("every parameter arrives", "[server][parse]") {
  const GenerationParams p =
      good_chat(
          chat_with(
              R"("temperature":0.5,"top_p":0.25,"top_k":7,"min_p":0.125,"typical_p":0.75,"presence_penalty":1,
         "frequency_penalty":-1,"repetition_penalty":1.25,"seed":42,"logit_bias":{"7":-100,"8":2.5},"stop":["a","b"],
         "stop_token_ids":[3],"min_tokens":2,"max_tokens":10,"ignore_eos":true,"include_stop_str_in_output":true,
         "stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true},"n":3,"logprobs":true,
         "top_logprobs":4,"skip_special_tokens":false,"return_token_ids":true,"return_params":true,"cache_prompt":false,
         "cache_salt":"s","prompt_cache_key":"k","priority":-3,"timeout_ms":5,"queue_timeout_ms":6,
         "truncate_prompt_tokens":9)"))
          .params;
  CHECK(p.temperature == 0.5f);
  CHECK(p.top_p == 0.25f);
  CHECK(p.top_k == 7);
  CHECK(p.min_p == 0.125f);
  CHECK(p.typical_p == 0.75f);
  CHECK(p.presence_penalty == 1.0f);
  CHECK(p.frequency_penalty == -1.0f);
  CHECK(p.repetition_penalty == 1.25f);
  CHECK(p.seed == 42u);
  CHECK(p.logit_bias == std::vector<std::pair<int32_t, float>>{{7, -100.0f}, {8, 2.5f}});
  CHECK(p.stop == std::vector<std::string>{"a", "b"});
  CHECK(p.stop_token_ids == std::vector<int32_t>{3});
  CHECK((p.min_tokens == 2 && p.max_tokens == 10 && p.ignore_eos && p.include_stop));
  CHECK((p.stream && p.include_usage && p.continuous_usage_stats && p.n == 3 && p.num_logprobs == 4));
  CHECK((!p.skip_special_tokens && p.return_token_ids && p.return_params && !p.cache_prompt));
  CHECK((p.cache_salt == "s" && p.prompt_cache_key == "k" && p.priority == -3));
  CHECK((p.timeout_ms == 5 && p.queue_timeout_ms == 6 && p.truncate_prompt_tokens == 9));
}

TEST_CASE("a conversation with tools and reasoning arrives", "[server][parse]") {
  const auto request = good_chat(messages(R"(
      {"role":"developer","content":[{"type":"text","text":"Be "},{"type":"text","text":"brief."}]},
      {"role":"user","content":"Weather?"},
      {"role":"assistant","content":null,"reasoning_content":"need tool","tool_calls":[
        {"id":"c1","type":"function","function":{"name":"get","arguments":"{\"b\":1,\"a\":[2]}"}},
        {"id":"c2","type":"function","function":{"name":"raw","arguments":"not json"}}]},
      {"role":"tool","tool_call_id":"c1","content":"20"})"));
  REQUIRE(request.messages.size() == 4);
  CHECK(request.messages[0].role == "system");
  CHECK(request.messages[0].content == "Be brief.");
  CHECK(request.messages[2].reasoning == "need tool");
  REQUIRE(request.messages[2].tool_calls.size() == 2);
  const ToolCall& call = request.messages[2].tool_calls[0];
  CHECK(call.id == "c1");
  const auto& arguments = std::get<ValueObject>(call.arguments.data);
  CHECK(arguments[0].first == "b");  // the client's order
  CHECK(request.messages[2].tool_calls[1].arguments == Value{std::string("not json")});
  CHECK(request.messages[3].tool_call_id == "c1");
}

TEST_CASE("strict mode refuses unknown keys", "[server][parse]") {
  auto chat = parse_chat_request(body_of(chat_with(R"("temprature":1)")), kStrict);
  REQUIRE_FALSE(chat.ok());
  CHECK(chat.error().param == "temprature");
  CHECK(chat.error().code == "unknown_parameter");
  CHECK(
      parse_chat_request(body_of(chat_with(R"("temperature":1,"tools":[],"logprobs":true)")), kStrict).ok());
  CHECK_FALSE(parse_completion_request(body_of(completion_with(R"("messages":[])")), kStrict).ok());
  CHECK(parse_completion_request(body_of(completion_with(R"("echo":true)")), kStrict).ok());
}

TEST_CASE("tokenize and detokenize bodies", "[server][parse]") {
  check_bad({{"{}", "content", "missing_required_parameter"},
             {R"({"content":3})", "content", "invalid_type"},
             {R"({"content":"a","with_pieces":1})", "with_pieces", "invalid_type"},
             {R"({"prompt":["a"]})", "prompt", "invalid_type"},
             {R"({"messages":[]})", "messages", "invalid_value"}},
            [](const Value& body) { return parse_tokenize_request(body); });
  check_bad({{"{}", "tokens", "missing_required_parameter"},
             {R"({"tokens":[1,1000]})", "tokens[1]", "invalid_value"},
             {R"({"tokens":[-1]})", "tokens[0]", "invalid_value"},
             {R"({"tokens":"a"})", "tokens", "invalid_type"}},
            [](const Value& body) { return parse_detokenize_request(body, kContext); });
  auto llama = parse_tokenize_request(body_of(R"({"content":"a","parse_special":false})"));
  REQUIRE(llama.ok());
  CHECK((!llama.value().parse_special && !llama.value().with_counts && !llama.value().add_special));
  auto vllm = parse_tokenize_request(body_of(R"({"prompt":"a"})"));
  REQUIRE(vllm.ok());
  CHECK((vllm.value().with_counts && vllm.value().add_special));
}

TEST_CASE("every parameter's row has the JSON Schema of its value", "[server][parse]") {
  const auto check = [](const auto& own) {
    std::set<std::string> names;
    const auto check_rows = [&](const auto& table) {
      for (const auto& field : table) {
        INFO(field.name);
        CHECK(names.insert(std::string(field.name)).second);  // one row a parameter
        CHECK(nlohmann::json::parse(field.schema).is_object());
      }
    };
    check_rows(generation_fields());
    check_rows(own);
  };
  check(chat_fields());
  check(completion_fields());
  const auto row = std::ranges::find(generation_fields(), "top_k", &Field<GenerationParams>::name);
  CHECK(row->schema == R"({"type":"integer","minimum":-1})");
}
