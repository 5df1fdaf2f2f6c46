// /v1/responses over a real engine with a scripted model.
#include "server/responses/response_input.h"
#include "server/responses/response_request.h"
#include "server/responses/response_store.h"
#include "tests/server/api_fixture.h"
#include "tests/support/value_from_json.h"

using namespace qwend;
using namespace qwend::test;

namespace {

const Json kTools = Json::parse(
    R"([{"type":"function","name":"get_weather","strict":false,
         "parameters":{"type":"object","properties":{"city":{"type":"string"}}}}])");

using Endpoint = ApiFixture::Endpoint;

FakeResponder respond(ApiFixture& api, const Json& body) { return api.call(handle_responses, body.dump()); }

// The data of each event; checks that names, types and numbers agree.
std::vector<Json> events_of(const FakeResponder& response) {
  std::vector<Json> events;
  for (size_t begin = 0; begin < response.body.size();) {
    const size_t end = response.body.find("\n\n", begin);
    REQUIRE(end != std::string::npos);
    const std::string event = response.body.substr(begin, end - begin);
    const size_t data = event.find("\ndata: ");
    REQUIRE(event.starts_with("event: "));
    REQUIRE(data != std::string::npos);
    events.push_back(Json::parse(event.substr(data + 7)));
    CHECK(events.back()["type"] == event.substr(7, data - 7));
    CHECK(events.back()["sequence_number"] == events.size() - 1);
    begin = end + 2;
  }
  return events;
}

std::vector<std::string> types_of(const std::vector<Json>& events) {
  std::vector<std::string> types;
  for (const Json& event : events)
    if (types.empty() || types.back() != event["type"]) types.push_back(event["type"]);
  return types;
}

std::string joined(const std::vector<Json>& events, const std::string& type) {
  std::string text;
  for (const Json& event : events)
    if (event["type"] == type) text += event["delta"];
  return text;
}

std::vector<ChatMessage> messages_of(const char* json) {
  auto messages = parse_response_input(value_from_json(Json::parse(json)));
  REQUIRE(messages.ok());
  return std::move(messages).value();
}

}  // namespace

TEST_CASE("reasoning, text and calls are items in order, whole and streamed", "[server][responses]") {
  ApiFixture api(kQwen3Template);
  api.say(
      "<think>\nhmm\n</think>\n\nOne moment.\n<tool_call>\n{\"name\": \"get_weather\", \"arguments\": "
      "{\"city\": \"Paris\"}}\n</tool_call>");
  const Json body = {{"input", "Weather?"}, {"tools", kTools}};
  const FakeResponder whole = respond(api, body);
  REQUIRE(whole.status == 200);
  const Json answer = whole.json();
  CHECK(answer["status"] == "completed");
  REQUIRE(answer["output"].size() == 3);
  CHECK(answer["output"][0]["type"] == "reasoning");
  CHECK(answer["output"][0]["content"][0]["text"] == "hmm");
  CHECK(answer["output"][1]["content"][0]["text"] == "One moment.");
  CHECK(answer["output"][2]["name"] == "get_weather");
  CHECK(answer["output"][2]["arguments"] == "{\"city\": \"Paris\"}");
  CHECK(answer["usage"]["output_tokens_details"]["reasoning_tokens"] > 0);

  const std::vector<Json> events = events_of(respond(api, with(body, {{"stream", true}})));
  CHECK(types_of(events) ==
        std::vector<std::string>{
            "response.created", "response.in_progress", "response.output_item.added",
            "response.content_part.added", "response.reasoning_text.delta", "response.reasoning_text.done",
            "response.content_part.done", "response.output_item.done", "response.output_item.added",
            "response.content_part.added", "response.output_text.delta", "response.output_text.done",
            "response.content_part.done", "response.output_item.done", "response.output_item.added",
            "response.function_call_arguments.delta", "response.function_call_arguments.done",
            "response.output_item.done", "response.completed"});
  CHECK(joined(events, "response.reasoning_text.delta") == "hmm");
  CHECK(joined(events, "response.output_text.delta") == "One moment.");
  CHECK(joined(events, "response.function_call_arguments.delta") == "{\"city\": \"Paris\"}");
  const Json& final = events.back()["response"];
  REQUIRE(final["output"].size() == 3);
  for (size_t i = 0; i < 3; ++i) {
    CHECK(final["output"][i]["status"] == "completed");
    CHECK(final["output"][i]["type"] == answer["output"][i]["type"]);
  }
  CHECK(api.settles());
}

TEST_CASE("an empty answer is an empty message", "[server][responses]") {
  ApiFixture api;
  api.say("");
  const Json answer = respond(api, {{"input", "Hi"}}).json();
  REQUIRE(answer["output"].size() == 1);
  CHECK(answer["output"][0]["content"][0]["text"] == "");
  const std::vector<Json> events = events_of(respond(api, {{"input", "Hi"}, {"stream", true}}));
  CHECK(events.back()["type"] == "response.completed");
}

TEST_CASE("items become the messages that a model has seen", "[server][responses]") {
  const auto messages = messages_of(R"([
      {"role": "developer", "content": "D"},
      {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a"},
                                                      {"type": "input_text", "text": "b"}]},
      {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "r"}]},
      {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "c"}]},
      {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{\"x\": 1}"},
      {"type": "function_call", "call_id": "2", "name": "g", "arguments": "{}"},
      {"type": "function_call_output", "call_id": "1", "output": "one"},
      {"role": "assistant", "content": "d"}])");
  REQUIRE(messages.size() == 5);
  CHECK(messages[0].role == "system");
  CHECK(messages[1].content == "ab");
  CHECK(messages[2].reasoning == "r");
  CHECK(messages[2].content == "c");
  REQUIRE(messages[2].tool_calls.size() == 2);
  CHECK(messages[2].tool_calls[0].arguments.find("x") != nullptr);
  CHECK(messages[3].role == "tool");
  CHECK(messages[3].tool_call_id == "1");
  CHECK(messages[4].content == "d");

  const auto headed = with_instructions("I", messages);
  CHECK(headed.size() == 5);
  CHECK(headed[0].content == "I\n\nD");
  CHECK(with_instructions("", messages_of(R"("Hi")")).size() == 1);
}

TEST_CASE("a kept response can be read, continued by its key only, and deleted", "[server][responses]") {
  ApiFixture api;
  api.say("first");
  const Json first = respond(api, {{"input", "one"}, {"store", true}}).json();
  const std::string id = first["id"];
  const auto get = [&](Endpoint endpoint, const std::string& key) {
    http::Request request;
    request.path_params = {id};
    request.key_name = key;
    FakeResponder responder;
    endpoint(*api.app, request, responder);
    return responder;
  };
  CHECK(get(handle_response, "").json() == first);
  CHECK(get(handle_response, "other").status == 404);
  CHECK(get(handle_response_cancel, "").json() == first);

  const Json next = {{"input", "two"}, {"previous_response_id", id}};
  const Json counted = api.call(handle_response_input_tokens, next.dump()).json();
  const Json flat = {{"input",
                      {{{"role", "user"}, {"content", "one"}},
                       {{"role", "assistant"}, {"content", "first"}},
                       {{"role", "user"}, {"content", "two"}}}}};
  CHECK(counted == api.call(handle_response_input_tokens, flat.dump()).json());
  CHECK(respond(api, next).json()["usage"]["input_tokens"] == counted["input_tokens"]);

  CHECK(get(handle_response_delete, "other").status == 404);
  CHECK(get(handle_response_delete, "").json()["deleted"] == true);
  CHECK(get(handle_response, "").status == 404);
  CHECK(respond(api, next).json()["error"]["param"] == "previous_response_id");
}

TEST_CASE("a failure within a stream is response.failed, and kept so", "[server][responses]") {
  ApiFixture api;
  const Json body = {{"input", "Hi"}, {"stream", true}, {"store", true}, {"ignore_eos", true}};
  const FakeResponder response = api.call(handle_responses, body.dump(), api.failing_once_begun());
  REQUIRE(response.status == 200);
  const std::vector<Json> events = events_of(response);
  CHECK(events.back()["type"] == "response.failed");
  CHECK(events.back()["response"]["error"]["code"] == "server_error");
  http::Request request;
  request.path_params = {events[0]["response"]["id"]};
  FakeResponder kept;
  handle_response(*api.app, request, kept);
  CHECK(kept.json()["status"] == "failed");
}

TEST_CASE("what is refused is not kept", "[server][responses]") {
  ApiFixture api;
  const FakeResponder refused = respond(api, {{"input", std::string(5000, 'x')}, {"store", true}});
  CHECK(refused.status == 400);
  CHECK(refused.json()["error"]["param"] == "input");
  CHECK(api.app->responses.size() == 0);
}

TEST_CASE("the store keeps the newest, within its bounds", "[server][responses]") {
  const auto stored = [](const std::string& id, size_t bytes) {
    auto response = std::make_shared<StoredResponse>(id, "", std::vector<ChatMessage>());
    response->finish(std::string(bytes, 'x'), ChatMessage());
    return response;
  };
  ResponseStore store(3, 1 << 20);
  for (int i = 0; i < 5; ++i) store.put(stored(std::to_string(i), 10));
  CHECK(store.size() == 3);
  CHECK(store.find("1", "") == nullptr);
  CHECK(store.find("4", "") != nullptr);
  store.put(stored("large", 1 << 20));
  CHECK(store.size() == 1);  // the newest stays, whatever its size
  CHECK(store.find("large", "") != nullptr);
}
