// The step on the device.
#pragma once
#include <cstdint>

#include "kernels/backend.h"
#include "kernels/cuda/resources.h"

namespace qwend::cuda {

// Rows of a step up to which a sequence's sums have the same order in whatever company it is; kernels of more
// rows are chosen by their number. Up to here every warp of a product reads its activations from L2 in
// passing; beyond, warps share them through shared memory: measured on an H100, 7B gate and up with 64 tokens
// took 350 us in the skinny kernels, 3.5 times the time of one token.
inline constexpr int32_t kFewRows = 16;

// Device pointers that kernels read; the arrays are those of StepInput. A recorded step is replayed with
// other contents at the same addresses, so everything that varies lies in device memory, and shapes are upper
// bounds:
//   padding tokens have slot -1 (nothing is written), position 0 and token 0;
//   padding sequences have context_len 0 and no tokens.
struct DeviceStep {
  const int32_t* tokens;              // [T]
  const int32_t* token_rows;          // [T] see StepInput::token_rows; -1: take tokens[t]
  const int32_t* positions;           // [T]
  const int32_t* slot_mapping;        // [T]
  const int32_t* token_seq;           // [T] the sequence that a token belongs to; -1: padding
  const int32_t* cu_seqlens;          // [S + 1]
  const int32_t* context_lens;        // [S]
  const int32_t* logit_rows;          // [L]; padding rows are 0
  const int32_t* block_tables;        // [S, *block_table_stride]
  const int32_t* block_table_stride;  // one number
  int32_t num_tokens;                 // T of the launch grid, padding included
  int32_t num_seqs;                   // S likewise
  int32_t num_logit_rows;             // L likewise
  int32_t max_context;                // no context_len exceeds it
  int32_t max_seq_tokens;             // no sequence has more tokens in this step; 1: a pure decode
  int32_t min_seq_tokens;             // nor fewer, padding apart; above 1: nothing decodes
};

}  // namespace qwend::cuda
