#include <algorithm>

#include "kernels/check.h"
#include "kernels/cuda/error.h"
#include "kernels/cuda/moe.h"
#include "kernels/cuda/row_math.cuh"

namespace qwend::cuda {
namespace {

constexpr int kMaxExperts = 512, kMaxUsed = 16;
constexpr int kTokensABlock = 4;  // a warp each

// Bits that compare as unsigned numbers the way floats compare, -0 as 0; never 0, which stands for "taken".
// NaN of either sign have places too, so that the choice is always num_used different experts.
__device__ inline uint32_t ordered_bits(float x) {
  const uint32_t bits = __float_as_uint(x + 0.0f);
  const uint32_t ordered = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
  return max(ordered, 1u);
}

// One warp a token; expert i * 32 + lane is the lane's i-th.
template <int kExpertsALane>
__global__ void __launch_bounds__(32 * kTokensABlock)
    choose_experts_kernel(const float* router, MoeShape shape, int32_t num_tokens, int32_t* expert,
                          float* weight) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t t = int64_t{blockIdx.x} * kTokensABlock + threadIdx.x / 32;
  if (t >= num_tokens) return;
  float logit[kExpertsALane];
  uint32_t order[kExpertsALane];  // 0: taken, or beyond the last expert
#pragma unroll
  for (int i = 0; i < kExpertsALane; ++i) {
    const int e = i * 32 + lane;
    logit[i] = e < shape.num_experts ? router[t * shape.num_experts + e] : -INFINITY;
    order[i] = e < shape.num_experts ? ordered_bits(logit[i]) : 0u;
  }

  float top = 0.0f, chosen_sum = 0.0f, my_weight = 0.0f;
  int my_expert = 0;  // lane j keeps the j-th choice
  for (int j = 0; j < shape.num_used; ++j) {
    uint32_t best = 0, best_expert = 0;
    float best_logit = 0.0f;
#pragma unroll
    for (int i = 0; i < kExpertsALane; ++i) {
      if (order[i] > best) {  // the lowest index on a tie
        best = order[i];
        best_logit = logit[i];
        best_expert = static_cast<uint32_t>(i * 32 + lane);
      }
    }
    const uint32_t largest = __reduce_max_sync(kAllLanes, best);
    const uint32_t winner = __reduce_min_sync(kAllLanes, best == largest ? best_expert : 0xffffffffu);
    const float winning = __shfl_sync(kAllLanes, best_logit, static_cast<int>(winner % 32));
    if (j == 0) top = winning;
    const float e = expf(winning - top);
    chosen_sum += e;
    if (lane == j) {
      my_expert = static_cast<int>(winner);
      my_weight = e;
    }
#pragma unroll
    for (int i = 0; i < kExpertsALane; ++i) {
      if (static_cast<uint32_t>(i * 32 + lane) == winner) order[i] = 0;
    }
  }

  float divisor = chosen_sum;
  if (!shape.renormalise) {
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < kExpertsALane; ++i) {
      if (i * 32 + lane < shape.num_experts) sum += expf(logit[i] - top);
    }
    divisor = lanes_sum(sum);
  }
  if (lane < shape.num_used) {
    expert[t * shape.num_used + lane] = my_expert;
    weight[t * shape.num_used + lane] = my_weight / divisor;
  }
}

// One block an expert: counts the pairs of lower experts, then lists its own in order. Reading all P choices
// twice (32 KB at 1,024 tokens with 8 experts each) takes less than the launches of a sort.
template <int kThreads>
__global__ void __launch_bounds__(kThreads)
    group_pairs_kernel(const int32_t* expert, int32_t num_pairs, int32_t num_used, int32_t* offsets,
                       int32_t* input_rows, int32_t* output_rows) {
  constexpr int kWarps = kThreads / 32;
  __shared__ int32_t lower_counts[kWarps];
  __shared__ int32_t found[2][kWarps];  // of two rounds: one barrier a round is enough
  const int32_t mine = static_cast<int32_t>(blockIdx.x);
  const int tid = static_cast<int>(threadIdx.x), warp = tid / 32, lane = tid % 32;

  int32_t lower = 0;
  for (int32_t p = tid; p < num_pairs; p += kThreads) lower += expert[p] < mine;
  lower = __reduce_add_sync(kAllLanes, lower);
  if (lane == 0) lower_counts[warp] = lower;
  __syncthreads();
  int32_t next = 0;
  for (int w = 0; w < kWarps; ++w) next += lower_counts[w];
  if (tid == 0) offsets[mine] = next;
  if (tid == 0 && blockIdx.x == gridDim.x - 1) offsets[gridDim.x] = num_pairs;

  for (int32_t first = 0, round = 0; first < num_pairs; first += kThreads, ++round) {
    const int32_t p = first + tid;
    const bool hit = p < num_pairs && expert[p] == mine;
    const uint32_t hits = __ballot_sync(kAllLanes, hit);
    int32_t* counts = found[round % 2];
    if (lane == 0) counts[warp] = __popc(hits);
    __syncthreads();
    int32_t before = __popc(hits & ((1u << lane) - 1));
    int32_t total = 0;
    for (int w = 0; w < kWarps; ++w) {
      if (w < warp) before += counts[w];
      total += counts[w];
    }
    if (hit) {
      input_rows[next + before] = p / num_used;
      output_rows[next + before] = p;
    }
    next += total;
  }
}

constexpr int kColumnThreads = 128;  // 4 columns each

// Blocks (token, 512 of its columns).
__global__ void __launch_bounds__(kColumnThreads)
    combine_experts_kernel(const int32_t* expert, const float* weight, const float* down, int32_t num_used,
                           int64_t width, bool vectors, float* x) {
  __shared__ int32_t pair_of[kMaxUsed];  // the token's pairs, ascending by expert
  __shared__ float weight_of[kMaxUsed];
  const int64_t t = blockIdx.x;
  const int tid = static_cast<int>(threadIdx.x);
  if (tid < num_used) {
    const int32_t mine = expert[t * num_used + tid];
    int rank = 0;
    for (int j = 0; j < num_used; ++j) rank += expert[t * num_used + j] < mine;
    pair_of[rank] = tid;
    weight_of[rank] = weight[t * num_used + tid];
  }
  __syncthreads();
  const int64_t column = 4 * (int64_t{blockIdx.y} * kColumnThreads + tid);
  if (column >= width) return;
  float4 sum = load4(x + t * width, column, width, vectors);
#pragma unroll 4
  for (int j = 0; j < num_used; ++j) {
    const float4 v = load4(down + (t * num_used + pair_of[j]) * width, column, width, vectors);
    const float w = weight_of[j];
    sum = {fmaf(w, v.x, sum.x), fmaf(w, v.y, sum.y), fmaf(w, v.z, sum.z), fmaf(w, v.w, sum.w)};
  }
  store4(x + t * width, column, width, vectors, sum);
}

constexpr int kGateThreads = 128;

__global__ void __launch_bounds__(kGateThreads)
    shared_expert_gate_kernel(const float* gate, HalfRows in, int64_t width, bool vectors, float* weight) {
  __shared__ float partial_sums[kGateThreads / 32];
  const int64_t t = blockIdx.x;
  if (gate == nullptr) {
    if (threadIdx.x == 0) weight[t] = 1.0f;
    return;
  }
  float sum = 0.0f;
  for (int64_t column = 4 * threadIdx.x; column < width; column += 4 * kGateThreads) {
    const float4 v = load4(in, t, column), g = load4(gate, column, width, vectors);
    sum += v.x * g.x + v.y * g.y + v.z * g.z + v.w * g.w;
  }
  sum = block_sum<kGateThreads>(sum, partial_sums);
  if (in.scale != nullptr) sum *= in.scale[t];
  if (threadIdx.x == 0) weight[t] = 1.0f / (1.0f + expf(-sum));
}

__global__ void __launch_bounds__(kColumnThreads)
    add_scaled_rows_kernel(const float* y, const float* weight, int64_t width, bool vectors, float* x) {
  const int64_t t = blockIdx.x;
  const int64_t column = 4 * (int64_t{blockIdx.y} * kColumnThreads + threadIdx.x);
  if (column >= width) return;
  const float w = weight[t];
  const float4 v = load4(y + t * width, column, width, vectors);
  const float4 sum = load4(x + t * width, column, width, vectors);
  store4(x + t * width, column, width, vectors,
         {fmaf(w, v.x, sum.x), fmaf(w, v.y, sum.y), fmaf(w, v.z, sum.z), fmaf(w, v.w, sum.w)});
}

dim3 column_grid(int32_t num_tokens, int64_t width) {
  constexpr int64_t kColumns = 4 * kColumnThreads;
  return {static_cast<unsigned>(num_tokens), static_cast<unsigned>((width + kColumns - 1) / kColumns)};
}

template <class T>
void grow(DeviceBuffer<T>& buffer, int64_t size) {
  if (buffer.size() < static_cast<size_t>(size)) buffer = DeviceBuffer<T>::zeroed(static_cast<size_t>(size));
}

}  // namespace

void MoeBuffers::reserve(int32_t max_tokens, const MoeShape& shape, int64_t width, int64_t shared_ffn) {
  CHECK(shape.num_experts > 0 && shape.num_experts <= kMaxExperts);
  CHECK(shape.num_used > 0 && shape.num_used <= std::min(kMaxUsed, shape.num_experts));
  const int64_t tokens = max_tokens, pairs = tokens * shape.num_used;
  grow(router, tokens * shape.num_experts);
  grow(expert, pairs);
  grow(weight, pairs);
  grow(offsets, shape.num_experts + 1);
  grow(input_rows, pairs);
  grow(output_rows, pairs);
  // The shared expert uses the buffers of the others, after them.
  grow(gate_up, std::max(pairs * shape.expert_ffn, tokens * shared_ffn));
  grow(row_max, pairs);
  grow(half, std::max(pairs * padded_width(shape.expert_ffn), tokens * padded_width(shared_ffn)));
  grow(half_scale, pairs);
  grow(down, pairs * width);
  grow(shared_weight, tokens);
}

void route_tokens(const MoeShape& shape, int32_t num_tokens, MoeBuffers& buffers, cudaStream_t stream) {
  CHECK(shape.num_experts > 0 && shape.num_experts <= kMaxExperts);
  CHECK(shape.num_used > 0 && shape.num_used <= std::min(kMaxUsed, shape.num_experts));
  if (num_tokens == 0) return;
  const auto choose = shape.num_experts <= 64    ? choose_experts_kernel<2>
                      : shape.num_experts <= 128 ? choose_experts_kernel<4>
                      : shape.num_experts <= 256 ? choose_experts_kernel<8>
                                                 : choose_experts_kernel<16>;
  const auto blocks = static_cast<unsigned>((num_tokens + kTokensABlock - 1) / kTokensABlock);
  choose<<<blocks, 32 * kTokensABlock, 0, stream>>>(buffers.router.data(), shape, num_tokens,
                                                    buffers.expert.data(), buffers.weight.data());
  CUDA_CHECK_LAUNCH();
  const int32_t pairs = num_tokens * shape.num_used;
  const auto experts = static_cast<unsigned>(shape.num_experts);
  const auto group = [&](auto kernel, int threads) {
    kernel<<<experts, threads, 0, stream>>>(buffers.expert.data(), pairs, shape.num_used,
                                            buffers.offsets.data(), buffers.input_rows.data(),
                                            buffers.output_rows.data());
  };
  if (pairs <= 1024)
    group(group_pairs_kernel<128>, 128);
  else
    group(group_pairs_kernel<1024>, 1024);
  CUDA_CHECK_LAUNCH();
}

void combine_experts(const MoeShape& shape, int32_t num_tokens, int64_t width, const MoeBuffers& buffers,
                     float* x, cudaStream_t stream) {
  CHECK(shape.num_used > 0 && shape.num_used <= kMaxUsed);
  if (num_tokens == 0) return;
  const bool vectors = vector_rows(x, width) && vector_rows(buffers.down.data(), width);
  combine_experts_kernel<<<column_grid(num_tokens, width), kColumnThreads, 0, stream>>>(
      buffers.expert.data(), buffers.weight.data(), buffers.down.data(), shape.num_used, width, vectors, x);
  CUDA_CHECK_LAUNCH();
}

void shared_expert_gate(const float* gate, const HalfRows& in, int64_t width, int32_t num_tokens,
                        float* weight, cudaStream_t stream) {
  CHECK(in.stride >= width && in.stride % 64 == 0);
  if (num_tokens == 0) return;
  shared_expert_gate_kernel<<<static_cast<unsigned>(num_tokens), kGateThreads, 0, stream>>>(
      gate, in, width, vector_rows(gate, 0), weight);
  CUDA_CHECK_LAUNCH();
}

void add_scaled_rows(const float* y, const float* weight, int64_t width, int32_t num_tokens, float* x,
                     cudaStream_t stream) {
  if (num_tokens == 0) return;
  const bool vectors = vector_rows(x, width) && vector_rows(y, width);
  add_scaled_rows_kernel<<<column_grid(num_tokens, width), kColumnThreads, 0, stream>>>(y, weight, width,
                                                                                        vectors, x);
  CUDA_CHECK_LAUNCH();
}

}  // namespace qwend::cuda
