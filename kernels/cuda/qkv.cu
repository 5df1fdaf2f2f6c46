// Bias, QK-norm, rotation and the write to the cache: a warp or half of one for a head of a token.
#include "kernels/check.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/device_math.cuh"
#include "kernels/cuda/launch.h"

namespace qwend::cuda {
namespace {

// A thread owns some neighbouring elements of a head, 16 bytes at least. (With 8, 2,048 tokens of
// Qwen2.5-0.5B took 11 us on an H100, whose memory moves their bytes in 6.)
template <int kHeadDim>
struct FinishShape {
  static constexpr int kThreads = 128;
  static constexpr int kOwn = kHeadDim <= 128 ? 4 : 8;
  static constexpr int kLanes = kHeadDim / kOwn;    // of a head
  static constexpr int kHeads = kThreads / kLanes;  // of a block
};

// kCount values from x on, a multiple of four, aligned to 16 bytes.
template <int kCount>
__device__ __forceinline__ void load_floats(const float* x, float (&v)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; i += 4) {
    const float4 a = *reinterpret_cast<const float4*>(x + i);
    v[i] = a.x, v[i + 1] = a.y, v[i + 2] = a.z, v[i + 3] = a.w;
  }
}
template <int kCount>
__device__ __forceinline__ void store_floats(const float (&v)[kCount], float* x) {
#pragma unroll
  for (int i = 0; i < kCount; i += 4)
    *reinterpret_cast<float4*>(x + i) = make_float4(v[i], v[i + 1], v[i + 2], v[i + 3]);
}
// As halves, in stores of 8 bytes.
template <int kCount>
__device__ __forceinline__ void store_halves(const float (&v)[kCount], __half* x) {
  const auto pair = [&](int i) {
    return half2_bits(__halves2half2(half_saturated(v[i]), half_saturated(v[i + 1])));
  };
#pragma unroll
  for (int i = 0; i < kCount; i += 4) *reinterpret_cast<uint2*>(x + i) = make_uint2(pair(i), pair(i + 2));
}
template <int kCount>
__device__ __forceinline__ void store_split(const float (&v)[kCount], __half* high, __half* low) {
  float rest[kCount];
#pragma unroll
  for (int i = 0; i < kCount; ++i) rest[i] = v[i] - __half2float(half_saturated(v[i]));
  store_halves(v, high);
  store_halves(rest, low);
}

// A group of kLanes threads takes one head of one token; those past the last one do it once more and store
// nothing.
template <int kHeadDim>
__global__ void __launch_bounds__(FinishShape<kHeadDim>::kThreads)
    finish_qkv_kernel(const QkvFinish op, const DeviceStep step, const KvLayer kv, float* q_out) {
  using Shape = FinishShape<kHeadDim>;
  constexpr int kOwn = Shape::kOwn, kLanes = Shape::kLanes;
  __shared__ float heads[Shape::kHeads][kHeadDim];
  follow_stream();
  const int32_t group = static_cast<int32_t>(threadIdx.x) / kLanes,
                lane = static_cast<int32_t>(threadIdx.x) % kLanes, first = lane * kOwn;
  const int32_t num_q = op.shape.num_heads, num_kv = op.shape.num_kv_heads, all = num_q + 2 * num_kv;
  const int32_t index = static_cast<int32_t>(blockIdx.x) * Shape::kHeads + group,
                count = step.num_tokens * all, item = min(index, count - 1);
  const int32_t token = item / all, head = item % all;
  const bool turns = head < num_q + num_kv;
  const int32_t position = __ldg(step.positions + token), slot = __ldg(step.slot_mapping + token);

  float x[kOwn];
  load_floats(op.qkv + int64_t{item} * kHeadDim + first, x);
  if (op.qkv_low != nullptr) {
    float low[kOwn];
    load_floats(op.qkv_low + int64_t{item} * kHeadDim + first, low);
#pragma unroll
    for (int i = 0; i < kOwn; ++i) x[i] += low[i];
  }
  const int32_t half = op.rotary_dim / 2;
  float2 angles[kOwn];
#pragma unroll
  for (int i = 0; i < kOwn; ++i) {
    const int32_t d = first + i, pair = d < half ? d : d - half;
    if (turns && pair < half) angles[i] = __ldg(op.rope + int64_t{position} * half + pair);
  }
  if (op.scale != nullptr) {
    const float scale = __ldg(op.scale + token);
#pragma unroll
    for (int i = 0; i < kOwn; ++i) x[i] *= scale;
  }
  if (op.bias != nullptr) {
    float bias[kOwn];
    load_floats(op.bias + int64_t{head} * kHeadDim + first, bias);
#pragma unroll
    for (int i = 0; i < kOwn; ++i) x[i] += bias[i];
  }

  // All threads of a warp come here together, whatever their heads are.
  if (op.q_norm != nullptr || op.k_norm != nullptr) {
    float squares = 0.0f, weight[kOwn];
#pragma unroll
    for (int i = 0; i < kOwn; ++i) squares += x[i] * x[i];
    squares = lanes_sum<kLanes>(squares);
    const float* norm = head < num_q ? op.q_norm : turns ? op.k_norm : nullptr;
    if (norm != nullptr) {
      load_floats(norm + first, weight);
      const float scale = 1.0f / sqrtf(squares / kHeadDim + op.norm_eps);
#pragma unroll
      for (int i = 0; i < kOwn; ++i) x[i] = x[i] * scale * weight[i];
    }
  }
  // Partners d and d + rotary_dim / 2 belong to different threads. Element i of all lanes lies together, in
  // banks of their own.
  const auto place = [](int32_t d) { return d % kOwn * kLanes + d / kOwn; };
#pragma unroll
  for (int i = 0; i < kOwn; ++i) heads[group][place(first + i)] = x[i];
  __syncwarp();
  if (turns) {
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
      const int32_t d = first + i;
      if (d >= 2 * half) continue;
      const float partner = heads[group][place(d < half ? d + half : d - half)];
      x[i] = x[i] * angles[i].x + (d < half ? -partner : partner) * angles[i].y;
    }
  }

  if (index >= count) return;
  if (head < num_q) {
    store_floats(x, q_out + (int64_t{token} * num_q + head) * kHeadDim + first);
  } else if (slot >= 0) {
    const int64_t at = kv.offset(slot, head - num_q - (turns ? 0 : num_kv)) + first;
    __half* cache = (turns ? kv.keys : kv.values) + at;
    if (kv.precise())
      store_split(x, cache, (turns ? kv.keys_low : kv.values_low) + at);
    else
      store_halves(x, cache);
  }
}

__global__ void rope_table_kernel(const double* inv_freq, int32_t half, int64_t count, float magnitude,
                                  float2* table) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const double angle = static_cast<double>(i / half) * inv_freq[i % half];
  table[i] =
      make_float2(static_cast<float>(cos(angle)) * magnitude, static_cast<float>(sin(angle)) * magnitude);
}

template <int kHeadDim>
void launch_finish(const QkvFinish& op, const DeviceStep& step, const KvLayer& kv, float* q_out,
                   cudaStream_t stream) {
  using Shape = FinishShape<kHeadDim>;
  const int32_t heads = step.num_tokens * (op.shape.num_heads + 2 * op.shape.num_kv_heads);
  launch_following(finish_qkv_kernel<kHeadDim>, static_cast<uint32_t>(ceil_div(heads, Shape::kHeads)),
                   Shape::kThreads, 0, stream, op, step, kv, q_out);
}

}  // namespace

DeviceBuffer<float2> make_rope_table_on_device(const RopeTable& table, int32_t max_position) {
  const auto half = static_cast<int32_t>(table.inv_freq.size());
  CHECK(half == table.rotary_dim / 2 && max_position > 0);
  const int64_t count = int64_t{max_position} * half;
  DeviceBuffer<float2> angles(static_cast<size_t>(count));
  if (count == 0) return angles;
  const DeviceBuffer<double> inv_freq(table.inv_freq.size());
  copy_to_device(inv_freq.data(), table.inv_freq.data(), inv_freq.bytes());
  constexpr int kThreads = 256;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<uint32_t>(ceil_div<int64_t>(count, kThreads)));
  config.blockDim = dim3(kThreads);
  const double* frequencies = inv_freq.data();
  float2* out = angles.data();
  CUDA_CHECK(cudaLaunchKernelEx(&config, rope_table_kernel, frequencies, half, count, table.magnitude, out));
  CUDA_CHECK(cudaDeviceSynchronize());
  return angles;
}

void finish_qkv(const QkvFinish& op, const DeviceStep& step, const KvLayer& kv, float* q_out,
                cudaStream_t stream) {
  const AttentionShape& shape = op.shape;
  CHECK(shape.num_kv_heads == kv.num_kv_heads && shape.head_dim == kv.head_dim);
  CHECK(op.rotary_dim >= 0 && op.rotary_dim <= shape.head_dim && op.rotary_dim % 2 == 0);
  if (step.num_tokens <= 0) return;
  switch (shape.head_dim) {
    case 64: return launch_finish<64>(op, step, kv, q_out, stream);
    case 128: return launch_finish<128>(op, step, kv, q_out, stream);
    default: return launch_finish<256>(op, step, kv, q_out, stream);
  }
}

}  // namespace qwend::cuda
