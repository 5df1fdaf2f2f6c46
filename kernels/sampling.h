// What a sampler needs to know about one sequence, and what it answers. Plain data: the same structs
// drive the CPU sampler and the CUDA sampler.
#pragma once
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace qwend {

// Added to the logit of `token` where the token before it is `previous`.
struct ConditionalBias {
  int32_t previous = 0, token = 0;
  float bias = 0.0f;
  bool operator==(const ConditionalBias&) const = default;
};

// One row of logits to sample from. Order of operations (Hugging Face's, see docs/API.md):
//   logit_bias, bias_after and allowed mask -> repetition, presence, frequency penalties -> temperature
//   -> top_k -> typical_p -> top_p -> min_p -> XTC -> draw.
// temperature 0 is greedy: the largest logit after bias and penalties, lowest id on a tie.
struct SamplingRow {
  float temperature = 1.0f;
  int32_t top_k = 0;       // 0: off
  float top_p = 1.0f;      // (0, 1]
  float min_p = 0.0f;      // [0, 1]
  float typical_p = 1.0f;  // (0, 1]
  // XTC ("exclude top choices"): in this share of the draws, of all tokens that hold at least xtc_threshold
  // of what the filters have left, only the least likely (highest id on a tie) may be drawn.
  float xtc_probability = 0.0f;     // [0, 1]
  float xtc_threshold = 0.1f;       // [0, 1]; counts as 1e-9 at least
  float repetition_penalty = 1.0f;  // over prompt and output: x > 0 ? x / p : x * p
  float presence_penalty = 0.0f;    // once per distinct output token
  float frequency_penalty = 0.0f;   // per occurrence in the output
  uint64_t seed = 0;
  int64_t position = 0;       // index of the token being drawn; (seed, position) keys the random number
  int32_t num_logprobs = -1;  // -1: none; k >= 0: the chosen token's and the k largest log-probabilities
  std::span<const std::pair<int32_t, float>> logit_bias;  // token id, added to the logit
  std::span<const int32_t> prompt_tokens;                 // for repetition_penalty (empty when off)
  std::span<const int32_t> output_tokens;                 // for all penalties (empty when off)
  // r >= 0: the token that row r of the step launched before this one draws also belongs to output_tokens, at
  // their end; the host has not seen it yet. Only where the backend allows several steps in flight.
  int32_t previous_row = -1;
  // What depends on that token. Each (previous, token) at most once. Empty where previous_row is -1: the
  // caller knows the token before, and puts what applies into logit_bias.
  std::span<const ConditionalBias> bias_after;
  std::span<const int32_t> logprob_tokens;  // joined to `top`, where num_logprobs >= 0; each at most once
  std::span<const int32_t> banned_tokens;   // never drawn (e.g. stop ids below min_tokens)
  std::span<const uint64_t> allowed_mask;   // one bit a token id; empty: all. Place of constrained decoding
};

struct TokenLogprob {
  int32_t token = 0;
  float logprob = 0.0f;
};

// logprob and top are log-softmax of the raw logits (before bias, penalties, temperature), as
// OpenAI clients expect; filled when num_logprobs >= 0. top is sorted, largest first; those of logprob_tokens
// that are not among the largest follow, in their order.
struct SampledToken {
  int32_t token = 0;
  float logprob = 0.0f;
  std::vector<TokenLogprob> top;
};

}  // namespace qwend
