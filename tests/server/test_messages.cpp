// /v1/messages over a real engine with a scripted model.
#include "server/anthropic/message_input.h"
#include "server/anthropic/message_request.h"
#include "tests/server/api_fixture.h"
#include "tests/support/value_from_json.h"

using namespace qwend;
using namespace qwend::test;

namespace {

const Json kTools = Json::parse(
    R"([{"name":"get_weather","input_schema":{"type":"object","properties":{"city":{"type":"string"}}}}])");

FakeResponder send(ApiFixture& api, const Json& body) {
  return api.call(handle_messages, with({{"max_tokens", 200}}, body).dump());
}

std::vector<Json> events_of(const FakeResponder& response) {
  std::vector<Json> events;
  for (size_t begin = 0; begin < response.body.size();) {
    const size_t end = response.body.find("\n\n", begin);
    const size_t data = response.body.find("\ndata: ", begin);
    REQUIRE(data < end);
    events.push_back(Json::parse(response.body.substr(data + 7, end - data - 7)));
    CHECK(response.body.substr(begin, data - begin) == "event: " + std::string(events.back()["type"]));
    begin = end + 2;
  }
  return events;
}

// Content blocks put together from events, as clients do.
Json joined(const std::vector<Json>& events) {
  Json blocks = Json::array();
  std::string partial;
  for (const Json& event : events) {
    if (event["type"] == "content_block_start") {
      REQUIRE(event["index"] == blocks.size());
      blocks.push_back(event["content_block"]);
      partial.clear();
    } else if (event["type"] == "content_block_delta") {
      REQUIRE(event["index"] == blocks.size() - 1);
      for (const char* key : {"text", "thinking", "signature"})
        if (event["delta"].contains(key))
          blocks.back()[key] = std::string(blocks.back()[key]) + std::string(event["delta"][key]);
      if (event["delta"].contains("partial_json")) partial += event["delta"]["partial_json"];
    } else if (event["type"] == "content_block_stop" && !partial.empty()) {
      blocks.back()["input"] = Json::parse(partial);
    }
  }
  return blocks;
}

}  // namespace

TEST_CASE("thinking, text and tool_use are blocks, whole and streamed", "[server][messages]") {
  ApiFixture api(kQwen3Template);
  api.say(
      "<think>\nhmm\n</think>\n\nOne moment.\n<tool_call>\n{\"name\": \"get_weather\", \"arguments\": "
      "{\"city\": \"Paris\"}}\n</tool_call>");
  const Json body = with(user("Weather?"), {{"tools", kTools}, {"thinking", {{"type", "adaptive"}}}});
  const Json whole = send(api, body).json();
  CHECK(whole["stop_reason"] == "tool_use");
  REQUIRE(whole["content"].size() == 3);
  CHECK(whole["content"][0]["thinking"] == "hmm");
  CHECK_FALSE(std::string(whole["content"][0]["signature"]).empty());
  CHECK(whole["content"][1]["text"] == "One moment.");
  CHECK(whole["content"][2]["input"] == Json({{"city", "Paris"}}));

  const std::vector<Json> events = events_of(send(api, with(body, {{"stream", true}})));
  const Json blocks = joined(events);
  REQUIRE(blocks.size() == 3);
  CHECK(blocks[0] == whole["content"][0]);
  CHECK(blocks[1] == whole["content"][1]);
  CHECK(blocks[2]["input"] == whole["content"][2]["input"]);
  CHECK(events.front()["message"]["stop_reason"].is_null());
  CHECK(events[events.size() - 2]["delta"]["stop_reason"] == "tool_use");
  CHECK(events.back()["type"] == "message_stop");
  CHECK(api.settles());
}

TEST_CASE("thinking is off unless asked for", "[server][messages]") {
  ApiFixture api(kQwen3Template);
  const auto prompt_tokens = [&](const Json& body) {
    return api.call(handle_message_count, body.dump()).json()["input_tokens"].get<int>();
  };
  const Json thinking = with(user("Hi"), {{"thinking", {{"type", "adaptive"}}}});
  const Json off = with(user("Hi"), {{"thinking", {{"type", "disabled"}}}});
  CHECK(prompt_tokens(user("Hi")) == prompt_tokens(off));
  CHECK(prompt_tokens(off) > prompt_tokens(thinking));  // the closed block
}

TEST_CASE("a call cut short has no input", "[server][messages]") {
  ApiFixture api;
  api.say("<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Paris\"}}\n</tool_call>");
  const Json body = with(user("Weather?"), {{"tools", kTools}, {"max_tokens", 55}});
  const Json answer = send(api, body).json();
  CHECK(answer["stop_reason"] == "max_tokens");
  REQUIRE(answer["content"].size() == 1);
  CHECK(answer["content"][0]["input"] == Json::object());
}

TEST_CASE("blocks become the messages that a model has seen", "[server][messages]") {
  const Value input = value_from_json(Json::parse(R"([
      {"role": "user", "content": "a"},
      {"role": "assistant", "content": [{"type": "thinking", "thinking": "r", "signature": "s"},
                                        {"type": "text", "text": "b"},
                                        {"type": "tool_use", "id": "1", "name": "f", "input": {"x": 1}}]},
      {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1",
                                    "content": [{"type": "text", "text": "one"}]},
                                   {"type": "tool_result", "tool_use_id": "2"},
                                   {"type": "text", "text": "c"}, {"type": "text", "text": "d"}]}])"));
  const Value system = value_from_json(Json::parse(R"([{"type": "text", "text": "S"}])"));
  const auto parsed = parse_message_input(input, &system);
  REQUIRE(parsed.ok());
  const auto& messages = parsed.value();
  REQUIRE(messages.size() == 6);
  CHECK(messages[0].content == "S");
  CHECK(messages[2].reasoning == "r");
  CHECK(messages[2].content == "b");
  CHECK(messages[2].tool_calls.at(0).arguments_text == "{\"x\": 1}");
  CHECK(messages[3].role == "tool");
  CHECK(messages[3].content == "one");
  CHECK(messages[4].tool_call_id == "2");
  CHECK(messages[4].content.empty());
  CHECK(messages[5].content == "cd");
}

TEST_CASE("failures have the dialect's shape before and within a stream", "[server][messages]") {
  ApiFixture api;
  const Json body = with(user("Hi"), {{"stream", true}, {"ignore_eos", true}, {"max_tokens", 1900}});
  const FakeResponder within = api.call(handle_messages, body.dump(), api.failing_once_begun());
  const std::vector<Json> events = events_of(within);
  CHECK(events.back()["type"] == "error");
  CHECK(events.back()["error"]["type"] == "api_error");
  const FakeResponder before = send(api, user("Hi"));
  CHECK(before.status == 503);
  CHECK(before.json()["error"]["type"] == "overloaded_error");
}
