// Bias, QK-norm, rotation and the write to the cache: one warp a head of a token.
#include "kernels/check.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/device_math.cuh"

namespace qwend::cuda {
namespace {

constexpr int32_t kHeadsPerBlock = 4;

// kCount values from x on, aligned to their size up to 16 bytes.
template <int kCount>
__device__ __forceinline__ void load_floats(const float* x, float (&v)[kCount]) {
  if constexpr (kCount == 2) {
    const float2 a = *reinterpret_cast<const float2*>(x);
    v[0] = a.x, v[1] = a.y;
  } else {
#pragma unroll
    for (int i = 0; i < kCount; i += 4) {
      const float4 a = *reinterpret_cast<const float4*>(x + i);
      v[i] = a.x, v[i + 1] = a.y, v[i + 2] = a.z, v[i + 3] = a.w;
    }
  }
}
template <int kCount>
__device__ __forceinline__ void store_floats(const float (&v)[kCount], float* x) {
  if constexpr (kCount == 2) {
    *reinterpret_cast<float2*>(x) = make_float2(v[0], v[1]);
  } else {
#pragma unroll
    for (int i = 0; i < kCount; i += 4)
      *reinterpret_cast<float4*>(x + i) = make_float4(v[i], v[i + 1], v[i + 2], v[i + 3]);
  }
}
template <int kCount>
__device__ __forceinline__ void store_halves(const float (&v)[kCount], __half* x) {
#pragma unroll
  for (int i = 0; i < kCount; i += 2)
    *reinterpret_cast<uint32_t*>(x + i) =
        half2_bits(__halves2half2(half_saturated(v[i]), half_saturated(v[i + 1])));
}
template <int kCount>
__device__ __forceinline__ void store_split(const float (&v)[kCount], __half* high, __half* low) {
#pragma unroll
  for (int i = 0; i < kCount; i += 2) {
    const SplitHalf a = split_half(v[i]), b = split_half(v[i + 1]);
    *reinterpret_cast<uint32_t*>(high + i) = half2_bits(__halves2half2(a.high, b.high));
    *reinterpret_cast<uint32_t*>(low + i) = half2_bits(__halves2half2(a.low, b.low));
  }
}

// Each lane owns kHeadDim / 32 neighbouring elements of its warp's head.
template <int kHeadDim>
__global__ void __launch_bounds__(kHeadsPerBlock* kWarp)
    finish_qkv_kernel(const QkvFinish op, const DeviceStep step, const KvLayer kv, float* q_out) {
  constexpr int kOwn = kHeadDim / kWarp;
  extern __shared__ float heads[];  // [kHeadsPerBlock, kHeadDim]
  const auto token = static_cast<int32_t>(blockIdx.x);
  const int32_t head = static_cast<int32_t>(blockIdx.y) * kHeadsPerBlock + warp_index();
  const int32_t num_q = op.shape.num_heads, num_kv = op.shape.num_kv_heads, all = num_q + 2 * num_kv;
  if (head >= all) return;
  const int32_t first = lane_index() * kOwn;
  const int32_t position = __ldg(step.positions + token), slot = __ldg(step.slot_mapping + token);

  float x[kOwn];
  load_floats(op.qkv + (int64_t{token} * all + head) * kHeadDim + first, x);
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

  if (head < num_q + num_kv) {
    const float* norm = head < num_q ? op.q_norm : op.k_norm;
    if (norm != nullptr) {
      float squares = 0.0f, weight[kOwn];
      load_floats(norm + first, weight);
#pragma unroll
      for (int i = 0; i < kOwn; ++i) squares += x[i] * x[i];
      const float scale = 1.0f / sqrtf(lanes_sum(squares) / kHeadDim + op.norm_eps);
#pragma unroll
      for (int i = 0; i < kOwn; ++i) x[i] = x[i] * scale * weight[i];
    }
    // Partners i and i + rotary_dim / 2 belong to different lanes.
    float* whole = heads + warp_index() * kHeadDim;
    store_floats(x, whole + first);
    __syncwarp();
    const int32_t half = op.rotary_dim / 2;
    const float2* angles = op.rope + int64_t{position} * half;
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
      const int32_t d = first + i;
      if (d < half) {
        const float2 a = __ldg(angles + d);
        x[i] = x[i] * a.x - whole[d + half] * a.y;
      } else if (d < 2 * half) {
        const float2 a = __ldg(angles + d - half);
        x[i] = x[i] * a.x + whole[d - half] * a.y;
      }
    }
  }

  if (head < num_q) {
    store_floats(x, q_out + (int64_t{token} * num_q + head) * kHeadDim + first);
  } else if (slot >= 0) {
    const bool is_key = head < num_q + num_kv;
    const int64_t at = kv.offset(slot, head - num_q - (is_key ? 0 : num_kv)) + first;
    __half* cache = (is_key ? kv.keys : kv.values) + at;
    if (kv.precise())
      store_split(x, cache, (is_key ? kv.keys_low : kv.values_low) + at);
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
  const int32_t heads = op.shape.num_heads + 2 * op.shape.num_kv_heads;
  cudaLaunchConfig_t config{};
  config.gridDim =
      dim3(static_cast<uint32_t>(step.num_tokens), static_cast<uint32_t>(ceil_div(heads, kHeadsPerBlock)));
  config.blockDim = dim3(kHeadsPerBlock * kWarp);
  config.dynamicSmemBytes = kHeadsPerBlock * kHeadDim * sizeof(float);
  config.stream = stream;
  CUDA_CHECK(cudaLaunchKernelEx(&config, finish_qkv_kernel<kHeadDim>, op, step, kv, q_out));
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
