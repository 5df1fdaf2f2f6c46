// Two kernels a step: one reads the logits once, with many blocks a row, and leaves a few figures of each
// group of 128 tokens; the other, one block a row, returns to the groups that matter and draws. Rows with
// bias or penalties take one more before them.
#include "kernels/cuda/error.h"
#include "kernels/cuda/sampler_block.cuh"
#include "kernels/cuda/sampler_draw.h"
#include "kernels/cuda/sampler_edits.h"
#include "kernels/cuda/sampler_kernels.h"

namespace qwend::cuda {

namespace {

constexpr int32_t kEditThreads = 1024;
constexpr int32_t kLookThreads = 256;
// Two groups a warp: 16 a block, 75 blocks for a row of 151,936, enough to fill a GPU from one row.
constexpr int32_t kGroupsPerWarp = 2;
constexpr int32_t kLookGroups = kLookThreads / 32 * kGroupsPerWarp;
constexpr int32_t kDrawThreads = 512;

int32_t num_groups(int64_t vocab) { return static_cast<int32_t>((vocab + kGroup - 1) / kGroup); }
size_t edit_bytes(int32_t groups) {
  return static_cast<size_t>(groups) * (kGroupWords * sizeof(uint32_t) + sizeof(int32_t));
}

__global__ void __launch_bounds__(kEditThreads)
    edit_kernel(const DeviceRow* rows, const int32_t* edited, const float* logits, int32_t vocab,
                const int32_t* drawn) {
  using Block = DeviceBlock<kEditThreads>;
  extern __shared__ uint32_t edit_memory[];
  __shared__ Block::Shared shared;
  Block block(shared);
  const int32_t row = edited[blockIdx.x];
  const int32_t groups = (vocab + kGroup - 1) / kGroup;
  build_edits(block, rows[row].edits, logits + static_cast<int64_t>(row) * vocab, vocab, drawn, edit_memory,
              reinterpret_cast<int32_t*>(edit_memory + groups * kGroupWords));
}

// Key and sum of a group whose scores the warp holds.
__device__ __forceinline__ void store_figures(const FourScores& four, float scale, bool with_sum,
                                              uint32_t* key_out, float* sum_out) {
  const uint32_t own =
      max(max(score_key(four.x[0]), score_key(four.x[1])), max(score_key(four.x[2]), score_key(four.x[3])));
  const uint32_t key = __reduce_max_sync(~0u, own);
  const bool first = threadIdx.x % 32 == 0;
  if (first) *key_out = key;
  if (!with_sum) return;
  const float top = key_score(key);
  float sum = 0.0f;
#pragma unroll
  for (int32_t i = 0; i < 4; ++i) {
    if (four.x[i] > lowest_score()) sum += expf((four.x[i] - top) * scale);
  }
#pragma unroll
  for (int32_t step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
  if (first) *sum_out = sum;
}

__global__ void __launch_bounds__(kLookThreads)
    look_kernel(const DeviceRow* __restrict__ rows, const float* __restrict__ logits, int32_t vocab,
                SamplerMemory memory) {
  const int64_t row_index = blockIdx.y;
  const int32_t groups = (vocab + kGroup - 1) / kGroup;
  const int32_t warp = static_cast<int32_t>(threadIdx.x) / 32, lane = static_cast<int32_t>(threadIdx.x) % 32;
  const int32_t first_group = static_cast<int32_t>(blockIdx.x) * kLookGroups + warp * kGroupsPerWarp;
  const float* row_logits = logits + row_index * vocab;
  FourScores four[kGroupsPerWarp];
#pragma unroll
  for (int32_t u = 0; u < kGroupsPerWarp; ++u) {
    four[u] = load_four(row_logits, vocab, (first_group + u) * kGroup + lane * 4);
  }
  const DeviceRow& row = rows[row_index];
  const ScoreView view = edited_view(row_logits, vocab, row);
  const bool with_sums = row.needs_sums(), with_raw = row.num_logprobs >= 0;
  const float scale = row.scale;
#pragma unroll
  for (int32_t u = 0; u < kGroupsPerWarp; ++u) {
    const int32_t g = first_group + u;
    if (g >= groups) return;
    const int64_t at = row_index * groups + g;
    if (with_raw) {
      FourScores raw = four[u];
#pragma unroll
      for (int32_t i = 0; i < 4; ++i) raw.x[i] = finite_logit(raw.x[i]);
      store_figures(raw, 1.0f, true, memory.raw_keys + at, memory.raw_sums + at);
    }
    edit_four(view, g * kGroup + lane * 4, four[u]);
    store_figures(four[u], scale, with_sums, memory.keys + at, memory.sums + at);
  }
}

__global__ void __launch_bounds__(kDrawThreads)
    draw_kernel(const DeviceRow* __restrict__ rows, const float* logits, int32_t vocab, SamplerMemory memory,
                DrawnRow* results, TokenLogprob* tops) {
  using Block = DeviceBlock<kDrawThreads>;
  extern __shared__ __align__(16) unsigned char draw_memory[];
  __shared__ Block::Shared shared;
  alignas(RowTask) __shared__ unsigned char task_memory[sizeof(RowTask)];
  RowTask& task = *reinterpret_cast<RowTask*>(task_memory);
  constexpr uint32_t kRowWords = sizeof(DeviceRow) / sizeof(uint32_t);
  static_assert(sizeof(DeviceRow) % sizeof(uint32_t) == 0 && kRowWords <= kDrawThreads);
  const int64_t row_index = blockIdx.x;
  const int32_t groups = (vocab + kGroup - 1) / kGroup;
  if (threadIdx.x < kRowWords) {
    reinterpret_cast<uint32_t*>(&task.row)[threadIdx.x] =
        reinterpret_cast<const uint32_t*>(rows + row_index)[threadIdx.x];
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    const int64_t at = row_index * groups;
    task.look = {memory.keys + at, memory.sums + at, memory.raw_keys + at, memory.raw_sums + at};
    task.set_views(logits + row_index * vocab, vocab);
  }
  __syncthreads();
  Block block(shared);
  RowSampler<Block> sampler(block, task, {draw_memory, groups});
  const DrawnRow drawn = sampler.draw(tops);
  if (threadIdx.x == 0) {
    results[row_index] = drawn;
    memory.drawn[row_index] = drawn.token;
  }
}

}  // namespace

void prepare_sampler_kernels(int64_t vocab) {
  const int32_t groups = num_groups(vocab);
  CUDA_CHECK(cudaFuncSetAttribute(edit_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  static_cast<int>(edit_bytes(groups))));
  CUDA_CHECK(cudaFuncSetAttribute(draw_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  static_cast<int>(RowScratch::bytes(groups))));
}

void edit_scores(const DeviceRow* rows, const int32_t* edited, int32_t num_edited, const float* logits,
                 int64_t vocab, const SamplerMemory& memory, cudaStream_t stream) {
  edit_kernel<<<static_cast<uint32_t>(num_edited), kEditThreads, edit_bytes(num_groups(vocab)), stream>>>(
      rows, edited, logits, static_cast<int32_t>(vocab), memory.drawn);
  CUDA_CHECK_LAUNCH();
}

void look_at_rows(const DeviceRow* rows, int32_t num_rows, const float* logits, int64_t vocab,
                  const SamplerMemory& memory, cudaStream_t stream) {
  const int32_t groups = num_groups(vocab);
  const dim3 grid(static_cast<uint32_t>((groups + kLookGroups - 1) / kLookGroups),
                  static_cast<uint32_t>(num_rows));
  look_kernel<<<grid, kLookThreads, 0, stream>>>(rows, logits, static_cast<int32_t>(vocab), memory);
  CUDA_CHECK_LAUNCH();
}

void draw_rows(const DeviceRow* rows, int32_t num_rows, const float* logits, int64_t vocab,
               const SamplerMemory& memory, DrawnRow* results, TokenLogprob* tops, cudaStream_t stream) {
  draw_kernel<<<static_cast<uint32_t>(num_rows), kDrawThreads, RowScratch::bytes(num_groups(vocab)),
                stream>>>(rows, logits, static_cast<int32_t>(vocab), memory, results, tops);
  CUDA_CHECK_LAUNCH();
}

}  // namespace qwend::cuda
