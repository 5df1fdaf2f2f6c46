// The prompt kernels' list of work: tiles of rows of the sequences that have several tokens in the step. Row
// r of a sequence and KV head is query head r % group of token r / group, so that all heads of a group share
// the loads of their keys and values.
#pragma once
#include "kernels/cuda/attention_kernels.h"
#include "kernels/cuda/attention_tile.cuh"

namespace qwend::cuda {

// The tile of rows first_row .. first_row + kRows of a sequence's (token, head of the group) pairs.
struct RowTile {
  int32_t seq, kv_head, first_row;  // seq -1: there is no such tile
  int32_t first_token, tokens;      // of the sequence, in the step
  int32_t first_position;           // of its first token in the step
  int32_t keys;                     // that the tile's last row sees
  int32_t group;

  __device__ bool has(int32_t row) const { return row < tokens * group; }
  // Rows past the end see what the last one sees.
  __device__ int32_t keys_seen(int32_t row) const { return min(first_position + row / group + 1, keys); }
  __device__ int32_t context() const { return first_position + tokens; }
  __device__ int32_t token(int32_t row) const { return first_token + row / group; }
  __device__ int32_t head(int32_t row) const { return kv_head * group + row % group; }
};

template <int kRows>
class RowTiles {
 public:
  // However the tokens lie among the sequences, there are no more tiles.
  static int64_t most(const AttentionCall& call) {
    return (int64_t{call.step.num_tokens} * call.group / kRows + call.step.num_seqs) * call.kv.num_kv_heads;
  }

  __device__ explicit RowTiles(const AttentionCall& call) : call_(call) {}

  // All lanes of a warp together; items must not fall from call to call. A sequence's last tiles see the most
  // keys and come first.
  __device__ RowTile find(int32_t item) {
    const int32_t heads = call_.kv.num_kv_heads;
    const SequenceItem found =
        cursor_.find(item, call_.step.num_seqs, [&](int32_t seq) { return tiles_of(seq) * heads; });
    if (found.seq < 0) return RowTile{.seq = -1};
    return describe(found.seq, found.index % heads, tiles_of(found.seq) - 1 - found.index / heads);
  }

 private:
  __device__ int32_t tokens_of(int32_t seq) const {
    return __ldg(call_.step.cu_seqlens + seq + 1) - __ldg(call_.step.cu_seqlens + seq);
  }
  __device__ int32_t tiles_of(int32_t seq) const {
    const int32_t tokens = tokens_of(seq);
    return tokens > 1 ? ceil_div(tokens * call_.group, kRows) : 0;
  }
  __device__ RowTile describe(int32_t seq, int32_t kv_head, int32_t tile) const {
    RowTile t;
    t.seq = seq;
    t.kv_head = kv_head;
    t.first_row = tile * kRows;
    t.first_token = __ldg(call_.step.cu_seqlens + seq);
    t.tokens = tokens_of(seq);
    t.first_position = __ldg(call_.step.context_lens + seq) - t.tokens;
    t.group = call_.group;
    const int32_t last_row = min(t.first_row + kRows, t.tokens * t.group) - 1;
    t.keys = t.first_position + last_row / t.group + 1;
    return t;
  }

  const AttentionCall& call_;
  SequenceCursor cursor_;
};

}  // namespace qwend::cuda
