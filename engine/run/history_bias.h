// Biases that hang on what has been said: DRY and bad words of several tokens.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/text/tokenizer.h"
#include "engine/types.h"

namespace qwend {

// One a sequence; engine thread only. The request's parameters and the tokenizer must outlive it.
//
// DRY ("don't repeat yourself"): a token that would prolong a repetition loses
//   multiplier * base^(length - allowed_length),
// where `length` is the length of the longest end of the text that stands before an earlier occurrence of the
// token, if that is at least allowed_length. Repetitions do not reach across a breaker: a token in which one
// of the breaker strings ends, or a control token; breakers themselves are never penalised.
//
// Bad words: the last token of a word is as good as banned where the output ends with those before it.
class HistoryBias {
 public:
  static bool wanted(const SamplingParams& params);
  HistoryBias(const Tokenizer& tokenizer, const SamplingParams& params)
      : tokenizer_(&tokenizer), params_(&params) {}

  // The token to be drawn comes after prompt + output, or, if `pending`, after one more token that is not
  // known yet. Appends what applies in any case to `always`, what hangs on the unknown token to `after` (no
  // pair twice). Between calls, the text may only grow. Linear in DRY's window.
  void collect(std::span<const int32_t> prompt, std::span<const int32_t> output, bool pending,
               std::vector<std::pair<int32_t, float>>& always, std::vector<ConditionalBias>& after);

 private:
  void append(std::span<const int32_t> tokens);
  void add_dry(size_t end, const int32_t* last);
  void add_bad_words(size_t end, size_t first_output, const int32_t* last);
  float penalty(int32_t length) const;

  const Tokenizer* tokenizer_;
  const SamplingParams* params_;
  std::vector<int32_t> tokens_;    // prompt and output as far as seen
  std::vector<int32_t> unbroken_;  // of each token: tokens up to it without a breaker; 0: it is one
  std::string tail_;               // the text's last bytes, in which a breaker may have begun
  // scratch
  std::vector<int32_t> repeated_;
  std::vector<ConditionalBias> found_;
};

}  // namespace qwend
