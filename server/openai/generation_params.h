// The parameters that /v1/chat/completions and /v1/completions share, as the client gave them.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/types.h"
#include "server/openai/fields.h"
#include "server/openai/structured_output.h"

namespace qwend {

inline constexpr int32_t kMaxChoices = 128;       // n
inline constexpr int32_t kMaxTotalChoices = 256;  // prompts x n
inline constexpr size_t kMaxStopStrings = 16;
inline constexpr size_t kMaxStopBytes = 4 << 10;  // of one stop string
inline constexpr size_t kMaxLogitBias = 1024;
inline constexpr size_t kMaxLogprobTokens = 128;
inline constexpr size_t kMaxBadWords = 256;
inline constexpr size_t kMaxBreakers = 64;
inline constexpr size_t kMaxWordBytes = 256;     // of a bad word or a breaker
inline constexpr int32_t kMaxPatternSize = 512;  // tokens, of repetition_detection

// Absent optionals take the server's defaults (to_generation_request).
struct GenerationParams {
  std::string model;
  int32_t n = 1;
  // sampling
  std::optional<float> temperature, top_p, min_p, typical_p;
  std::optional<float> xtc_probability, xtc_threshold;
  std::optional<float> repetition_penalty, presence_penalty, frequency_penalty;
  std::optional<int32_t> top_k;
  std::optional<uint64_t> seed;
  DryParams dry;
  std::vector<std::pair<int32_t, float>> logit_bias;
  std::vector<std::string> bad_words;
  std::vector<int32_t> allowed_token_ids;      // empty: all
  std::optional<StructuredOutput> structured;  // what the output must look like
  int32_t num_logprobs =
      -1;  // -1 none, k: the chosen token's and the top k (set by each endpoint's own fields)
  std::vector<int32_t> logprob_token_ids;  // besides the top k; each once
  // when to stop
  std::optional<int32_t> max_tokens;
  int32_t min_tokens = 0;
  bool ignore_eos = false;
  std::vector<std::string> stop;
  std::vector<int32_t> stop_token_ids;
  bool include_stop = false;
  RepetitionLimit repetition;
  // how to answer
  bool stream = false;
  bool include_usage = false;           // stream_options
  bool continuous_usage_stats = false;  // stream_options
  bool skip_special_tokens = true;
  bool return_token_ids = false;
  bool return_params = false;
  bool timings_per_token = false;
  // how to run
  bool cache_prompt = true;
  std::string cache_salt, prompt_cache_key;
  int32_t priority = 0;
  std::optional<int32_t> timeout_ms, queue_timeout_ms;
  std::optional<int32_t> truncate_prompt_tokens;  // keep this many of the prompt's last tokens; -1: what fits
};

std::span<const Field<GenerationParams>> generation_fields();

// Rules that involve several parameters, and what is valid but can't be done. Call after all fields have been
// applied, the endpoint's own ones too.
Problem check_generation_params(const GenerationParams& params);

}  // namespace qwend
