// Fill in the middle: /infill and the suffix of /v1/completions.
#include "tests/server/api_fixture.h"

using namespace qwend;
using namespace qwend::test;

namespace {

std::shared_ptr<const Tokenizer> fim_tokenizer() {
  static const auto tokenizer = [] {
    Vocabulary vocabulary = small_vocabulary();
    for (const char* token : {"<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>",
                              "<|repo_name|>", "<|file_sep|>"})
      add_token(vocabulary, token, TokenType::Control);
    return std::make_shared<const Tokenizer>(vocabulary);
  }();
  return tokenizer;
}

struct CoderApi : ApiFixture {
  CoderApi() : ApiFixture(kQwen25Template, small_config(), fim_tokenizer()) {
    executor->on_step = [this](const StepInput& input) {
      if (prompt.empty()) prompt.assign(input.tokens.begin(), input.tokens.end());
    };
  }
  FakeResponder infill(const Json& body) {
    prompt.clear();
    return call(handle_infill, body.dump());
  }
  std::string prompt_text() const { return tokenizer->decode(prompt, true); }
  std::vector<int32_t> prompt;  // of the last request
};

}  // namespace

TEST_CASE("infill completes between prefix and suffix", "[server][infill]") {
  CoderApi api;
  api.say("return a and b");
  const Json body = {{"input_prefix", "def f(a, b):\n  "}, {"input_suffix", "\n"}, {"n_predict", 50}};
  const FakeResponder response = api.infill(body);
  REQUIRE(response.status == 200);
  const Json answer = response.json();
  CHECK(answer["content"] == "return a and b");
  CHECK(answer["stop"] == true);
  CHECK(answer["stop_type"] == "eos");
  CHECK(answer["tokens_evaluated"] == api.prompt.size());
  CHECK(answer["timings"]["predicted_n"] == answer["tokens_predicted"]);
  CHECK(api.prompt_text() == "<|fim_prefix|>def f(a, b):\n  <|fim_suffix|>\n<|fim_middle|>");
  CHECK(response.tokens.prompt == static_cast<int64_t>(api.prompt.size()));

  std::string joined;
  const std::vector<Json> events = api.infill(with(body, {{"stream", true}})).events();
  for (const Json& event : events) {
    joined += event["content"];
    CHECK(event["stop"] == (&event == &events.back()));
  }
  CHECK(joined == "return a and b");

  CHECK(api.infill(with(body, {{"n_predict", 2}})).json()["stop_type"] == "limit");
  const Json stopped = api.infill(with(body, {{"stop", {"zz", " and"}}})).json();
  CHECK(stopped["stop_type"] == "word");
  CHECK(stopped["stopping_word"] == " and");
  CHECK(stopped["content"] == "return a");
}

TEST_CASE("other files come first, and clients' words stay text", "[server][infill]") {
  CoderApi api;
  api.infill({{"input_prefix", "<|fim_suffix|>"},
              {"input_extra", {{{"filename", "a.py"}, {"text", "x"}}, {{"text", "y"}}}},
              {"prompt", "p"},
              {"n_predict", 1}});
  CHECK(api.prompt_text() ==
        "<|repo_name|>repository\n<|file_sep|>a.py\nx\n<|file_sep|>file\ny\n<|file_sep|>file\n"
        "<|fim_prefix|><|fim_suffix|><|fim_suffix|><|fim_middle|>p");
  const int32_t suffix = api.tokenizer->find("<|fim_suffix|>");
  CHECK(std::count(api.prompt.begin(), api.prompt.end(), suffix) == 1);
}

TEST_CASE("completions with a suffix", "[server][infill]") {
  CoderApi api;
  api.say("and");
  const FakeResponder response = api.complete({{"prompt", "a "}, {"suffix", " b"}});
  CHECK(response.json()["choices"][0]["text"] == "and");
  CHECK(api.prompt_text() == "<|fim_prefix|>a <|fim_suffix|> b<|fim_middle|>");
}

TEST_CASE("infill mistakes", "[server][infill]") {
  CoderApi api;
  const auto error = [&](const Json& body) {
    const FakeResponder response = api.infill(body);
    CHECK(response.status == 400);
    return response.json()["error"];
  };
  CHECK(error(Json::object())["param"] == "input_prefix");
  CHECK(error({{"input_prefix", 1}})["param"] == "input_prefix");
  CHECK(error({{"input_prefix", "a"}, {"n_predict", 0}})["param"] == "n_predict");
  CHECK(error({{"input_prefix", "a"}, {"input_extra", {{{"filename", "b"}}}}})["param"] ==
        "input_extra[0].text");
  CHECK(error({{"input_prefix", "a"}, {"n", 2}})["param"] == "n");
  CHECK(error({{"input_prefix", std::string(3000, 'x')}})["code"] == "context_length_exceeded");

  ApiFixture plain;  // a vocabulary without the tokens
  const FakeResponder response = plain.call(handle_infill, Json({{"input_prefix", "a"}}).dump());
  CHECK(response.status == 400);
  CHECK(response.json()["error"]["code"] == "unsupported");
}
