// One sequence of tokens on its way through the scheduler: what has been said, what is in the KV cache, and
// where.
#pragma once
#include <cstdint>
#include <span>
#include <tuple>
#include <vector>

namespace qwend {

struct ActiveRequest;  // engine/run/active_request.h

// Who may share the blocks of a sequence: everyone with the same salt, or only the sequences of one request.
struct CacheDomain {
  uint64_t salt = 0;
  uint64_t private_to = 0;  // request id; 0: not private
  bool operator==(const CacheDomain&) const = default;
};

// Engine thread only. num_computed_tokens, block_table and num_sealed_blocks belong to the scheduler and the
// block manager; `output` grows by what is sampled. There is no prefill or decode flag: a sequence has
// num_tokens() - num_computed_tokens left to compute, one when it decodes and many when its prompt (or its
// past, after a preemption) has to be computed.
struct Sequence {
  enum class State : uint8_t {
    Held,      // not with the scheduler: a sibling (n > 1) waiting for the shared prompt
    Waiting,   // holds no blocks
    Running,   // holds blocks for all its tokens
    Finished,  // holds no blocks
  };

  ActiveRequest* request = nullptr;  // its owner; scheduling never looks inside
  uint64_t request_id = 0;
  int32_t index = 0;       // which of the request's n sequences
  int64_t arrival_us = 0;  // with the priority's handicap added, see Scheduler
  CacheDomain domain;
  bool wants_prompt_logits = false;
  int32_t num_prompt_logits = 0;  // prompt positions whose successor has its log-probability already

  std::span<const int32_t> prompt;  // owned by the request
  std::vector<int32_t> output;

  State state = State::Held;
  int32_t num_computed_tokens = 0;   // their keys and values are in the cache
  int32_t num_sealed_blocks = 0;     // leading full blocks that others may find
  std::vector<int32_t> block_table;  // physical block of each logical block

  int32_t num_prompt_tokens() const { return static_cast<int32_t>(prompt.size()); }
  int32_t num_output_tokens() const { return static_cast<int32_t>(output.size()); }
  int32_t num_tokens() const { return num_prompt_tokens() + num_output_tokens(); }
  int32_t num_remaining() const { return num_tokens() - num_computed_tokens; }
  int32_t token(int32_t i) const {
    return i < num_prompt_tokens() ? prompt[i] : output[i - num_prompt_tokens()];
  }
  bool prompt_logits_missing() const {  // the last prompt token's successor is not part of the prompt
    return wants_prompt_logits && num_prompt_logits < num_prompt_tokens() - 1;
  }
};

// The order of service: who precedes is admitted first and preempted last. Total and unchanging, so the first
// of all unfinished sequences always gets through.
inline bool precedes(const Sequence& a, const Sequence& b) {
  return std::tie(a.arrival_us, a.request_id, a.index) < std::tie(b.arrival_us, b.request_id, b.index);
}

}  // namespace qwend
