// What happens when something goes wrong between the engine and the client.
#include <thread>

#include "tests/server/api_fixture.h"

using namespace qwend;
using namespace qwend::test;

namespace {

const std::string kLong = std::string(300, 'x') + "end";

void slow_down(ApiFixture& api, int milliseconds) {
  api.executor->on_step = [=](const StepInput&) {
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
  };
}

const Json& error_of(const Json& body, const char* code) {
  const Json& error = body["error"];
  CHECK(error.size() == 4);
  CHECK(error["code"] == code);
  CHECK(error["message"].is_string());
  CHECK(error["type"].is_string());
  CHECK(error.contains("param"));
  return error;
}

}  // namespace

TEST_CASE("bodies that are no JSON object", "[server][delivery]") {
  ApiFixture api;
  for (const std::string body : {"", "null", "[]", "3", "\"x\"", "{", "{} x", "{\"a\":1,\"a\":2}"}) {
    for (const auto endpoint : {handle_chat_completions, handle_completions, handle_tokenize,
                                handle_detokenize, handle_apply_template}) {
      const FakeResponder response = api.call(endpoint, body);
      CHECK(response.status == 400);
      error_of(response.json(), "invalid_json");
    }
  }
  CHECK(api.settles());
}

TEST_CASE("an unknown model is 404, an absent one is fine", "[server][delivery]") {
  ApiFixture api;
  api.say("Hi");
  const FakeResponder response = api.chat(with(user("Hi"), {{"model", "gpt-9"}}));
  CHECK(response.status == 404);
  CHECK(error_of(response.json(), "model_not_found")["param"] == "model");
  CHECK(api.chat(with(user("Hi"), {{"model", "org/tiny"}})).status == 200);
  CHECK(api.chat(user("Hi")).status == 200);
  CHECK(api.complete({{"prompt", "a"}, {"model", "gpt-9"}}).status == 404);
}

TEST_CASE("prompts beyond the context are refused with the counts", "[server][delivery]") {
  ApiFixture api;
  const FakeResponder chat = api.chat(user(std::string(3000, 'z')));
  CHECK(chat.status == 400);
  const std::string message = error_of(chat.json(), "context_length_exceeded")["message"];
  CHECK(message.find("2048") != std::string::npos);
  CHECK(message.find("30") != std::string::npos);
  const FakeResponder completion = api.complete({{"prompt", {"a", std::string(2048, 'z')}}});
  CHECK(completion.status == 400);
  CHECK(error_of(completion.json(), "context_length_exceeded")["param"] == "prompt[1]");
  CHECK(api.settles());
}

TEST_CASE("max_tokens beyond the context ends with it", "[server][delivery]") {
  ApiFixture api;
  const Json answer =
      api.complete({{"prompt", std::string(2040, 'z')}, {"max_tokens", 1000}, {"ignore_eos", true}}).json();
  CHECK(answer["choices"][0]["finish_reason"] == "length");
  CHECK(answer["usage"]["total_tokens"] == 2048);
}

TEST_CASE("truncate_prompt_tokens keeps the prompt's end", "[server][delivery]") {
  ApiFixture api;
  const Json answer = api.complete({{"prompt", {1, 2, 3, 4, 5}},
                                    {"truncate_prompt_tokens", 2},
                                    {"max_tokens", 1},
                                    {"return_token_ids", true}})
                          .json();
  CHECK(answer["choices"][0]["prompt_token_ids"] == Json({4, 5}));
}

TEST_CASE("a full queue is 429 with Retry-After, and loses nothing", "[server][delivery]") {
  EngineConfig config = ApiFixture::small_config();
  config.max_queue = 2;
  config.max_seqs = 1;
  ApiFixture api(kQwen25Template, config);
  slow_down(api, 1);
  const FakeResponder response = api.complete({{"prompt", {"a", "b", "c", "d", "e"}}});
  CHECK(response.status == 429);
  error_of(response.json(), "overloaded");
  REQUIRE(response.header("Retry-After") != nullptr);
  CHECK(api.settles());
  CHECK(api.complete({{"prompt", "a"}}).status == 200);
}

TEST_CASE("draining is 503, and readyz says so at once", "[server][delivery]") {
  ApiFixture api;
  CHECK(api.call(handle_readyz, "").status == 200);
  api.app->draining = true;
  api.engine->drain();
  const FakeResponder response = api.chat(user("Hi"));
  CHECK(response.status == 503);
  error_of(response.json(), "draining");
  CHECK(response.header("Retry-After") != nullptr);
  CHECK(api.call(handle_readyz, "").status == 503);
  CHECK(api.call(handle_livez, "").status == 200);
}

TEST_CASE("a client that goes away cancels its request, whole or streamed, all prompts and choices",
          "[server][delivery]") {
  ApiFixture api;
  api.say(kLong);
  slow_down(api, 5);
  for (const bool stream : {false, true}) {
    FakeResponder leaving;
    leaving.gone_after = 0;
    const Json body = {{"prompt", {"a", "b"}}, {"n", 2}, {"max_tokens", 300}, {"stream", stream}};
    const FakeResponder response = api.call(handle_completions, body.dump(), leaving);
    CHECK_FALSE(response.ended);
    CHECK_FALSE(response.done());
    CHECK(api.settles());
  }
  CHECK(api.engine->stats().finished_cancelled == 8);
}

TEST_CASE("a lone stream is written token by token, streams in company in batches of the same events",
          "[server][delivery]") {
  for (const int company : {1, 32}) {
    EngineConfig config = ApiFixture::small_config();
    config.max_seqs = 32;
    config.num_kv_blocks = 1024;
    ApiFixture api(kQwen25Template, config);
    api.say(kLong);
    slow_down(api, 1);
    http::Request request;
    request.body = with(user("Hi"), {{"stream", true}}).dump();
    std::vector<FakeResponder> responses(static_cast<size_t>(company));
    std::vector<std::thread> clients;
    for (FakeResponder& response : responses) {
      clients.emplace_back([&] { handle_chat_completions(*api.app, request, response); });
    }
    for (std::thread& client : clients) client.join();
    int writes = 0, events = 0;
    for (const FakeResponder& response : responses) {
      CHECK(response.done());
      std::string text;
      for (const Json& event : response.events()) {
        text += event["choices"][0]["delta"].value("content", "");
        ++events;
      }
      CHECK(text == kLong);
      CHECK(response.first_write.find("\"role\":\"assistant\"") != std::string::npos);
      writes += response.writes;
    }
    // One for each token and the finish, but for a reader that a busy machine leaves far behind.
    CHECK(events <= company * (303 + 1));
    CHECK(events > company * 303 / 2);
    if (company == 1) {
      CHECK(writes > events / 4);
    } else {
      CHECK(writes < events / 2);
    }
  }
}

TEST_CASE("the first token of a stream among many waits for no other", "[server][delivery]") {
  EngineConfig config = ApiFixture::small_config();
  config.max_seqs = 64;
  config.num_kv_blocks = 4096;
  ApiFixture api(kQwen25Template, config);
  api.say(kLong);
  slow_down(api, 1);
  std::thread company([&] { api.complete({{"prompt", "a"}, {"n", 60}, {"max_tokens", 300}}); });
  while (api.engine->stats().running < 60) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  int num_alone = 0;
  constexpr int kStreams = 5;
  for (int i = 0; i < kStreams; ++i) {
    const FakeResponder response = api.chat(with(user("Hi"), {{"stream", true}, {"max_tokens", 24}}));
    CHECK(response.done());
    CHECK(response.writes < 12);  // of 24 tokens: it did run among many
    const std::string& first = response.first_write;
    num_alone += first.find("\"content\":") == first.rfind("\"content\":");
  }
  CHECK(num_alone > kStreams / 2);  // a busy machine may leave a reader behind
  company.join();
}

TEST_CASE("a failing write cancels the request", "[server][delivery]") {
  ApiFixture api;
  api.say(kLong);
  slow_down(api, 5);
  FakeResponder broken;
  broken.fail_write = 3;
  const FakeResponder response =
      api.call(handle_chat_completions, with(user("Hi"), {{"stream", true}}).dump(), broken);
  CHECK(response.writes == 3);
  CHECK(api.settles());
  CHECK(api.engine->stats().finished_cancelled == 1);
}

TEST_CASE("an engine failure before the first byte is a status, later one event", "[server][delivery]") {
  for (const int good_steps : {0, 5}) {
    for (const bool stream : {false, true}) {
      ApiFixture api;
      api.say(kLong);
      int steps = 0;
      api.executor->on_step = [&, good_steps](const StepInput&) {
        if (steps++ == good_steps) throw std::runtime_error("the device is gone");
      };
      const FakeResponder response = api.chat(with(user("Hi"), {{"stream", stream}}));
      if (!stream) {
        CHECK(response.status == 500);
        error_of(response.json(), "engine_error");
      } else if (response.status == 200) {
        CHECK(response.ended);
        CHECK_FALSE(response.done());
        error_of(response.events().back(), "engine_error");
      } else {
        CHECK(response.status == 500);
      }
      CHECK(api.chat(user("Hi")).status == 503);
      CHECK(api.call(handle_livez, "").status == 503);
      CHECK(api.call(handle_readyz, "").status == 503);
    }
  }
}

TEST_CASE("deadlines: a queue too slow is 503, a request too long is cut", "[server][delivery]") {
  EngineConfig config = ApiFixture::small_config();
  config.max_seqs = 1;
  ApiFixture api(kQwen25Template, config);
  api.say(kLong);
  slow_down(api, 10);
  std::thread busy([&] {
    const Json answer = api.chat(with(user("first"), {{"timeout_ms", 600}})).json();
    CHECK(answer["choices"][0]["finish_reason"] == "length");
    CHECK_FALSE(std::string(answer["choices"][0]["message"]["content"]).empty());
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  FakeResponder late;
  http::Request request;
  request.request_id = "late";
  request.body = with(user("second"), {{"queue_timeout_ms", 50}, {"stream", true}}).dump();
  handle_chat_completions(*api.app, request, late);
  CHECK(late.status == 503);
  error_of(late.json(), "overloaded");
  busy.join();
  CHECK(api.settles());
}

TEST_CASE("silent streams are pinged", "[server][delivery]") {
  ApiFixture api;
  api.say("Hi");
  api.app->sse_ping_ms = 50;
  slow_down(api, 400);
  const FakeResponder response = api.chat(with(user("Hi"), {{"stream", true}}));
  CHECK(response.body.find(": ping\n\n") != std::string::npos);
  CHECK(response.done());
}

TEST_CASE("a server that stops ends what runs with an error", "[server][delivery]") {
  ApiFixture api;
  api.say(kLong);
  slow_down(api, 20);
  for (const bool stream : {false, true}) {
    FakeResponder stopping;
    stopping.shutdown = true;
    const FakeResponder response =
        api.call(handle_chat_completions, with(user("Hi"), {{"stream", stream}}).dump(), stopping);
    if (stream) {
      error_of(response.events().back(), "draining");
      CHECK(response.ended);
    } else {
      CHECK(response.status == 503);
    }
    CHECK(api.settles());
  }
}
