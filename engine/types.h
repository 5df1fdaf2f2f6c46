// What goes into the engine and what comes out: typed, without JSON or sockets.
#pragma once
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernels/sampling.h"

namespace qwend {

using RequestId = uint64_t;
using Clock = std::chrono::steady_clock;

struct DryParams {          // engine/run/history_bias.h
  float multiplier = 0.0f;  // 0: off
  float base = 1.75f;
  int32_t allowed_length = 2;  // > 0
  int32_t last_n = -1;         // tokens that are looked at; -1: all
  std::vector<std::string> breakers = {"\n", ":", "\"", "*"};
  bool active() const { return multiplier != 0.0f && last_n != 0; }
};

struct SamplingParams {
  float temperature = 1.0f;
  int32_t top_k = 0;
  float top_p = 1.0f;
  float min_p = 0.0f;
  float typical_p = 1.0f;
  float xtc_probability = 0.0f;
  float xtc_threshold = 0.1f;
  float repetition_penalty = 1.0f;
  float presence_penalty = 0.0f;
  float frequency_penalty = 0.0f;
  DryParams dry;
  std::optional<uint64_t> seed;  // none: the engine draws one per request
  std::vector<std::pair<int32_t, float>> logit_bias;
  std::vector<std::vector<int32_t>> bad_words;  // token sequences that the output must not contain
  std::vector<int32_t> allowed_tokens;          // empty: all
  int32_t num_logprobs = -1;                    // -1 none, k: top k
  std::vector<int32_t> logprob_tokens;          // joined to the top k
};

struct RepetitionLimit {    // the end has come once min_count times the same pattern stand at the end
  int32_t max_pattern = 0;  // tokens; 0: off
  int32_t min_pattern = 1;
  int32_t min_count = 2;
};

struct ThinkingLimit {
  int32_t max_tokens = 0;         // in the block
  int32_t open = -1, close = -1;  // the tokens around it; open -1: cannot be opened
  bool inside = false;          // the prompt ends in an open block. Otherwise only the first token opens one
  std::vector<int32_t> ending;  // what ends it by force; not empty
};

struct StopCriteria {
  int32_t max_tokens =
      0;  // > 0 (0 allowed only with prompt log-probabilities or pooled: nothing is generated)
  int32_t min_tokens = 0;  // below it stop tokens are banned and stop strings do not count
  bool ignore_eos = false;
  std::vector<int32_t> stop_token_ids;  // besides the model's own
  std::vector<std::string> stop;        // strings
  bool include_stop_in_output = false;
  RepetitionLimit repetition;
};

struct GenerationRequest {
  std::vector<int32_t> prompt;  // >= 1 token, all in [0, vocab)
  SamplingParams sampling;
  StopCriteria stop;
  int32_t n = 1;  // sequences; they share the prompt's blocks
  std::optional<ThinkingLimit> thinking;
  // Not empty: each output begins with one of these texts, none of which is empty. Goes before bans and
  // allowed_tokens; its last token may reach beyond it.
  std::vector<std::string> openings;
  bool keep_control_tokens = false;  // show control tokens as text
  bool pooled = false;  // the last prompt token's hidden state is wanted, and nothing else: n 1, max_tokens 0
  int32_t prompt_logprobs = -1;  // >= 0: log-probability of each prompt token and the top k (echo)
  bool use_prefix_cache = true;  // false: shares blocks only among its own n sequences
  uint64_t cache_salt = 0;       // requests share prefixes only with the same salt
  int32_t priority = 0;          // lower first; one level is worth 10 s of waiting
  std::optional<Clock::time_point> deadline;        // of the whole request
  std::optional<Clock::time_point> queue_deadline;  // must be running by then
};

enum class FinishReason : uint8_t {
  None,    // still running
  Stop,    // end-of-sequence token, stop string or repetition
  Length,  // max_tokens or the context is full
  Cancelled,
  Deadline,      // total deadline passed while running: tokens so far stand
  QueueTimeout,  // a deadline passed before the request first ran. One delta for all n sequences
  Error,         // the engine failed; see OutputDelta::error. One delta for all n sequences
};

struct TokenOutput {
  int32_t token = 0;
  float logprob = 0.0f;  // valid when asked for
  std::vector<TokenLogprob> top;
};

struct Usage {
  int32_t prompt_tokens = 0;
  int32_t cached_tokens = 0;
  int32_t completion_tokens = 0;  // of all n sequences together
};

struct Timings {  // milliseconds
  double queue_ms = 0, prompt_ms = 0, ttft_ms = 0, predicted_ms = 0;
};

// What one or more steps added to one sequence. `text` is complete UTF-8 with stop strings and their possible
// beginnings removed; it may be empty while tokens is not (text held back), and the other way round at the
// end.
struct OutputDelta {
  int32_t index = 0;  // which of the n sequences
  std::string text;
  std::vector<TokenOutput>
      tokens;  // all generated, but the final stop token only when include_stop_in_output
  std::vector<TokenOutput>
      prompt_logprobs;  // once, in the first delta of index 0, when asked for (first entry: no logprob)
  FinishReason finish = FinishReason::None;
  int32_t stop_index = -1;         // which stop string ended it
  std::string error;               // message when finish == Error
  std::vector<float> hidden;       // [D] with the last delta of a pooled request: after the final norm
  Clock::time_point published_at;  // when the engine handed it out, at the end of its step
  bool last = false;               // of the request: all n sequences have finished
  Usage usage;                     // of the request so far; complete with its last delta
  Timings timings;                 // likewise
};

enum class ModelTask : uint8_t {
  Generate,
  Embed,   // the last token's hidden state is the answer
  Rerank,  // P(yes), read from it
};

// Facts about the loaded model that API layers show.
struct ModelInfo {
  std::string id;  // alias under which it is served
  std::string path;
  std::string architecture;
  int64_t num_params = 0;
  uint64_t file_bytes = 0;
  int32_t vocab_size = 0;
  int32_t max_model_len = 0;  // longest prompt + output served
  int32_t trained_context = 0;
  std::string quantisation;     // e.g. "Q8_0" (most common weight format)
  int64_t created = 0;          // unix seconds
  int32_t embedding_width = 0;  // D
  ModelTask task = ModelTask::Generate;
  std::vector<float> rerank_row;    // [D] of a reranker (engine/pooling.h)
  std::string rerank_template;      // the file's, with {query} and {document}; empty: none
  SamplingParams default_sampling;  // the file's general.sampling.*, else the family's recommendation
};

}  // namespace qwend
