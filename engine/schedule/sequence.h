// One sequence of tokens on its way through the scheduler: what has been said, what is in the KV cache, and
// where.
#pragma once
#include <algorithm>
#include <cstdint>
#include <limits>
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
// num_remaining() tokens to compute, one when it decodes and many when its prompt (or its past, after a
// preemption) has to be computed.
//
// Steps are scheduled ahead of the device, so both counts run ahead of what the host has seen:
//   num_computed_tokens  advances when a step is launched: every later step finds its keys and values there
//   num_pending_tokens   drawn by launched steps, values not seen yet. A pending token has its position (and
//                        its block, once it is computed itself), but only num_tokens() tokens are known
// Computed is never more than known and pending tokens together, and only what is both computed and known is
// sealed.
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
  int32_t num_prompt_logits = 0;  // prompt positions whose successor's log-probability has been launched
  int32_t max_output_tokens = std::numeric_limits<int32_t>::max();  // known at the start
  // Its next row needs the host to have seen the token before (a mask made from it): steps with such a row
  // are collected before the next one is launched.
  bool needs_sync = false;

  std::span<const int32_t> prompt;  // owned by the request
  std::vector<int32_t> output;

  State state = State::Held;
  int32_t num_computed_tokens = 0;
  int32_t num_pending_tokens = 0;
  int32_t pending_row = -1;          // row of the last step launched that draws the last pending token
  int32_t num_sealed_blocks = 0;     // leading full blocks that others may find
  std::vector<int32_t> block_table;  // physical block of each logical block

  int32_t num_prompt_tokens() const { return static_cast<int32_t>(prompt.size()); }
  int32_t num_output_tokens() const { return static_cast<int32_t>(output.size()); }
  int32_t num_tokens() const { return num_prompt_tokens() + num_output_tokens(); }
  // Tokens to compute, as far as a step can be launched now. The last token of an output never is: its
  // sequence has 0 remaining and waits for the step that draws it.
  int32_t num_remaining() const {
    const int32_t drawn = num_output_tokens() + num_pending_tokens;
    return num_prompt_tokens() + std::min(drawn, std::max(max_output_tokens - 1, 0)) - num_computed_tokens;
  }
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
