// One worked conversation for each family, written out. The templates here are only what recognition looks
// at.
#include "engine/text/chat_template.h"
#include "tests/support/catch2.h"

using namespace qwend;

namespace {

const std::string kJsonTools =
    "{{ '<|im_start|>system\\n' }} You may call one or more functions to assist with the user query. return "
    "a json "
    "object with function name and arguments within <tool_call></tool_call> XML tags ";
const std::string kXmlTools =
    "<|im_start|> You have access to the following functions: If you choose to call a function ONLY reply in "
    "the "
    "following format <function= <parameter= ";

ChatTemplate qwen25() {
  return ChatTemplate::recognise(kJsonTools + "'<|im_start|>system\\nBe good.<|im_end|>\\n'", "");
}
ChatTemplate instruct() { return ChatTemplate::recognise(kJsonTools, ""); }
ChatTemplate qwen3() {
  return ChatTemplate::recognise(kJsonTools + "</think> last_query_index enable_thinking", "");
}
ChatTemplate thinking() {
  return ChatTemplate::recognise(
      kJsonTools + "</think> last_query_index '<|im_start|>assistant\\n<think>\\n'", "");
}
ChatTemplate qwq() {
  return ChatTemplate::recognise(kJsonTools + "</think> '<|im_start|>assistant\\n<think>\\n'", "");
}
ChatTemplate coder() { return ChatTemplate::recognise(kXmlTools + "'<|im_start|>system\\nYou code.'", ""); }
ChatTemplate qwen35(const std::string& more = "") {
  return ChatTemplate::recognise(kXmlTools + "</think>" + more, "");
}
ChatTemplate r1() {
  return ChatTemplate::recognise("<｜User｜><｜Assistant｜><think>\\n<｜end▁of▁sentence｜>", "");
}

ChatMessage said(const std::string& role, const std::string& content) {
  ChatMessage message;
  message.role = role;
  message.content = content;
  return message;
}

// A question, two calls at once, their results.
std::vector<ChatMessage> weather() {
  ChatMessage calls = said("assistant", "Checking.");
  calls.reasoning = "need tool";
  calls.tool_calls.push_back({"1", "get", Value{ValueObject{{"city", {"Zürich"}}}}, ""});
  calls.tool_calls.push_back({"2", "get", Value{ValueObject{{"n", {int64_t{2}}}, {"on", {true}}}}, ""});
  return {said("user", "Weather?"), calls, said("tool", "3"), said("tool", "-1")};
}

std::vector<ChatMessage> sums() {
  return {said("user", "1+1?"), said("assistant", "<think>\nadd\n</think>\n\n2"), said("user", "+1?")};
}

std::string render(const ChatTemplate& chat_template, const std::vector<ChatMessage>& messages,
                   std::optional<bool> enable_thinking = std::nullopt, const std::vector<Value>& tools = {}) {
  CHECK(chat_template.warning().empty());
  ChatTemplateOptions options;
  options.enable_thinking = enable_thinking;
  return join(chat_template.render(messages, tools, options).value());
}

std::vector<Value> one_tool() {
  const Value parameters{ValueObject{
      {"type", {"object"}},
      {"properties",
       {ValueObject{{"city", {ValueObject{{"type", {"string"}}, {"enum", {ValueArray{{"a"}, {"b"}}}}}}}}}},
      {"required", {ValueArray{{"city"}}}}}};
  return {{ValueObject{
      {"type", {"function"}},
      {"function",
       {ValueObject{{"name", {"get"}}, {"description", {" Get. "}}, {"parameters", parameters}}}}}}};
}

const std::string kJsonCalls =
    "<tool_call>\n{\"name\": \"get\", \"arguments\": {\"city\": \"Zürich\"}}\n</tool_call>\n"
    "<tool_call>\n{\"name\": \"get\", \"arguments\": {\"n\": 2, \"on\": true}}\n</tool_call><|im_end|>\n";
const std::string kXmlCalls =
    "<tool_call>\n<function=get>\n<parameter=city>\nZürich\n</parameter>\n</function>\n</tool_call>\n"
    "<tool_call>\n<function=get>\n<parameter=n>\n2\n</parameter>\n<parameter=on>\nTrue\n</parameter>\n</"
    "function>\n"
    "</tool_call><|im_end|>\n";
const std::string kResults =
    "<|im_start|>user\n<tool_response>\n3\n</tool_response>\n<tool_response>\n-1\n</"
    "tool_response><|im_end|>\n";
const std::string kQuestion = "<|im_start|>user\nWeather?<|im_end|>\n";
const std::string kAnswer = "<|im_start|>assistant\n";

}  // namespace

TEST_CASE("chat template example: Qwen2.5", "[unit][chat_template]") {
  const std::string system = "<|im_start|>system\nBe good.<|im_end|>\n";
  CHECK(qwen25().family() == ChatFamily::Qwen25);
  CHECK(render(qwen25(), weather()) ==
        system + kQuestion + kAnswer + "Checking.\n" + kJsonCalls + kResults + kAnswer);
  CHECK(render(qwen25(), {said("system", "S"), said("user", "U")}) ==
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n" + kAnswer);
  CHECK(render(qwen25(), {said("user", "U")}, {}, one_tool()) ==
        "<|im_start|>system\nBe good.\n\n# Tools\n\nYou may call one or more functions to assist with the "
        "user query.\n\n"
        "You are provided with function signatures within <tools></tools> XML tags:\n<tools>\n"
        "{\"type\": \"function\", \"function\": {\"name\": \"get\", \"description\": \" Get. \", "
        "\"parameters\": {\"type\": "
        "\"object\", \"properties\": {\"city\": {\"type\": \"string\", \"enum\": [\"a\", \"b\"]}}, "
        "\"required\": "
        "[\"city\"]}}}\n</tools>\n\nFor each function call, return a json object with function name and "
        "arguments within "
        "<tool_call></tool_call> XML tags:\n<tool_call>\n{\"name\": <function-name>, \"arguments\": "
        "<args-json-object>}\n</tool_call><|im_end|>\n<|im_start|>user\nU<|im_end|>\n" +
            kAnswer);
}

TEST_CASE("chat template example: Qwen3 and its relatives", "[unit][chat_template]") {
  const std::string short_sums = "<|im_start|>user\n1+1?<|im_end|>\n" + kAnswer +
                                 "2<|im_end|>\n<|im_start|>user\n+1?<|im_end|>\n" + kAnswer;
  const std::string reasoned =
      kQuestion + kAnswer + "<think>\nneed tool\n</think>\n\nChecking.\n" + kJsonCalls + kResults;
  CHECK(qwen3().family() == ChatFamily::Qwen3);
  CHECK(render(qwen3(), sums()) == short_sums);
  CHECK(render(qwen3(), sums(), true) == short_sums);
  CHECK(render(qwen3(), sums(), false) == short_sums + "<think>\n\n</think>\n\n");
  CHECK(render(qwen3(), weather()) == reasoned + kAnswer);

  CHECK(thinking().family() == ChatFamily::Qwen3Thinking);
  CHECK(render(thinking(), sums()) == short_sums + "<think>\n");
  CHECK(render(thinking(), weather(), false) == reasoned + kAnswer + "<think>\n");

  CHECK(instruct().family() == ChatFamily::Qwen3Instruct);
  CHECK(render(instruct(), weather(), false) ==
        kQuestion + kAnswer + "Checking.\n" + kJsonCalls + kResults + kAnswer);

  CHECK(qwq().family() == ChatFamily::QwQ);
  CHECK(render(qwq(), sums()) == short_sums + "<think>\n");
}

TEST_CASE("chat template example: Qwen3-Coder", "[unit][chat_template]") {
  CHECK(coder().family() == ChatFamily::Qwen3Coder);
  CHECK(render(coder(), weather()) ==
        kQuestion + kAnswer + "Checking.\n\n" + kXmlCalls +
            "<|im_start|>user\n<tool_response>\n3\n</tool_response>\n<tool_response>\n-1\n</"
            "tool_response>\n<|im_end|>\n" +
            kAnswer);
  const std::string tools = render(coder(), {said("user", "U")}, {}, one_tool());
  CHECK(tools.starts_with(
      "<|im_start|>system\nYou code.\n\n# Tools\n\nYou have access to the following "
      "functions:\n\n<tools>\n<function>\n"
      "<name>get</name>\n<description>Get.</description>\n<parameters>\n<parameter>\n<name>city</name>\n"
      "<type>string</type>\n<enum>[\"a\", "
      "\"b\"]</enum>\n</parameter>\n<required>[\"city\"]</required>\n</parameters>\n"
      "</function>\n</tools>\n\nIf you choose to call a function ONLY reply in the following format with NO "
      "suffix:"));
  CHECK(tools.ends_with("\n</IMPORTANT><|im_end|>\n<|im_start|>user\nU<|im_end|>\n" + kAnswer));
  CHECK(coder()
            .render({weather()[0],
                     [] {
                       ChatMessage bad = said("assistant", "");
                       bad.tool_calls.push_back({"1", "get", Value{"no object"}, "no object"});
                       return bad;
                     }()},
                    {}, {})
            .error() == "The arguments of the call of get must be a JSON object.");
}

TEST_CASE("chat template example: Qwen3.5", "[unit][chat_template]") {
  CHECK(qwen35().family() == ChatFamily::Qwen35);
  const std::string system_last =
      render(qwen35(), {said("system", " S\n"), said("user", " U ")}, {}, one_tool());
  CHECK(system_last.ends_with("</IMPORTANT>\n\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n" + kAnswer +
                              "<think>\n"));
  CHECK(render(qwen35(), weather(), false) == kQuestion + kAnswer +
                                                  "<think>\nneed tool\n</think>\n\nChecking.\n\n" +
                                                  kXmlCalls + kResults + kAnswer + "<think>\n\n</think>\n\n");
  const ChatTemplate small = qwen35("enable_thinking is true");
  CHECK(render(small, {said("user", "U")}).ends_with("<think>\n\n</think>\n\n"));
  CHECK(render(small, {said("user", "U")}, true).ends_with(kAnswer + "<think>\n"));

  CHECK(qwen35().render({said("user", "U"), said("system", "S")}, {}, {}).error() ==
        "System message must be at the beginning.");
  CHECK(qwen35().render({said("assistant", "A")}, {}, {}).error() == "No user query found in messages.");

  ChatTemplateOptions preserve;
  preserve.preserve_thinking = true;
  const auto kept = [&](const ChatTemplate& chat_template) {
    return join(chat_template.render(sums(), {}, preserve).value()).find("add") != std::string::npos;
  };
  CHECK_FALSE(kept(qwen35()));
  CHECK(kept(qwen35("preserve_thinking")));
}

TEST_CASE("chat template example: DeepSeek-R1", "[unit][chat_template]") {
  CHECK(r1().family() == ChatFamily::DeepSeekR1);
  CHECK(render(r1(), {said("system", "S"), said("user", "U")}) ==
        "<｜begin▁of▁sentence｜>S<｜User｜>U<｜Assistant｜><think>\n");
  CHECK(render(r1(), sums()) ==
        "<｜begin▁of▁sentence｜><｜User｜>1+1?<｜Assistant｜>\n\n2<｜end▁of▁sentence｜><｜User｜>+1?<"
        "｜Assistant｜><think>\n");
}
