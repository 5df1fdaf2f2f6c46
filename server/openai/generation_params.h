// The parameters that /v1/chat/completions and /v1/completions share, as the client gave them.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/types.h"
#include "server/openai/fields.h"

namespace qwend {

inline constexpr int32_t kMaxChoices = 128;       // n
inline constexpr int32_t kMaxTotalChoices = 256;  // prompts x n
inline constexpr size_t kMaxStopStrings = 16;
inline constexpr size_t kMaxStopBytes = 4 << 10;  // of one stop string
inline constexpr size_t kMaxLogitBias = 1024;

// Absent optionals take the server's defaults (to_generation_request).
struct GenerationParams {
  std::string model;
  int32_t n = 1;
  // sampling
  std::optional<float> temperature, top_p, min_p, typical_p;
  std::optional<float> repetition_penalty, presence_penalty, frequency_penalty;
  std::optional<int32_t> top_k;
  std::optional<uint64_t> seed;
  std::vector<std::pair<int32_t, float>> logit_bias;
  int32_t num_logprobs =
      -1;  // -1 none, k: the chosen token's and the top k (set by each endpoint's own fields)
  // when to stop
  std::optional<int32_t> max_tokens;
  int32_t min_tokens = 0;
  bool ignore_eos = false;
  std::vector<std::string> stop;
  std::vector<int32_t> stop_token_ids;
  bool include_stop = false;
  // how to answer
  bool stream = false;
  bool include_usage = false;           // stream_options
  bool continuous_usage_stats = false;  // stream_options
  bool skip_special_tokens = true;
  bool return_token_ids = false;
  bool return_params = false;
  // how to run
  bool cache_prompt = true;
  std::string cache_salt, prompt_cache_key;
  int32_t priority = 0;
  std::optional<int32_t> timeout_ms, queue_timeout_ms;
  std::optional<int32_t> truncate_prompt_tokens;  // keep this many of the prompt's last tokens
};

std::span<const Field<GenerationParams>> generation_fields();

// Rules that involve several parameters. Call after all fields have been applied.
Problem check_generation_params(const GenerationParams& params);

}  // namespace qwend
