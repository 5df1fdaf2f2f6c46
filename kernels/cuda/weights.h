// Weight matrices on the device.
//
// Float formats stay row-major: F16 as it is, BF16 as FP16, F32 as FP32. Block formats are repacked at
// upload, at the file's size or up to 3% more, into tiles that feed tensor cores directly: 16 rows x 64
// columns, all that one warp turns into four m16n8k16 fragments with 16-byte loads.
//
// Lane 4 g + c of the warp owns rows g and g + 8; of each 16 columns 16 s .. 16 s + 15 (s = 0..3) it owns
// columns 16 s + 4 c .. + 3. With columns (4c, 4c+1) as the fragment's k-low pair and (4c+2, 4c+3) as its
// k-high pair, its A registers are a0 = (g, low) a1 = (g + 8, low) a2 = (g, high) a3 = (g + 8, high), and the
// B registers of token n = g are 8 contiguous bytes of that token's activations.
#pragma once
#include <cuda_fp16.h>

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cuda/resources.h"

namespace qwend::cuda {

inline constexpr int32_t kTileRows = 16, kTileCols = 64;

// Rows of one matrix that share a format. Device pointers; owned by the CudaMatrix.
struct WeightPart {
  DType dtype = DType::F16;  // F16, F32, or a block format
  int64_t first_row = 0;     // of the matrix
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t experts = 1;
  const std::byte* data =
      nullptr;  // floats: [experts][rows][cols]; blocks: tiles [experts][row tiles][column tiles]
  const std::byte* supers =
      nullptr;  // formats of 256: d (and dmin) [experts][row tiles][cols / 256][16 rows]
  const __half* half_copy = nullptr;  // [rows][padded width] where CudaMatrix::keep_half_copies() made one
  size_t expert_bytes() const;        // of data, from one expert to the next
  size_t expert_super_bytes() const;  // of supers
  constexpr int64_t row_tiles() const { return (rows + kTileRows - 1) / kTileRows; }
  constexpr int64_t col_tiles() const { return (cols + kTileCols - 1) / kTileCols; }
};

class CudaMatrix : public DeviceMatrix {
 public:
  int64_t rows() const override { return rows_; }
  int64_t cols() const override { return cols_; }
  int64_t experts() const override { return experts_; }
  size_t bytes() const override { return memory_.bytes() + half_copies_.bytes(); }
  std::span<const WeightPart> parts() const { return parts_; }  // neighbours of one format are one part
  // Device memory: the largest L2 norm of a row of the first half and of the second (gate and up rows where
  // they are joined); zeros for experts.
  const float* row_norms() const { return norms_; }
  // The larger of both on the host, once it has been read back; 0 before.
  float largest_row_norm() const { return largest_row_norm_; }
  void read_row_norms(cudaStream_t stream);  // waits for the stream: start-up only

  // Device memory that FP16 copies of all parts but FP16 ones take: 0 where there are none to make.
  size_t half_copy_bytes() const;
  // Makes them, once, in the stream; takes memory: start-up only. One expert.
  void keep_half_copies(cudaStream_t stream);

 private:
  friend class WeightUploader;
  int64_t rows_ = 0, cols_ = 0, experts_ = 1;
  std::vector<WeightPart> parts_;
  DeviceBuffer<std::byte> memory_;
  DeviceBuffer<__half> half_copies_;
  float* norms_ = nullptr;  // in memory_
  float largest_row_norm_ = 0.0f;
};

// Copies matrices from mapped files to the device: through a ring of pinned buffers, repacked there. Uploads
// are asynchronous; wait() ends them. One thread.
class WeightUploader {
 public:
  explicit WeightUploader(cudaStream_t stream);
  ~WeightUploader();
  std::unique_ptr<CudaMatrix> upload(std::span<const HostMatrix> parts);
  void wait();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// dst[i, 0..cols) = row rows[i] decoded, FP32. rows: device memory; a negative row leaves dst[i] as it is.
void gather_rows(const CudaMatrix& matrix, const int32_t* rows, int64_t count, float* dst, int64_t dst_stride,
                 cudaStream_t stream);
// dst [count, stride] = rows first .. first + count of one expert of a part, as FP16, columns beyond cols
// zero.
void expand_half(const WeightPart& part, int64_t expert, int64_t first, int64_t count, __half* dst,
                 int64_t stride, cudaStream_t stream);

}  // namespace qwend::cuda
