// One kernel a step reads the logits once, with many blocks a row, and leaves a few figures of each group of
// 128 tokens. The last block to finish a row that needs few candidates returns to the groups that matter and
// draws. Other rows are drawn by a second kernel, one block a row. Scores that bias and penalties touch are
// built by the blocks that look at them, or, where lists are long, by one more kernel before these.
#include "kernels/cuda/error.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/sampler_block.cuh"
#include "kernels/cuda/sampler_draw.h"
#include "kernels/cuda/sampler_edits.h"
#include "kernels/cuda/sampler_few.h"
#include "kernels/cuda/sampler_kernels.h"

namespace qwend::cuda {

namespace {

constexpr int32_t kEditThreads = 1024;
constexpr int32_t kLookThreads = 256;
constexpr int32_t kLookBlocks = 3;  // a multiprocessor: 48 KB on their way to each
// Groups of each warp of a block: the fewer, the more blocks a row has. Two fill a GPU from one row; more
// save blocks, each of which waits for its row's settings first, where rows are many.
constexpr int32_t kFewestGroups = 2, kMostGroups = 8;
constexpr int32_t kMostBlockGroups = kLookThreads / 32 * kMostGroups;
constexpr int32_t kManyBlocks = 1584;  // four for each place on 132 multiprocessors
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
  build_edits(block, rows[row].edits, logits + static_cast<int64_t>(row) * vocab, 0, groups, drawn,
              edit_memory, reinterpret_cast<int32_t*>(edit_memory + groups * kGroupWords));
}

// The settings of a row, into shared memory. All threads; ends with a barrier.
__device__ __forceinline__ void load_row(const DeviceRow* from, DeviceRow& to) {
  constexpr uint32_t kWords = sizeof(DeviceRow) / sizeof(uint32_t);
  static_assert(sizeof(DeviceRow) % sizeof(uint32_t) == 0 && kWords <= kLookThreads);
  if (threadIdx.x < kWords) {
    reinterpret_cast<uint32_t*>(&to)[threadIdx.x] = reinterpret_cast<const uint32_t*>(from)[threadIdx.x];
  }
  __syncthreads();
}

// Key and sum of a group whose scores the warp holds.
__device__ __forceinline__ void store_figures(const FourScores& four, float scale, bool with_sum,
                                              uint32_t* key_out, float* sum_out) {
  const uint32_t key = __reduce_max_sync(~0u, largest_key(four));
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

// Whether this block is the last of its row's to come here; what the others wrote before is then visible to
// all its threads. Leaves the count at 0 for the next launch.
__device__ __forceinline__ bool last_to_arrive(uint32_t* arrivals) {
  __shared__ bool last;
  __syncthreads();
  if (threadIdx.x == 0) {  // after a barrier: releases what the whole block wrote
    uint32_t before;
    asm volatile("atom.acq_rel.gpu.global.inc.u32 %0, [%1], %2;"
                 : "=r"(before)
                 : "l"(arrivals), "r"(gridDim.x - 1)
                 : "memory");
    last = before == gridDim.x - 1;
  }
  __syncthreads();
  return last;
}

// The edits of a block's groups.
template <class Block>
__device__ __noinline__ void build_part(Block block, const RowEdits& edits, const float* logits,
                                        int32_t first_group, int32_t num_groups, const int32_t* drawn,
                                        uint32_t* bits, int32_t* ranks) {
  build_edits(block, edits, logits, first_group, num_groups, drawn, bits, ranks);
}

// A row that a list does not do for after all, in device memory: bans or ties without end. Seldom taken.
template <class Block>
__device__ __noinline__ DrawnRow draw_by_thresholds(Block block, const RowTask& task, RowScratch scratch) {
  RowSampler<Block> sampler(block, task, scratch);
  return sampler.draw(nullptr);
}

__global__ void __launch_bounds__(kLookThreads, kLookBlocks)
    look_kernel(const DeviceRow* __restrict__ rows, const float* __restrict__ logits, int32_t vocab,
                int32_t block_groups, SamplerMemory memory, DrawnRow* results) {
  using Block = DeviceBlock<kLookThreads>;
  struct Shared {
    Block::Shared block;
    RowTask task;
    FewScratch few;
    uint32_t edit_bits[kMostBlockGroups * kGroupWords];
    int32_t edit_ranks[kMostBlockGroups];
  };
  alignas(Shared) __shared__ unsigned char shared_memory[sizeof(Shared)];
  Shared& shared = *reinterpret_cast<Shared*>(shared_memory);
  follow_stream();
  RowTask& task = shared.task;
  const DeviceRow& row = task.row;
  const int64_t row_index = blockIdx.y;
  const int32_t groups = (vocab + kGroup - 1) / kGroup;
  const int64_t figures = row_index * groups;
  const float* row_logits = logits + row_index * vocab;
  uint32_t* const keys = memory.keys + figures;
  load_row(rows + row_index, task.row);

  Block block(shared.block);
  const ScoreView view = edited_view(row_logits, vocab, row);
  const int32_t first_group = static_cast<int32_t>(blockIdx.x) * block_groups;
  const int32_t count = min(block_groups, groups - first_group);
  if (row.edits.in_parts) {
    build_part(block, row.edits, row_logits, first_group, count, memory.drawn_before, shared.edit_bits,
               shared.edit_ranks);
  }
  const auto group_at = [&](int32_t i) { return first_group + i; };
  const bool with_sums = row.needs_sums(), with_raw = row.num_logprobs >= 0;
  if (!with_sums && !with_raw && view.edit_bits == nullptr) {  // most rows: little code, in registers
    ScoreView unedited = view;
    unedited.edit_bits = nullptr;
    Block::visit_logits<Block::Code::Long>(
        unedited, count, group_at, [&](int32_t g, int32_t first, const TokenWords& words, FourScores& four) {
          edit_four(unedited, first, words, four);
          store_figures(four, 1.0f, false, keys + g, nullptr);
        });
  } else {
    Block::visit_logits<Block::Code::Short>(
        view, count, group_at, [&](int32_t g, int32_t first, const TokenWords& words, FourScores& four) {
          if (with_raw) {
            FourScores raw = four;
#pragma unroll
            for (int32_t i = 0; i < 4; ++i) raw.x[i] = finite_logit(raw.x[i]);
            store_figures(raw, 1.0f, true, memory.raw_keys + figures + g, memory.raw_sums + figures + g);
          }
          edit_four(view, first, words, four);
          store_figures(four, row.scale, with_sums, keys + g, memory.sums + figures + g);
        });
  }
  if (!row.few || !last_to_arrive(memory.arrivals + row_index)) return;

  DrawnRow drawn;
  drawn.token = draw_from_few(block, shared.few, view, keys, row);
  if (drawn.token < 0) {
    if (threadIdx.x == 0) {
      task.look = {.keys = keys};
      task.set_views(row_logits, vocab);
    }
    __syncthreads();
    drawn = draw_by_thresholds(block, task, memory.scratch_of(row_index, groups));
  }
  if (threadIdx.x == 0) memory.store(row_index, drawn, results);
}

__global__ void __launch_bounds__(kDrawThreads)
    draw_kernel(const DeviceRow* __restrict__ rows, const int32_t* wide, const float* logits, int32_t vocab,
                SamplerMemory memory, DrawnRow* results, TokenLogprob* tops) {
  using Block = DeviceBlock<kDrawThreads>;
  extern __shared__ __align__(16) unsigned char draw_memory[];
  __shared__ Block::Shared shared;
  alignas(RowTask) __shared__ unsigned char task_memory[sizeof(RowTask)];
  RowTask& task = *reinterpret_cast<RowTask*>(task_memory);
  const int64_t row_index = wide[blockIdx.x];
  const int32_t groups = (vocab + kGroup - 1) / kGroup;
  load_row(rows + row_index, task.row);
  if (threadIdx.x == 0) {
    const int64_t at = row_index * groups;
    task.look = {memory.keys + at, memory.sums + at, memory.raw_keys + at, memory.raw_sums + at};
    task.set_views(logits + row_index * vocab, vocab);
  }
  __syncthreads();
  Block block(shared);
  RowSampler<Block> sampler(block, task, {draw_memory, groups});
  const DrawnRow drawn = sampler.draw(tops);
  if (threadIdx.x == 0) memory.store(row_index, drawn, results);
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
      rows, edited, logits, static_cast<int32_t>(vocab), memory.drawn_before);
  CUDA_CHECK_LAUNCH();
}

void look_at_rows(const DeviceRow* rows, int32_t num_rows, const float* logits, int64_t vocab,
                  const SamplerMemory& memory, DrawnRow* results, cudaStream_t stream) {
  constexpr int32_t kWarps = kLookThreads / 32;
  const int32_t groups = num_groups(vocab);
  const auto blocks_of_row = [&](int32_t warp_groups) {
    return (groups + kWarps * warp_groups - 1) / (kWarps * warp_groups);
  };
  int32_t warp_groups = kMostGroups;
  while (warp_groups > kFewestGroups && int64_t{blocks_of_row(warp_groups)} * num_rows < kManyBlocks) {
    warp_groups /= 2;
  }
  const dim3 grid(static_cast<uint32_t>(blocks_of_row(warp_groups)), static_cast<uint32_t>(num_rows));
  launch_following(look_kernel, grid, kLookThreads, 0, stream, rows, logits, static_cast<int32_t>(vocab),
                   kWarps * warp_groups, memory, results);
}

void draw_rows(const DeviceRow* rows, const int32_t* wide, int32_t num_wide, const float* logits,
               int64_t vocab, const SamplerMemory& memory, DrawnRow* results, TokenLogprob* tops,
               cudaStream_t stream) {
  draw_kernel<<<static_cast<uint32_t>(num_wide), kDrawThreads, RowScratch::bytes(num_groups(vocab)),
                stream>>>(rows, wide, logits, static_cast<int32_t>(vocab), memory, results, tops);
  CUDA_CHECK_LAUNCH();
}

}  // namespace qwend::cuda
