#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>
#include <cstring>
#include <thread>
#include <utility>

#include "kernels/check.h"
#include "kernels/cuda/activations.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/tile_decode.cuh"
#include "kernels/cuda/weight_norms.h"
#include "kernels/cuda/weights.h"

namespace qwend::cuda {
namespace {

constexpr size_t kStagingBytes = size_t{32} << 20;  // of one of two buffers: at 50 GB/s a copy takes 0.6 ms
constexpr int kStagings = 2;
constexpr int kCopyThreads = 4;  // one thread copies from the page cache at about 10 GB/s
constexpr size_t kNormBytes = 2 * sizeof(float);
constexpr size_t kGuardBytes = 256;  // kernels may read a whole tile at the end of the last row

bool is_float(DType dtype) { return dtype == DType::F32 || dtype == DType::F16 || dtype == DType::BF16; }
DType device_dtype(DType dtype) { return dtype == DType::BF16 ? DType::F16 : dtype; }
size_t float_bytes(DType dtype) { return dtype == DType::F32 ? 4 : 2; }

// ---- repacking

// One CTA repacks 16 rows x 256 columns: codes to shared memory, then a warp's worth of shares a tile.
// src: rows of blocks, `rows` of them from the part's row first_tile * 16 on. Missing rows and columns become
// zeros.
template <class F>
__global__ void __launch_bounds__(128) pack_tiles(const std::byte* src, int64_t rows, int64_t cols,
                                                  int64_t row_bytes, std::byte* data, std::byte* supers) {
  using T = TileFormat<F>;
  constexpr int kBlocks = 256 / F::kBlock;  // in this CTA's stretch of a row
  __shared__ uint8_t codes[kTileRows][256];
  const int64_t row0 = int64_t{blockIdx.x} * kTileRows, col0 = int64_t{blockIdx.y} * 256;
  const int64_t col_tiles = (cols + kTileCols - 1) / kTileCols, first_tile = col0 / kTileCols;
  const int tiles = static_cast<int>(min(int64_t{4}, col_tiles - first_tile));
  std::byte* const out = data + (blockIdx.x * col_tiles + first_tile) * T::kBytes;

  for (int task = threadIdx.x; task < kTileRows * kBlocks; task += blockDim.x) {
    const int r = task / kBlocks, b = task % kBlocks;
    const int64_t col = col0 + b * F::kBlock;
    const bool there = row0 + r < rows && col < cols;
    typename F::Block block{};
    if (there) {
      const std::byte* from = src + (row0 + r) * row_bytes + col / F::kBlock * sizeof(typename F::Block);
      for (size_t i = 0; i < sizeof block; ++i) reinterpret_cast<std::byte*>(&block)[i] = from[i];
      F::codes(block, &codes[r][b * F::kBlock]);
    } else {
      for (int i = 0; i < F::kBlock; ++i) codes[r][b * F::kBlock + i] = 0;
    }
    if constexpr (T::kSuper) {
      auto* super = reinterpret_cast<uint16_t*>(
          supers + ((blockIdx.x * (cols / 256) + blockIdx.y) * kTileRows + r) * T::kSuperBytes);
      super[0] = there ? F::d(block) : 0;
      if constexpr (F::kHasMin) super[1] = there ? F::dmin(block) : 0;
      for (int tile = 0; tile < tiles; ++tile) {
        auto* sub = reinterpret_cast<uint8_t*>(out + tile * T::kBytes + T::kScales + r * T::kScaleBytes);
        for (int i = 0; i < T::kGroups; ++i) {
          const int group = tile * T::kGroups + i;
          uint8_t scale = 0;
          if (there) scale = static_cast<uint8_t>(F::scale(block, group));
          if constexpr (F::kHasMin && F::kGroup == 16) {
            if (there) scale = static_cast<uint8_t>(scale | F::min(block, group) << 4);
          } else if constexpr (F::kHasMin) {
            sub[T::kGroups + i] = there ? static_cast<uint8_t>(F::min(block, group)) : 0;
          }
          sub[i] = scale;
        }
      }
    } else if (b / 2 < tiles) {
      auto* scale = reinterpret_cast<uint16_t*>(out + b / 2 * T::kBytes + T::kScales + r * T::kScaleBytes);
      constexpr int kHalves = F::kHasMin ? 2 : 1;
      scale[b % 2 * kHalves] = there ? F::d(block) : 0;
      if constexpr (F::kHasMin) scale[b % 2 * kHalves + 1] = there ? F::dmin(block) : 0;
    }
  }
  __syncthreads();

  const int tile = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, c = lane % 4;
  if (tile >= tiles) return;
  uint32_t low[T::kLowWords] = {}, high[T::kHighWords > 0 ? T::kHighWords : 1] = {};
#pragma unroll
  for (int s = 0; s < 4; ++s) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const uint32_t code = codes[g + 8 * (i % 2)][64 * tile + 16 * s + 4 * c + 2 * (i / 2) + e];
        if constexpr (T::kLowBits == 8) {
          low[2 * s + i / 2] |= code << 8 * (i % 2 * 2 + e);
        } else if constexpr (T::kCodebook) {
          low[s] |= code << 4 * (2 * i + e);
        } else if constexpr (T::kLowBits == 4) {
          low[s] |= (code & 15u) << (4 * i + 16 * e);
        } else {
          low[s / 2] |= (code & 3u) << (2 * (4 * (s % 2) + i) + 16 * e);
        }
        if constexpr (T::kHighBits == 2) {
          high[s / 2] |= (code >> T::kLowBits) << (2 * (4 * (s % 2) + i) + 16 * e);
        } else if constexpr (T::kHighBits == 1) {
          high[0] |= (code >> T::kLowBits) << (4 * s + i + 16 * e);
        }
      }
    }
  }
  std::byte* const record = out + tile * T::kBytes;
  for (int w = 0; w < T::kLowWords; ++w) {
    const int at = T::kLowWords >= 4 ? w / 4 * 512 + lane * 16 + w % 4 * 4 : lane * 8 + w * 4;
    *reinterpret_cast<uint32_t*>(record + at) = low[w];
  }
  for (int w = 0; w < T::kHighWords; ++w) {
    *reinterpret_cast<uint32_t*>(record + T::kLowBytes + lane * 4 * T::kHighWords + w * 4) = high[w];
  }
}

// BF16 to FP16, which holds every weight a model has (|w| in 6e-8 .. 65504); larger ones saturate.
__global__ void bf16_to_half(const __nv_bfloat16* src, int64_t cols, __half* dst, int64_t stride) {
  const int64_t row = blockIdx.x;
  for (int64_t i = threadIdx.x; i < cols; i += blockDim.x) {
    const float x = __bfloat162float(src[row * cols + i]);
    dst[row * stride + i] = __float2half_rn(fminf(fmaxf(x, -65504.0f), 65504.0f));
  }
}

// ---- decoding

// Row rows[blockIdx.x] of the matrix, where it lies in this part, to dst[blockIdx.x].
template <class F>
__global__ void gather_tiles(WeightPart part, int64_t matrix_rows, const int32_t* rows, float* dst,
                             int64_t stride) {
  follow_stream();
  const int64_t wanted = rows[blockIdx.x];
  const int64_t expert = wanted / matrix_rows, row = wanted % matrix_rows - part.first_row;
  if (wanted < 0 || row < 0 || row >= part.rows) return;
  const int lane = threadIdx.x % 32;
  for (int64_t tile = threadIdx.x / 32; tile < part.col_tiles(); tile += blockDim.x / 32) {
    TileShare<F> share;
    load_tile<F>(part, expert, row / kTileRows, tile, lane, share);
    decode_tile<F>(share, lane, [&](int r, int col, const float4& v) {
      const int64_t at = tile * kTileCols + col;
      if (r != row % kTileRows || at >= part.cols) return;  // cols is a multiple of 32
      float* out = dst + blockIdx.x * stride + at;
      out[0] = v.x, out[1] = v.y, out[2] = v.z, out[3] = v.w;
    });
  }
}
template <class T>
__global__ void gather_floats(WeightPart part, int64_t matrix_rows, const int32_t* rows, float* dst,
                              int64_t stride) {
  follow_stream();
  const int64_t wanted = rows[blockIdx.x];
  const int64_t expert = wanted / matrix_rows, row = wanted % matrix_rows - part.first_row;
  if (wanted < 0 || row < 0 || row >= part.rows) return;
  const T* src = reinterpret_cast<const T*>(part.data) + (expert * part.rows + row) * padded_width(part.cols);
  for (int64_t i = threadIdx.x; i < part.cols; i += blockDim.x) {
    dst[blockIdx.x * stride + i] = static_cast<float>(src[i]);
  }
}

constexpr int kExpandWarps = 8, kExpandTiles = 2;  // of a block, of a warp

// Rows first .. first + count of one expert as FP16; a warp has some neighbouring tiles, all of which it asks
// for first.
template <class F>
__global__ void __launch_bounds__(32 * kExpandWarps)
    expand_tiles(WeightPart part, int64_t expert, int64_t first, int64_t count, __half* dst, int64_t stride) {
  const int lane = threadIdx.x % 32;
  const int64_t row_tile = first / kTileRows + blockIdx.y;
  const int64_t tile = (int64_t{blockIdx.x} * kExpandWarps + threadIdx.x / 32) * kExpandTiles;
  TileShare<F> shares[kExpandTiles];
#pragma unroll
  for (int i = 0; i < kExpandTiles; ++i) {
    if (tile + i < part.col_tiles()) load_tile<F>(part, expert, row_tile, tile + i, lane, shares[i]);
  }
  // This lane's rows g and g + 8 of the tiles; all else that put() is told is constant.
  const int g = lane / 4, c = lane % 4;
  const int64_t row = row_tile * kTileRows + g - first;
  __half* upper = dst + row * stride + tile * kTileCols + 4 * c;
  __half* lower = upper + 8 * stride;
  asm("" : "+l"(upper), "+l"(lower));  // or the compiler makes them anew for each store
  const bool wanted[2] = {row >= 0 && row < count, row + 8 >= 0 && row + 8 < count};
#pragma unroll
  for (int i = 0; i < kExpandTiles; ++i) {
    if (tile + i >= part.col_tiles()) return;
    decode_tile<F>(shares[i], lane, [&](int tile_row, int col, const float4& v) {
      const int r = (tile_row - g) / 8;
      if (!wanted[r]) return;
      const __half2 low = __floats2half2_rn(v.x, v.y), high = __floats2half2_rn(v.z, v.w);
      uint2 packed;
      packed.x = *reinterpret_cast<const uint32_t*>(&low),
      packed.y = *reinterpret_cast<const uint32_t*>(&high);
      __half* const to = (r == 0 ? upper : lower) + i * kTileCols + (col - 4 * c);
      __stcg(reinterpret_cast<uint2*>(to), packed);  // zeros beyond cols
    });
  }
}
template <class T>
__global__ void expand_floats(WeightPart part, int64_t expert, int64_t first, __half* dst, int64_t stride) {
  const int64_t row = expert * part.rows + first + blockIdx.x;
  const T* src = reinterpret_cast<const T*>(part.data) + row * padded_width(part.cols);
  for (int64_t i = threadIdx.x; i < stride; i += blockDim.x) {
    dst[blockIdx.x * stride + i] = __float2half_rn(i < part.cols ? static_cast<float>(src[i]) : 0.0f);
  }
}

// ---- layout

size_t data_bytes(const WeightPart& part) {
  if (is_float(part.dtype)) {
    return static_cast<size_t>(part.rows * padded_width(part.cols)) * float_bytes(part.dtype);
  }
  return static_cast<size_t>(part.row_tiles() * part.col_tiles()) * tile_bytes(part.dtype);
}

void copy_parallel(std::byte* dst, const std::byte* src, size_t bytes) {
  const size_t share = (bytes / kCopyThreads + 4095) / 4096 * 4096;
  if (share < (size_t{1} << 20)) {
    std::memcpy(dst, src, bytes);
    return;
  }
  std::vector<std::jthread> threads;
  for (size_t at = share; at < bytes; at += share) {
    threads.emplace_back([=] { std::memcpy(dst + at, src + at, std::min(share, bytes - at)); });
  }
  std::memcpy(dst, src, share);
}

}  // namespace

size_t WeightPart::expert_bytes() const { return data_bytes(*this); }
size_t WeightPart::expert_super_bytes() const {
  if (is_float(dtype)) return 0;
  return static_cast<size_t>(row_tiles() * (cols / 256) * kTileRows) * super_bytes(dtype);
}

// ---- upload

struct WeightUploader::Impl {
  struct Staging {
    PinnedBuffer<std::byte> host{kStagingBytes};
    DeviceBuffer<std::byte> device{kStagingBytes};
    Event free = make_event();  // recorded when both may be used again
  };

  // The next buffer of the ring, no longer in use.
  Staging& take() {
    Staging& staging = ring[next++ % kStagings];
    CUDA_CHECK(cudaEventSynchronize(staging.free.get()));
    return staging;
  }

  // Rows of one expert, a staging's worth at a time; whole tiles of rows.
  void copy_expert(const HostMatrix& source, int64_t expert, const WeightPart& part, int64_t first_row);
  void place(const HostMatrix& source, const std::byte* staged, int64_t count, const WeightPart& part,
             int64_t expert, int64_t row);

  cudaStream_t stream;
  Staging ring[kStagings];
  size_t next = 0;
};

WeightUploader::WeightUploader(cudaStream_t stream) : impl_(std::make_unique<Impl>()) {
  impl_->stream = stream;
}
WeightUploader::~WeightUploader() = default;

void WeightUploader::wait() { CUDA_CHECK(cudaStreamSynchronize(impl_->stream)); }

void WeightUploader::Impl::copy_expert(const HostMatrix& source, int64_t expert, const WeightPart& part,
                                       int64_t first_row) {
  const size_t row_bytes = format_bytes(source.dtype, source.cols);
  const std::byte* file = source.data + static_cast<size_t>(expert * source.rows) * row_bytes;
  const int64_t stretch = static_cast<int64_t>(kStagingBytes / row_bytes) / kTileRows * kTileRows;
  if (stretch == 0) throw CudaError(std::string(source.name) + ": rows are too long for the CUDA backend");
  for (int64_t row = 0; row < source.rows; row += stretch) {
    const int64_t count = std::min(stretch, source.rows - row);
    Staging& staging = take();
    const size_t bytes = static_cast<size_t>(count) * row_bytes;
    copy_parallel(staging.host.data(), file + static_cast<size_t>(row) * row_bytes, bytes);
    CUDA_CHECK(
        cudaMemcpyAsync(staging.device.data(), staging.host.data(), bytes, cudaMemcpyHostToDevice, stream));
    place(source, staging.device.data(), count, part, expert, first_row + row);
    CUDA_CHECK(cudaEventRecord(staging.free.get(), stream));
  }
}

// Staged rows to rows row .. row + count of the part's expert.
void WeightUploader::Impl::place(const HostMatrix& source, const std::byte* staged, int64_t count,
                                 const WeightPart& part, int64_t expert, int64_t row) {
  auto* const data = const_cast<std::byte*>(part.data) + static_cast<size_t>(expert) * part.expert_bytes();
  if (is_float(source.dtype)) {
    const size_t element = float_bytes(part.dtype);
    const size_t pitch = static_cast<size_t>(padded_width(part.cols)) * element;
    std::byte* const to = data + static_cast<size_t>(row) * pitch;
    if (source.dtype == DType::BF16) {
      bf16_to_half<<<static_cast<unsigned>(count), 256, 0, stream>>>(
          reinterpret_cast<const __nv_bfloat16*>(staged), part.cols, reinterpret_cast<__half*>(to),
          padded_width(part.cols));
      CUDA_CHECK_LAUNCH();
      return;
    }
    const size_t width = static_cast<size_t>(part.cols) * element;
    CUDA_CHECK(cudaMemcpy2DAsync(to, pitch, staged, width, width, static_cast<size_t>(count),
                                 cudaMemcpyDeviceToDevice, stream));
    return;
  }
  const auto row_tile = static_cast<size_t>(row / kTileRows);
  auto* const supers =
      const_cast<std::byte*>(part.supers) + static_cast<size_t>(expert) * part.expert_super_bytes();
  with_block_format(part.dtype, [&]<class F>() {
    const dim3 grid(static_cast<unsigned>((count + kTileRows - 1) / kTileRows),
                    static_cast<unsigned>((part.cols + 255) / 256));
    std::byte* const tiles = data + row_tile * static_cast<size_t>(part.col_tiles()) * TileFormat<F>::kBytes;
    std::byte* const super =
        supers + row_tile * static_cast<size_t>(part.cols / 256) * kTileRows * TileFormat<F>::kSuperBytes;
    pack_tiles<F><<<grid, 128, 0, stream>>>(
        staged, count, part.cols, static_cast<int64_t>(format_bytes(F::kType, part.cols)), tiles, super);
    CUDA_CHECK_LAUNCH();
  });
}

std::unique_ptr<CudaMatrix> WeightUploader::upload(std::span<const HostMatrix> sources) {
  CHECK(!sources.empty());
  auto matrix = std::make_unique<CudaMatrix>();
  matrix->cols_ = sources[0].cols;
  matrix->experts_ = sources[0].experts;
  for (const HostMatrix& source : sources) {
    if (source.cols != matrix->cols_ || source.experts != matrix->experts_) {
      throw CudaError(std::string(source.name) + " can't be joined with " + std::string(sources[0].name) +
                      ": widths or numbers of experts differ");
    }
    // Neighbours join when whole tiles stay whole.
    auto& parts = matrix->parts_;
    const DType dtype = device_dtype(source.dtype);
    if (!parts.empty() && parts.back().dtype == dtype && parts.back().rows % kTileRows == 0) {
      parts.back().rows += source.rows;
    } else {
      parts.push_back({dtype, matrix->rows_, source.rows, source.cols, source.experts, nullptr, nullptr});
    }
    matrix->rows_ += source.rows;
  }

  const auto aligned = [](size_t bytes) { return (bytes + 255) / 256 * 256; };
  size_t total = kGuardBytes + aligned(kNormBytes);
  for (const WeightPart& part : matrix->parts_) {
    total += aligned(part.expert_bytes() * static_cast<size_t>(part.experts)) +
             aligned(part.expert_super_bytes() * static_cast<size_t>(part.experts));
  }
  matrix->memory_ = DeviceBuffer<std::byte>(total);
  CUDA_CHECK(
      cudaMemsetAsync(matrix->memory_.data(), 0, total, impl_->stream));  // padding columns and the guard
  size_t at = 0;
  for (WeightPart& part : matrix->parts_) {
    part.data = matrix->memory_.data() + at;
    at += aligned(part.expert_bytes() * static_cast<size_t>(part.experts));
    part.supers = matrix->memory_.data() + at;
    at += aligned(part.expert_super_bytes() * static_cast<size_t>(part.experts));
  }

  matrix->norms_ = reinterpret_cast<float*>(matrix->memory_.data() + at);

  int64_t first_row = 0;  // of the source in the matrix
  for (const HostMatrix& source : sources) {
    const auto part = std::ranges::find_if(matrix->parts_, [&](const WeightPart& p) {
      return p.first_row <= first_row && first_row < p.first_row + p.rows;
    });
    for (int64_t e = 0; e < source.experts; ++e)
      impl_->copy_expert(source, e, *part, first_row - part->first_row);
    first_row += source.rows;
  }
  if (matrix->experts_ == 1) largest_row_norms(*matrix, matrix->norms_, impl_->stream);
  return matrix;
}

void gather_rows(const CudaMatrix& matrix, const int32_t* rows, int64_t count, float* dst, int64_t dst_stride,
                 cudaStream_t stream) {
  if (count == 0) return;
  const auto grid = static_cast<unsigned>(count);
  for (const WeightPart& part : matrix.parts()) {
    const auto start = [&](auto* kernel) {
      launch_following(kernel, grid, 256, 0, stream, part, matrix.rows(), rows, dst, dst_stride);
    };
    if (part.dtype == DType::F32) {
      start(gather_floats<float>);
    } else if (part.dtype == DType::F16) {
      start(gather_floats<__half>);
    } else {
      with_block_format(part.dtype, [&]<class F>() { start(gather_tiles<F>); });
    }
  }
}

void expand_half(const WeightPart& part, int64_t expert, int64_t first, int64_t count, __half* dst,
                 int64_t stride, cudaStream_t stream) {
  if (count == 0) return;
  CHECK(stride >= padded_width(part.cols) && first >= 0 && first + count <= part.rows);
  const auto rows = static_cast<unsigned>(count);
  if (part.dtype == DType::F32) {
    expand_floats<float><<<rows, 256, 0, stream>>>(part, expert, first, dst, stride);
  } else if (part.dtype == DType::F16) {
    expand_floats<__half><<<rows, 256, 0, stream>>>(part, expert, first, dst, stride);
  } else {
    const int64_t last_tile = (first + count - 1) / kTileRows;
    constexpr int64_t kTilesOfBlock = kExpandWarps * kExpandTiles;
    const dim3 grid(static_cast<unsigned>((part.col_tiles() + kTilesOfBlock - 1) / kTilesOfBlock),
                    static_cast<unsigned>(last_tile - first / kTileRows + 1));
    with_block_format(part.dtype, [&]<class F>() {
      expand_tiles<F><<<grid, 32 * kExpandWarps, 0, stream>>>(part, expert, first, count, dst, stride);
    });
  }
  CUDA_CHECK_LAUNCH();
}

void CudaMatrix::read_row_norms(cudaStream_t stream) {
  float norms[2];
  CUDA_CHECK(cudaMemcpyAsync(norms, norms_, sizeof norms, cudaMemcpyDeviceToHost, stream));
  CUDA_CHECK(cudaStreamSynchronize(stream));
  largest_row_norm_ = std::max(norms[0], norms[1]);
}

size_t CudaMatrix::half_copy_bytes() const {
  int64_t rows = 0;
  for (const WeightPart& part : parts_) rows += part.dtype != DType::F16 ? part.rows : 0;
  return static_cast<size_t>(rows * padded_width(cols_)) * sizeof(__half);
}

void CudaMatrix::keep_half_copies(cudaStream_t stream) {
  CHECK(experts_ == 1);
  if (half_copies_.size() > 0) return;
  half_copies_ = DeviceBuffer<__half>(half_copy_bytes() / sizeof(__half));
  const int64_t stride = padded_width(cols_);
  __half* to = half_copies_.data();
  for (WeightPart& part : parts_) {
    if (part.dtype == DType::F16) continue;
    expand_half(part, 0, 0, part.rows, to, stride, stream);
    part.half_copy = std::exchange(to, to + part.rows * stride);
  }
}

}  // namespace qwend::cuda
