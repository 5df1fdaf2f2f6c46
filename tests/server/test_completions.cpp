// /v1/completions over a real engine with a scripted model.
#include "tests/server/api_fixture.h"

using namespace qwend;
using namespace qwend::test;

TEST_CASE("a whole completion", "[server][completions]") {
  ApiFixture api;
  api.say(" world");
  const FakeResponder response = api.complete({{"prompt", "Hello"}});
  REQUIRE(response.status == 200);
  const Json answer = response.json();
  CHECK(answer["object"] == "text_completion");
  CHECK(std::string(answer["id"]).starts_with("cmpl-"));
  CHECK(answer["choices"][0] ==
        Json({{"index", 0}, {"text", " world"}, {"logprobs", nullptr}, {"finish_reason", "stop"}}));
  CHECK(answer["usage"]["prompt_tokens"].get<size_t>() ==
        api.tokenizer->encode("Hello", Specials::All).size());
  CHECK(api.settles());
}

TEST_CASE("several prompts and choices come in order, whole and streamed", "[server][completions]") {
  ApiFixture api;
  const Json body = {{"prompt", {"aa", "bb", "cc"}},
                     {"n", 2},
                     {"temperature", 1.0},
                     {"seed", 3},
                     {"max_tokens", 6},
                     {"ignore_eos", true}};
  const Json whole = api.complete(body).json();
  REQUIRE(whole["choices"].size() == 6);
  for (int i = 0; i < 6; ++i) CHECK(whole["choices"][i]["index"] == i);
  CHECK(whole["usage"]["completion_tokens"] == 36);
  std::vector<std::string> texts(6), finishes(6);
  const FakeResponder response = api.complete(with(body, {{"stream", true}}));
  for (const Json& chunk : response.events()) {
    CHECK(chunk["object"] == "text_completion");
    const Json& choice = chunk["choices"][0];
    texts[choice["index"].get<size_t>()] += choice["text"];
    if (choice["finish_reason"].is_string())
      finishes[choice["index"].get<size_t>()] = choice["finish_reason"];
  }
  for (size_t i = 0; i < 6; ++i) {
    CHECK(texts[i] == whole["choices"][i]["text"]);
    CHECK(finishes[i] == "length");
  }
  CHECK(response.done());
  // Each prompt alone gives the same.
  for (size_t i = 0; i < 3; ++i) {
    const Json alone = api.complete(with(body, {{"prompt", body["prompt"][i]}})).json();
    CHECK(alone["choices"][1]["text"] == whole["choices"][2 * i + 1]["text"]);
  }
}

TEST_CASE("token ids and text are the same prompt", "[server][completions]") {
  ApiFixture api;
  const auto ids = api.tokenizer->encode("then and there", Specials::None);
  const Json text = api.complete({{"prompt", "then and there"}, {"max_tokens", 8}}).json();
  CHECK(api.complete({{"prompt", ids}, {"max_tokens", 8}}).json()["choices"] == text["choices"]);
  CHECK(api.complete({{"prompt", {ids, ids}}, {"max_tokens", 8}}).json()["choices"][1]["text"] ==
        text["choices"][0]["text"]);
}

TEST_CASE("echo puts the prompt first", "[server][completions]") {
  ApiFixture api;
  api.say(" world");
  CHECK(api.complete({{"prompt", "Hello"}, {"echo", true}}).json()["choices"][0]["text"] == "Hello world");
  std::string streamed;
  for (const Json& chunk : api.complete({{"prompt", "Hello"}, {"echo", true}, {"stream", true}}).events())
    streamed += chunk["choices"][0]["text"];
  CHECK(streamed == "Hello world");
  const Json nothing = api.complete({{"prompt", "Hello"}, {"echo", true}, {"max_tokens", 0}}).json();
  CHECK(nothing["choices"][0]["text"] == "Hello");
  CHECK(nothing["choices"][0]["finish_reason"] == "length");
  CHECK(nothing["usage"]["completion_tokens"] == 0);
}

TEST_CASE("prompt log-probabilities, as evaluation harnesses ask for them",
          "[server][completions][logprobs]") {
  ApiFixture api;
  const std::vector<std::vector<int32_t>> prompts = {{'t', 'h', 'e', ' ', 'c', 'a', 't'}, {'d', 'o', 'g'}};
  for (const int max_tokens : {0, 1}) {
    const Json answer = api.complete({{"prompt", prompts},
                                      {"echo", true},
                                      {"logprobs", 1},
                                      {"max_tokens", max_tokens},
                                      {"temperature", 0}})
                            .json();
    REQUIRE(answer["choices"].size() == 2);
    for (size_t i = 0; i < 2; ++i) {
      const Json& logprobs = answer["choices"][i]["logprobs"];
      const size_t expected = prompts[i].size() + static_cast<size_t>(max_tokens);
      REQUIRE(logprobs["tokens"].size() == expected);
      REQUIRE(logprobs["token_logprobs"].size() == expected);
      REQUIRE(logprobs["top_logprobs"].size() == expected);
      REQUIRE(logprobs["text_offset"].size() == expected);
      CHECK(logprobs["token_logprobs"][0].is_null());
      CHECK(logprobs["top_logprobs"][0].is_null());
      std::string text;
      for (size_t t = 0; t < prompts[i].size(); ++t) {
        CHECK(logprobs["text_offset"][t].get<size_t>() == text.size());
        text += logprobs["tokens"][t];
        if (t == 0) continue;
        const std::string token = logprobs["tokens"][t];
        CHECK(logprobs["top_logprobs"][t][token] == logprobs["token_logprobs"][t]);
        CHECK(logprobs["token_logprobs"][t].get<double>() <= 0.0);
      }
      CHECK(text == std::string(prompts[i].begin(), prompts[i].end()));
    }
  }
}

TEST_CASE("log-probabilities in the legacy shape, streamed as whole", "[server][completions][logprobs]") {
  ApiFixture api;
  api.say("abc de");
  const Json body = {{"prompt", "x"}, {"logprobs", 2}};
  const Json whole = api.complete(body).json()["choices"][0]["logprobs"];
  CHECK(whole["tokens"].size() == whole["token_logprobs"].size());
  std::string text;
  for (const std::string token : whole["tokens"]) text += token;
  CHECK(text == "abc de");
  Json tokens = Json::array(), offsets = Json::array();
  for (const Json& chunk : api.complete(with(body, {{"stream", true}})).events()) {
    const Json& logprobs = chunk["choices"][0]["logprobs"];
    for (const Json& token : logprobs["tokens"]) tokens.push_back(token);
    for (const Json& offset : logprobs["text_offset"]) offsets.push_back(offset);
  }
  CHECK(tokens == whole["tokens"]);
  CHECK(offsets == whole["text_offset"]);
}

TEST_CASE("an answer that ends at once keeps its entry when echoed", "[server][completions][logprobs]") {
  ApiFixture api;
  // Always the end: harnesses drop the last entry whatever it is.
  api.executor->logits_of = [vocab = api.tokenizer->size(),
                             eos = api.tokenizer->eos()](std::span<const int32_t> context) {
    auto logits = fake_logits(context, vocab);
    logits[static_cast<size_t>(eos)] = 60.0f;
    return logits;
  };
  const Json choice =
      api.complete({{"prompt", {'a', 'b', 'c'}}, {"echo", true}, {"logprobs", 1}, {"max_tokens", 1}})
          .json()["choices"][0];
  CHECK(choice["logprobs"]["tokens"].size() == 4);
  CHECK(choice["text"] == "abc");
}

TEST_CASE("suffix needs a vocabulary with the tokens for it", "[server][completions]") {
  ApiFixture api;
  const FakeResponder response = api.complete({{"prompt", "a"}, {"suffix", "b"}});
  CHECK(response.status == 400);
  CHECK(response.json()["error"]["code"] == "unsupported");
  CHECK(response.json()["error"]["param"] == "suffix");
}

TEST_CASE("models, tokens and templates", "[server][models]") {
  ApiFixture api;
  const Json list = api.call(handle_models, "").json();
  CHECK(list["object"] == "list");
  const Json& model = list["data"][0];
  CHECK(model["id"] == "org/tiny");
  CHECK(model["max_model_len"] == 2048);
  CHECK(model["meta"]["n_params"] == 1234);
  http::Request request;
  FakeResponder found, missing;
  request.path_params = {"org/tiny"};
  handle_model(*api.app, request, found);
  CHECK(found.json() == model);
  request.path_params = {"org/huge"};
  handle_model(*api.app, request, missing);
  CHECK(missing.status == 404);
  CHECK(missing.json()["error"]["code"] == "model_not_found");
}

TEST_CASE("tokenize in both dialects, and back", "[server][tokenize]") {
  ApiFixture api;
  const std::string text = "the <|im_start|> caf\xC3\xA9";
  const Json llama = api.call(handle_tokenize, Json({{"content", text}}).dump()).json();
  CHECK(llama.size() == 1);
  CHECK(llama["tokens"].get<std::vector<int32_t>>() == api.tokenizer->encode(text, Specials::All));
  const Json plain =
      api.call(handle_tokenize, Json({{"content", text}, {"parse_special", false}}).dump()).json();
  CHECK(plain["tokens"].size() > llama["tokens"].size());
  const Json pieces =
      api.call(handle_tokenize, Json({{"content", text}, {"with_pieces", true}}).dump()).json();
  CHECK(pieces["tokens"][0]["piece"].is_string());
  CHECK(pieces["tokens"].back()["piece"].is_array());  // half of the e with its accent
  const Json vllm =
      api.call(handle_tokenize, Json({{"prompt", text}, {"return_token_strs", true}}).dump()).json();
  CHECK(vllm["count"] == llama["tokens"].size());
  CHECK(vllm["max_model_len"] == 2048);
  CHECK(vllm["tokens"] == llama["tokens"]);
  CHECK(vllm["token_strs"].size() == llama["tokens"].size());
  const Json back = api.call(handle_detokenize, Json({{"tokens", llama["tokens"]}}).dump()).json();
  CHECK(back == Json({{"content", text}, {"prompt", text}}));
  const Json prompt = api.call(handle_apply_template, user("Hi").dump()).json();
  const Json messages = api.call(handle_tokenize, user("Hi").dump()).json();
  CHECK(api.tokenizer->decode(messages["tokens"].get<std::vector<int32_t>>(), true) == prompt["prompt"]);
}

TEST_CASE("health, metrics and version answer without the engine's help", "[server][health]") {
  ApiFixture api;
  CHECK(api.call(handle_livez, "").json()["status"] == "ok");
  CHECK(api.call(handle_readyz, "").status == 200);
  CHECK(api.call(handle_version, "").json()["version"].is_string());
  CHECK(api.call(handle_index, "").content_type == "text/html; charset=utf-8");
  FakeResponder metrics;
  handle_metrics(*api.app, 3, metrics);
  CHECK(metrics.body.find("vllm:num_requests_running") != std::string::npos);
}
