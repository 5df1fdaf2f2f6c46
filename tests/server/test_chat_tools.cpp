// Tools in /v1/chat/completions over a real engine with a scripted model.
#include <set>
#include <thread>

#include "tests/server/joined_stream.h"

using namespace qwend;
using namespace qwend::test;

namespace {

const Json kTools = Json::parse(
    R"([{"type":"function","function":{"name":"get_weather","parameters":{"type":"object","properties":{"city":{"type":"string"}}}}}])");

}  // namespace

TEST_CASE("tool calls, whole and streamed", "[server][chat][tools]") {
  ApiFixture api;
  api.say(
      "Let me look.\n<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": "
      "\"Paris\"}}\n</tool_call>");
  const Json body = with(user("Weather?"), {{"tools", kTools}});
  const Json choice = api.chat(body).json()["choices"][0];
  CHECK(choice["finish_reason"] == "tool_calls");
  CHECK(choice["message"]["content"] == "Let me look.");
  REQUIRE(choice["message"]["tool_calls"].size() == 1);
  const Json& call = choice["message"]["tool_calls"][0];
  CHECK(call["type"] == "function");
  CHECK(std::string(call["id"]).starts_with("call_"));
  CHECK(call["function"] == Json({{"name", "get_weather"}, {"arguments", "{\"city\": \"Paris\"}"}}));

  api.executor->on_step = [](const StepInput&) { std::this_thread::sleep_for(std::chrono::milliseconds(3)); };
  const auto chunks = api.chat(with(body, {{"stream", true}})).events();
  const Joined joined = join_choice(chunks);
  CHECK(joined.content == "Let me look.");
  CHECK(joined.finish_reason == "tool_calls");
  REQUIRE(joined.tool_calls.size() == 1);
  CHECK(joined.tool_calls[0]["function"] == call["function"]);
  int fragments = 0;
  for (const Json& chunk : chunks) fragments += chunk["choices"][0]["delta"].contains("tool_calls");
  CHECK(fragments > 5);  // arguments stream
}

TEST_CASE("a call with nothing before it has null content", "[server][chat][tools]") {
  ApiFixture api;
  api.say("<tool_call>{\"name\": \"get_weather\", \"arguments\": {}}</tool_call>");
  const Json body = with(user("Weather?"), {{"tools", kTools}});
  CHECK(api.chat(body).json()["choices"][0]["message"]["content"].is_null());
  const auto chunks = api.chat(with(body, {{"stream", true}})).events();
  CHECK(chunks.front()["choices"][0]["delta"]["role"] == "assistant");
  CHECK(join_choice(chunks).tool_calls.size() == 1);
}

TEST_CASE("malformed calls and hidden tools leave content", "[server][chat][tools]") {
  ApiFixture api;
  api.say("<tool_call>\n{broken\n</tool_call>");
  const Json body = with(user("Weather?"), {{"tools", kTools}});
  Json choice = api.chat(body).json()["choices"][0];
  CHECK(choice["message"]["content"] == "<tool_call>\n{broken\n</tool_call>");
  CHECK(choice["finish_reason"] == "stop");
  api.say("<tool_call>{\"name\": \"get_weather\", \"arguments\": {}}</tool_call>");
  choice = api.chat(with(body, {{"tool_choice", "none"}})).json()["choices"][0];
  CHECK_FALSE(choice["message"].contains("tool_calls"));
  const Json hidden = api.call(handle_apply_template, with(body, {{"tool_choice", "none"}}).dump()).json();
  CHECK(std::string(hidden["prompt"]).find("get_weather") == std::string::npos);
}

TEST_CASE("tool_choice forces a call by beginning it in the prompt", "[server][chat][tools]") {
  ApiFixture api(kQwen3Template);
  const Json body = with(user("Weather?"), {{"tools", kTools}});
  const Json named = {{"tool_choice", {{"type", "function"}, {"function", {{"name", "get_weather"}}}}}};
  const std::string prompt = api.call(handle_apply_template, with(body, named).dump()).json()["prompt"];
  CHECK(prompt.ends_with("<tool_call>\n{\"name\": \"get_weather\", \"arguments\":"));
  api.say(" {\"city\": \"Oslo\"}}\n</tool_call>");
  Json message = api.chat(with(body, named)).json()["choices"][0]["message"];
  CHECK(message["tool_calls"][0]["function"] ==
        Json({{"name", "get_weather"}, {"arguments", "{\"city\": \"Oslo\"}"}}));
  message =
      api.chat(with(body, {{"tool_choice", "required"}})).json()["choices"][0]["message"];  // the only one
  CHECK(message["tool_calls"][0]["function"]["arguments"] == "{\"city\": \"Oslo\"}");
}

TEST_CASE("a forced call has an allowed name, whatever the model would rather say", "[server][chat][tools]") {
  const auto tool = [](const std::string& name) {
    return Json{{"type", "function"}, {"function", {{"name", name}}}};
  };
  const Json allowed = {
      {"type", "allowed_tools"},
      {"allowed_tools", {{"mode", "required"}, {"tools", {tool("get_time"), tool("ask")}}}}};
  const Json one_allowed = {{"type", "allowed_tools"},
                            {"allowed_tools", {{"mode", "required"}, {"tools", {tool("get_time")}}}}};
  struct Case {
    Json choice;
    std::set<std::string> names;
  };
  const Case cases[] = {{"required", {"get_weather", "get_time", "ask"}},
                        {allowed, {"get_time", "ask"}},
                        {one_allowed, {"get_time"}},
                        {tool("ask"), {"ask"}}};
  for (const char* chat_template : {kQwen25Template, kQwen3Template, kCoderTemplate, kQwen35Template}) {
    ApiFixture api(chat_template);
    const Json body = with(user("?"), {{"tools", {tool("get_weather"), tool("get_time"), tool("ask")}},
                                       {"max_tokens", 60},
                                       {"temperature", 1},
                                       {"n", 4}});
    for (const std::string said :
         {"I would rather talk about something else.", "get_rich\", \"arguments\": {}}", ""}) {
      api.say(said);
      for (const auto& [choice, names] : cases) {
        INFO(chat_template << said << choice);
        const Json asked = with(body, {{"tool_choice", choice}});
        const Json plain = api.chat(asked).json();
        for (const Json& answer : plain["choices"]) {
          REQUIRE(answer["message"].contains("tool_calls"));
          for (const Json& call : answer["message"]["tool_calls"])
            CHECK(names.contains(std::string(call["function"]["name"])));
        }
        const Joined streamed = join_choice(api.chat(with(asked, {{"stream", true}, {"n", 1}})).events());
        REQUIRE_FALSE(streamed.tool_calls.empty());
        CHECK(names.contains(std::string(streamed.tool_calls[0]["function"]["name"])));
      }
    }
  }
}

TEST_CASE("a forced call keeps to its names to the end", "[server][chat][tools]") {
  ApiFixture api;
  const Json tools = Json::parse(
      R"([{"type":"function","function":{"name":"f"}},{"type":"function","function":{"name":"g"}}])");
  const Json named = {{"tools", tools},
                      {"tool_choice", {{"type", "function"}, {"function", {{"name", "f"}}}}}};
  const std::string again = "<tool_call>{\"name\": \"g\", \"arguments\": {}}</tool_call>";
  api.say(" {}}\n</tool_call>\n" + again);
  const Json message = api.chat(with(user("?"), named)).json()["choices"][0]["message"];
  CHECK(message["tool_calls"].size() == 1);
  CHECK(message["content"] == "\n" + again);
}

TEST_CASE("a stream begins each call once, with empty arguments", "[server][chat][tools]") {
  ApiFixture api;
  const std::string call = "<tool_call>{\"name\": \"get_weather\", \"arguments\": {\"city\": 1}}</tool_call>";
  api.say(call + "\n" + call);
  int begun = 0;
  for (const Json& chunk : api.chat(with(user("?"), {{"tools", kTools}, {"stream", true}})).events()) {
    for (const Json& part : chunk["choices"][0]["delta"].value("tool_calls", Json::array())) {
      if (!part.contains("id")) {
        CHECK_FALSE(part["function"].contains("name"));
        CHECK(part["index"] == begun - 1);
        continue;
      }
      CHECK(part["index"] == begun++);
      CHECK(part["function"] == Json({{"name", "get_weather"}, {"arguments", ""}}));
    }
  }
  CHECK(begun == 2);
}

TEST_CASE("tool calls of the XML families", "[server][chat][tools]") {
  for (const char* chat_template : {kCoderTemplate, kQwen35Template}) {
    ApiFixture api(chat_template);
    const Json body = with(user("Weather?"), {{"tools", kTools}, {"enable_thinking", false}});
    api.say(
        "One moment.\n<tool_call>\n<function=get_weather>\n<parameter=city>\nOslo\n</parameter>\n"
        "</function>\n</tool_call>");
    const Json choice = api.chat(body).json()["choices"][0];
    CHECK(choice["finish_reason"] == "tool_calls");
    CHECK(choice["message"]["content"] == "One moment.");
    CHECK(choice["message"]["tool_calls"][0]["function"] ==
          Json({{"name", "get_weather"}, {"arguments", "{\"city\": \"Oslo\"}"}}));
    const Joined joined = join_choice(api.chat(with(body, {{"stream", true}})).events());
    CHECK(joined.content == "One moment.");
    CHECK(joined.tool_calls[0]["function"] == choice["message"]["tool_calls"][0]["function"]);

    const Json named = {{"tool_choice", {{"type", "function"}, {"function", {{"name", "get_weather"}}}}}};
    const std::string prompt = api.call(handle_apply_template, with(body, named).dump()).json()["prompt"];
    CHECK(prompt.ends_with("<tool_call>\n<function=get_weather>\n"));
    api.say("<parameter=city>\nRome\n</parameter>\n</function>\n</tool_call>");
    for (const bool stream : {false, true}) {
      const FakeResponder response = api.chat(with(with(body, named), {{"stream", stream}}));
      const Json calls = stream ? join_choice(response.events()).tool_calls
                                : response.json()["choices"][0]["message"]["tool_calls"];
      REQUIRE(calls.size() == 1);
      CHECK(calls[0]["function"] == Json({{"name", "get_weather"}, {"arguments", "{\"city\": \"Rome\"}"}}));
    }
    api.say("</function>\n</tool_call>");
    const Json required = api.chat(with(body, {{"tool_choice", "required"}})).json()["choices"][0];
    CHECK(required["message"]["tool_calls"][0]["function"]["arguments"] == "{}");
  }
}

TEST_CASE("calls inside and after the think block", "[server][chat][tools][reasoning]") {
  ApiFixture api(kQwen3Template);
  const std::string call = "<tool_call>{\"name\": \"get_weather\", \"arguments\": {}}</tool_call>";
  const std::string other = "<tool_call>{\"name\": \"example\", \"arguments\": {}}</tool_call>";
  const Json body = with(user("?"), {{"tools", kTools}});
  const auto answer = [&](const std::string& said, bool parallel = true) {
    api.say(said);
    const Json asked = with(body, {{"parallel_tool_calls", parallel}});
    const Json choice = api.chat(asked).json()["choices"][0];
    const Joined joined = join_choice(api.chat(with(asked, {{"stream", true}})).events());
    const Json& message = choice["message"];
    CHECK(joined.reasoning == message.value("reasoning_content", ""));
    CHECK(joined.content == (message["content"].is_null() ? "" : message["content"].get<std::string>()));
    CHECK(joined.tool_calls.size() == message.value("tool_calls", Json::array()).size());
    CHECK(joined.finish_reason == choice["finish_reason"]);
    return choice;
  };
  const Json after = answer("<think>\nhm\n</think>\n\n" + call);
  CHECK(after["message"]["reasoning_content"] == "hm");
  CHECK(after["message"]["tool_calls"].size() == 1);

  const Json inside = answer("<think>\nhm\n" + call);  // never closed
  CHECK(inside["finish_reason"] == "tool_calls");
  CHECK(inside["message"]["reasoning_content"] == "hm");
  CHECK(inside["message"]["tool_calls"].size() == 1);

  const Json both = answer("<think>\nhm\n" + call + "\n</think>\n\nSo:\n" + call);
  CHECK(both["message"]["content"] == "So:");
  CHECK(both["message"]["tool_calls"].size() == 2);
  CHECK(answer("<think>\nhm\n" + call + "\n</think>\n\n" + call, false)["message"]["tool_calls"].size() == 1);

  const Json example = answer("<think>\nlike " + other + " so\n</think>\n\nYes.");
  CHECK(example["message"]["reasoning_content"] == "like " + other + " so");
  CHECK_FALSE(example["message"].contains("tool_calls"));
  const Json broken = answer("<think>\n<tool_call>{\"name\n</think>\n\nYes.");
  CHECK(broken["message"]["reasoning_content"] == "<tool_call>{\"name");
}

TEST_CASE("models whose template has no tools refuse them", "[server][chat][tools]") {
  ApiFixture api(kChatMlTemplate);
  const FakeResponder response = api.chat(with(user("Hi"), {{"tools", kTools}}));
  CHECK(response.status == 400);
  CHECK(response.json()["error"]["code"] == "unsupported");
}
