// Thinking models over the API: on and off, continued, and any text in any pieces.
#include <random>

#include "server/openai/choice.h"
#include "tests/server/api_fixture.h"

using namespace qwend;
using namespace qwend::test;

namespace {

constexpr char kThinkingTemplate[] =  // Qwen3-Thinking: no switch
    "<|im_start|> You may call one or more functions to assist with the user query. return a json object "
    "with function name and arguments within <tool_call></tool_call> XML tags </think> last_query "
    "'<|im_start|>assistant\\n<think>\\n'";

std::string prompt_of(ApiFixture& api, const Json& body) {
  const FakeResponder response = api.call(handle_apply_template, body.dump());
  INFO(response.body);
  REQUIRE(response.status == 200);
  return response.json()["prompt"];
}

Json conversation(const Json& last) {
  return {{"messages", {{{"role", "user"}, {"content", "1+1?"}}, last}}, {"continue_final_message", true}};
}

}  // namespace

TEST_CASE("a message that has begun to think goes on thinking", "[server][reasoning]") {
  for (const char* chat_template : {kQwen3Template, kQwen35Template, kThinkingTemplate}) {
    ApiFixture api(chat_template);
    const std::vector<Json> openings = {
        {{"role", "assistant"}, {"content", "<think>\nLet me"}},
        {{"role", "assistant"}, {"content", ""}, {"reasoning_content", "Let me"}},
        {{"role", "assistant"}, {"reasoning", "Let me"}},
    };
    for (const Json& opening : openings) {
      const Json body = conversation(opening);
      const std::string prompt = prompt_of(api, body);
      CHECK(prompt.ends_with("<|im_start|>assistant\n<think>\nLet me"));
      CHECK(prompt.find("</think>") == std::string::npos);
      api.say(" see.\n</think>\n\nIt is 2.");
      const Json answer = api.chat(body).json();
      CHECK(answer["choices"][0]["message"]["reasoning_content"] == " see.");
      CHECK(answer["choices"][0]["message"]["content"] == "It is 2.");
    }
  }
}

TEST_CASE("a message that has thought goes on answering", "[server][reasoning]") {
  ApiFixture api(kQwen3Template);
  const Json body = conversation({{"role", "assistant"}, {"content", "<think>\nhm\n</think>\n\nIt"}});
  CHECK(prompt_of(api, body).ends_with("<think>\nhm\n</think>\n\nIt"));
  api.say(" is 2.");
  const Json message = api.chat(body).json()["choices"][0]["message"];
  CHECK(message["content"] == " is 2.");
  CHECK_FALSE(message.contains("reasoning_content"));
}

TEST_CASE("thinking is switched for a request", "[server][reasoning]") {
  const std::string empty = "<think>\n\n</think>\n\n";
  for (const char* chat_template : {kQwen3Template, kQwen35Template, kThinkingTemplate}) {
    ApiFixture api(chat_template);
    for (const Json& off : {Json{{"enable_thinking", false}}, Json{{"reasoning_effort", "none"}},
                            Json{{"chat_template_kwargs", {{"enable_thinking", false}}}}}) {
      CHECK(prompt_of(api, with(user("Hi"), off)).ends_with(empty));
      api.say("Hello.");
      const Json message = api.chat(with(user("Hi"), off)).json()["choices"][0]["message"];
      CHECK(message["content"] == "Hello.");
      CHECK_FALSE(message.contains("reasoning_content"));
    }
    for (const Json& on : {Json{{"enable_thinking", true}}, Json{{"reasoning_effort", "low"}}})
      CHECK_FALSE(prompt_of(api, with(user("Hi"), on)).ends_with(empty));
  }
}

TEST_CASE("a choice reads the same from any pieces", "[server][reasoning][tools]") {
  const auto tools = std::make_shared<const std::vector<Value>>(std::vector<Value>{
      Value{ValueObject{{"function", Value{ValueObject{{"name", Value{std::string("f")}}}}}}}});
  const std::vector<std::string> pieces{"<think>",
                                        "</think>",
                                        "\n",
                                        "a ",
                                        "text",
                                        "<",
                                        "<tool_call>",
                                        "</tool_call>",
                                        "{\"name\": \"f\", \"arguments\": {}}",
                                        "<function=f>",
                                        "<parameter=x>\n1\n</parameter>",
                                        "</function>"};
  std::mt19937 random(5);
  for (int round = 0; round < 1500; ++round) {
    std::string text = random() % 2 == 0 ? "<think>\n" : "";
    for (size_t i = random() % 14; i > 0; --i) text += pieces[random() % pieces.size()];
    INFO(text);
    const ChoiceOptions options{.split_reasoning = true,
                                .starts_in_reasoning = random() % 3 == 0,
                                .tool_calls = random() % 2 == 0 ? ToolCallFormat::Json : ToolCallFormat::Xml,
                                .parallel_tool_calls = random() % 3 != 0,
                                .tools = tools};
    const auto read = [&](bool whole) {
      Choice choice(options, *small_tokenizer());
      ChoiceUpdate all;
      for (size_t at = 0; at < text.size();) {
        OutputDelta delta;
        delta.text = text.substr(at, whole ? std::string::npos : 1 + random() % 9);
        at += delta.text.size();
        all.append(choice.push(delta));
      }
      OutputDelta last;
      last.finish = FinishReason::Stop;
      all.append(choice.push(last));
      return std::pair(std::move(all), std::string(choice.finish_reason()));
    };
    const auto [expected, reason] = read(true);
    for (int again = 0; again < 3; ++again) {
      const auto [got, got_reason] = read(false);
      CHECK(got.reasoning == expected.reasoning);
      CHECK(got.content == expected.content);
      CHECK(got.tool_calls == expected.tool_calls);
      CHECK(got_reason == reason);
    }
    for (size_t i = 0; i < expected.tool_calls.size(); ++i)
      CHECK(expected.tool_calls[i].index == static_cast<int32_t>(i));
  }
}
