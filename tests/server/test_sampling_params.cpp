// What sampling parameters do to answers, over a real engine with a scripted model.
#include "tests/server/api_fixture.h"

using namespace qwend;
using namespace qwend::test;

namespace {

std::string text_of(const FakeResponder& response) {
  INFO(response.body);
  REQUIRE(response.status == 200);
  return response.json()["choices"][0]["text"];
}

Json prompt(const std::string& text, int max_tokens = 8) {
  return {{"prompt", text}, {"max_tokens", max_tokens}, {"temperature", 0}};
}

}  // namespace

TEST_CASE("bad words of one and of several tokens", "[server][params]") {
  ApiFixture api;
  api.say("x and q");
  CHECK(text_of(api.complete(prompt("Hi"))) == "x and q");
  CHECK(text_of(api.complete(with(prompt("Hi"), {{"bad_words", {"q"}}}))).find('q') == std::string::npos);
  const std::string other = text_of(api.complete(with(prompt("Hi"), {{"bad_words", {"and q"}}})));
  CHECK(other.starts_with("x and "));  // the last token of the word is what may not come
  CHECK(other.find("and q") == std::string::npos);
  CHECK(api.settles());
}

TEST_CASE("only allowed tokens are drawn", "[server][params]") {
  ApiFixture api;
  api.say("lolxlo");
  const Json body = with(prompt("Hi"), {{"allowed_token_ids", {'l', 'o'}}, {"ignore_eos", true}});
  const std::string text = text_of(api.complete(body));
  CHECK(text.size() == 8);
  CHECK(text.starts_with("lol"));
  CHECK(text.find_first_not_of("lo") == std::string::npos);
  const FakeResponder unused = api.complete(with(prompt("Hi"), {{"allowed_token_ids", {kUnused}}}));
  CHECK(unused.status == 400);
  CHECK(unused.json()["error"]["param"] == "allowed_token_ids[0]");
}

TEST_CASE("log-probabilities of chosen tokens, in both shapes", "[server][params][logprobs]") {
  ApiFixture api;
  api.say("ab");
  const Json asked = {{"logprob_token_ids", {'z', 'a'}}};
  const Json choice =
      api.chat(with(with(user("Hi"), asked), {{"logprobs", true}, {"top_logprobs", 1}})).json()["choices"][0];
  const Json& top = choice["logprobs"]["content"][0]["top_logprobs"];
  REQUIRE(top.size() == 2);  // "a" is the likeliest already
  CHECK(top[0]["token"] == "a");
  CHECK(top[1]["token"] == "z");
  const Json legacy = api.complete(with(with(prompt("Hi"), asked), {{"logprobs", 0}})).json()["choices"][0];
  CHECK(legacy["logprobs"]["top_logprobs"][0].size() == 2);
  CHECK(legacy["logprobs"]["top_logprobs"][0].contains("z"));
}

TEST_CASE("DRY breaks a repetition off", "[server][params]") {
  ApiFixture api;
  api.say("ho ho ho ho ho ho ho ho");
  CHECK(text_of(api.complete(prompt("Hi", 24))) == "ho ho ho ho ho ho ho ho");
  const Json dry = {{"dry_multiplier", 100}, {"dry_allowed_length", 4}};
  const std::string text = text_of(api.complete(with(prompt("Hi", 24), dry)));
  CHECK(text.starts_with("ho ho "));
  CHECK(text.find("ho ho ho ho") == std::string::npos);
  const Json broken = with(dry, {{"dry_sequence_breakers", {" "}}});
  CHECK(text_of(api.complete(with(prompt("Hi", 24), broken))) == "ho ho ho ho ho ho ho ho");
}

TEST_CASE("an output that goes round in circles is stopped", "[server][params]") {
  ApiFixture api;
  api.say("x abcabcabcabc");
  const Json detection = {{"repetition_detection", {{"max_pattern_size", 4}, {"min_count", 3}}}};
  const Json choice = api.complete(with(prompt("Hi", 30), detection)).json()["choices"][0];
  CHECK(choice["text"] == "x abcabcabc");
  CHECK(choice["finish_reason"] == "stop");
  const Json longer = {{"repetition_detection", {{"max_pattern_size", 2}, {"min_count", 3}}}};
  CHECK(text_of(api.complete(with(prompt("Hi", 30), longer))) == "x abcabcabcabc");
}

TEST_CASE("what was used is told", "[server][params]") {
  ApiFixture api;
  api.say("x");
  const Json params =
      api.complete(with(prompt("Hi"), {{"return_params", true}, {"xtc_probability", 0.5}, {"dry_base", 2}}))
          .json()["params"];
  CHECK(params["xtc_probability"] == 0.5);
  CHECK(params["dry_base"] == 2.0);
  CHECK(params["dry_multiplier"] == 0.0);
}

TEST_CASE("a prompt can be cut to what fits", "[server][params]") {
  ApiFixture api;
  api.say("x");
  const std::string text(3000, 'q');
  CHECK(api.complete(prompt(text)).status == 400);
  const Json answer = api.complete(with(prompt(text), {{"truncate_prompt_tokens", -1}})).json();
  CHECK(answer["usage"]["prompt_tokens"] == 2048 - 8);
  CHECK(api.complete(with(prompt(text), {{"truncate_prompt_tokens", 5}})).json()["usage"]["prompt_tokens"] ==
        5);
}

TEST_CASE("timings in every chunk", "[server][params]") {
  ApiFixture api;
  api.say("abcdef");
  for (const bool per_token : {false, true}) {
    const Json more = {{"stream", true}, {"timings_per_token", per_token}};
    for (const auto& chunks :
         {api.chat(with(user("Hi"), more)).events(), api.complete(with(prompt("Hi"), more)).events()}) {
      int previous = 0;
      for (const Json& chunk : chunks) {
        CHECK(chunk.contains("timings") == (per_token || &chunk == &chunks.back()));
        if (!chunk.contains("timings")) continue;
        CHECK(chunk["timings"]["predicted_n"].get<int>() >= previous);
        previous = chunk["timings"]["predicted_n"];
      }
      CHECK(previous == 7);  // and the end
    }
  }
}

TEST_CASE("a thinking budget ends the block cleanly", "[server][params][reasoning]") {
  ApiFixture api(kQwen3Template);
  api.say("<think>\none two three four five six\n</think>\n\nIt is 2.");
  const Json body = with(user("1+1?"), {{"max_tokens", 60}});
  const auto message = [&](const Json& more) {
    return api.chat(with(body, more)).json()["choices"][0]["message"];
  };
  CHECK(message({{"thinking_token_budget", 100}})["content"] == "It is 2.");
  CHECK(message({{"thinking_token_budget", 100}})["reasoning_content"] == "one two three four five six");
  for (const int budget : {0, 1, 5, 12}) {
    INFO(budget);
    // The script goes on where it was, so what it still has to say becomes content.
    const Json cut = message({{"thinking_token_budget", budget}});
    const std::string thought = cut.value("reasoning_content", "");
    CHECK(std::string("one two three four five six").starts_with(thought));
    CHECK(static_cast<int>(api.tokenizer->encode(thought, Specials::None).size()) <= budget);
    CHECK_FALSE(cut["content"].get<std::string>().empty());
  }
  const Json usage = api.chat(with(body, {{"thinking_token_budget", 5}})).json()["usage"];
  CHECK(usage["completion_tokens_details"]["reasoning_tokens"] == 5 + 3);  // the tags and the newline before
  CHECK(message({{"thinking_token_budget", -1}})["content"] == "It is 2.");
}
