// Paged attention on the CPU: online softmax over tiles of 64 keys that always start at multiples of 64
// from position 0, whatever the step looks like. So a row's result depends on its query and its keys alone:
// bit-equal alone, batched, chunked and with a cached prefix, on any number of threads.
#pragma once
#include <cstdint>

#include "kernels/cpu/kv_cache.h"

namespace qwend::cpu {

inline constexpr int32_t kAttentionRows = 48;  // most query rows of one task
inline constexpr int32_t kAttentionKeys = 64;  // keys an online-softmax step
inline constexpr int32_t kMaxHeadDim = 512;

// Query rows of one sequence that share one KV head. Row r: token r / group of the sequence's tokens in this
// step and head r % group of the KV head's query heads.
struct AttentionTask {
  const float* q = nullptr;            // the KV head's first query row of the sequence's first token
  float* out = nullptr;                // same layout as q
  int64_t token_stride = 0;            // floats from a token's row to the next in q and out
  int32_t group = 1;                   // query heads a KV head
  int32_t row_begin = 0, row_end = 0;  // at most kAttentionRows
  int32_t first_position = 0;          // of the sequence's first token in this step
  const int32_t* block_table = nullptr;
  KvHeadView kv;
  float scale = 1.0f;                   // 1 / sqrt(hd)
  const AttentionTask* next = nullptr;  // this worker's, or none: its keys are asked for meanwhile
};

// Floats of scratch that one running task needs.
constexpr int64_t attention_scratch_floats(int32_t head_dim) {
  const int64_t padded = (head_dim + 15) / 16 * 16;
  return kAttentionRows * (padded + padded + kAttentionKeys + kKeyTile + 2);
}

// scratch: attention_scratch_floats(hd) floats of the calling thread.
using AttendFn = void (*)(const AttentionTask& task, float* scratch);
AttendFn attend();  // the best of this CPU
void attend_portable(const AttentionTask& task, float* scratch);
void attend_avx2(const AttentionTask& task, float* scratch);  // only where the CPU has them
void attend_avx512(const AttentionTask& task, float* scratch);

}  // namespace qwend::cpu
