#include <string>

#include "engine/run/output_processor.h"
#include "tests/support/engine_harness.h"
// Catch2 last: its CHECK replaces ours.
#include "tests/support/catch2.h"

namespace qwend::test {
namespace {

// Everything shown for the tokens, up to the end.
struct Shown {
  std::string text;
  std::vector<int32_t> tokens;
  OutputDelta last;
  size_t num_pushed = 0;
};

Shown show(OutputProcessor& processor, const std::vector<int32_t>& tokens) {
  Shown shown;
  for (const int32_t token : tokens) {
    SampledToken sampled;
    sampled.token = token;
    shown.last = processor.push(sampled);
    ++shown.num_pushed;
    shown.text += shown.last.text;
    for (const TokenOutput& output : shown.last.tokens) shown.tokens.push_back(output.token);
    if (shown.last.finish != FinishReason::None) break;
  }
  return shown;
}

Shown show(const GenerationRequest& request, const std::vector<int32_t>& tokens,
           int32_t max_model_len = 1000) {
  OutputProcessor processor(*small_tokenizer(), request, max_model_len);
  return show(processor, tokens);
}

TEST_CASE("A stop string is found over every division into tokens", "[engine]") {
  const std::string said = "th<END>cd";
  // A vocabulary with every piece of it.
  Vocabulary vocabulary = small_vocabulary();
  std::map<std::string, int32_t> id_of;
  for (size_t from = 0; from < said.size(); ++from) {
    for (size_t length = 1; from + length <= said.size(); ++length) {
      const std::string piece = said.substr(from, length);
      if (length == 1) {
        id_of[piece] = piece[0];
      } else if (piece == "th") {
        id_of[piece] = kTh;
      } else if (id_of.emplace(piece, static_cast<int32_t>(vocabulary.tokens.size())).second) {
        vocabulary.tokens.push_back(piece);
        vocabulary.types.push_back(TokenType::Normal);
      }
    }
  }
  const Tokenizer tokenizer(std::move(vocabulary));

  const bool include = GENERATE(false, true);
  GenerationRequest request = greedy({1}, 100);
  request.stop.stop = {"<ENDE", "<END>"};
  request.stop.include_stop_in_output = include;
  for (uint32_t cuts = 0; cuts < 1u << (said.size() - 1); ++cuts) {
    std::vector<int32_t> tokens;
    std::string piece;
    size_t expected_pushes = 0;
    for (size_t i = 0; i < said.size(); ++i) {
      if (piece.empty() && i < 7) ++expected_pushes;  // tokens that begin before the stop string's end
      piece += said[i];
      if (i + 1 == said.size() || (cuts >> i & 1)) {
        tokens.push_back(id_of.at(piece));
        piece.clear();
      }
    }
    OutputProcessor processor(tokenizer, request, 1000);
    const Shown shown = show(processor, tokens);
    REQUIRE(shown.text == (include ? "th<END>" : "th"));
    REQUIRE(shown.last.finish == FinishReason::Stop);
    REQUIRE(shown.last.stop_index == 1);
    REQUIRE(shown.num_pushed == expected_pushes);
    REQUIRE(shown.tokens.size() == expected_pushes);
  }
}

TEST_CASE("Text that only began like a stop string is shown in the end", "[engine]") {
  GenerationRequest request = greedy({1}, 4);
  request.stop.stop = {"xyz!"};
  const Shown shown = show(request, bytes_of("axyz"));
  CHECK(shown.text == "axyz");
  CHECK(shown.last.text == "xyz");
  CHECK(shown.last.finish == FinishReason::Length);
  CHECK(shown.last.stop_index == -1);

  OutputProcessor processor(*small_tokenizer(), request, 1000);
  CHECK(show(processor, bytes_of("axy")).text == "a");
  const OutputDelta cancelled = processor.finish(FinishReason::Deadline);
  CHECK(cancelled.text == "xy");
  CHECK(cancelled.finish == FinishReason::Deadline);
}

TEST_CASE("Characters are shown whole; half a character at the end becomes U+FFFD", "[engine]") {
  const Shown whole = show(greedy({1}, 100), {0xC3, 0xA9, kImEnd});
  CHECK(whole.text == "é");
  const Shown half = show(greedy({1}, 2), {'a', 0xC3});
  CHECK(half.text == "a\xEF\xBF\xBD");
  CHECK(half.last.finish == FinishReason::Length);
}

TEST_CASE("Stop tokens end a sequence and are not shown", "[engine]") {
  GenerationRequest request = greedy({1}, 100);
  for (const int32_t stop : {kImEnd, kEndOfText}) {
    const Shown shown = show(request, {'a', stop, 'b'});
    CHECK(shown.text == "a");
    CHECK(shown.tokens == std::vector<int32_t>{'a'});
    CHECK(shown.last.finish == FinishReason::Stop);
    CHECK(shown.num_pushed == 2);
  }
  request.stop.include_stop_in_output = true;
  CHECK(show(request, {'a', kImEnd}).tokens == std::vector<int32_t>{'a', kImEnd});
  CHECK(show(request, {'a', kImEnd}).text == "a");
  request.keep_control_tokens = true;
  CHECK(show(request, {'a', kImEnd}).text == "a<|im_end|>");

  request = greedy({1}, 3);
  request.stop.ignore_eos = true;
  const Shown ignored = show(request, {'a', kImEnd, 'b'});
  CHECK(ignored.text == "ab");
  CHECK(ignored.last.finish == FinishReason::Length);
  request.stop.stop_token_ids = {'b'};
  CHECK(show(request, {'a', kImEnd, 'b'}).last.finish == FinishReason::Stop);
}

TEST_CASE("Below min_tokens stop strings do not count", "[engine]") {
  GenerationRequest request = greedy({1}, 100);
  request.stop.stop = {"x"};
  request.stop.min_tokens = 3;
  const Shown shown = show(request, bytes_of("xxaxb"));
  CHECK(shown.text == "xxa");
  CHECK(shown.num_pushed == 4);
}

TEST_CASE("A full context ends a sequence", "[engine]") {
  const Shown shown = show(greedy(bytes_of("four"), 100), bytes_of("abcdef"), 7);
  CHECK(shown.text == "abc");
  CHECK(shown.last.finish == FinishReason::Length);
}

}  // namespace
}  // namespace qwend::test
