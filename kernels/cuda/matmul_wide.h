// Products of FP16 and block formats with tens to a few hundred rows: the range between one pass over the
// weights for a few tokens (matmul_skinny) and expanding them for cuBLASLt (LargeMatmul).
#pragma once
#include <cstdint>
#include <optional>

#include "kernels/cuda/matmul.h"
#include "kernels/cuda/resources.h"
#include "kernels/cuda/weights.h"

namespace qwend::cuda {

// What a CTA computes at a time: rows x tokens of the output. h...: by warpgroups, on devices of compute
// capability 9.0 only.
enum class WideTile : uint8_t {
  k128x32,
  k256x32,
  k128x64,
  k256x64,
  k128x128,
  h128x64,
  h128x128,
  h256x128,
};
inline bool of_warpgroups(WideTile tile) { return tile >= WideTile::h128x64; }

// How a product is cut; chosen by WideMatmul unless a benchmark compares.
struct WidePlan {
  WideTile tile;
  int32_t min_stages;  // 64-column stages of a CTA: fewer would not pay for adding up what CTAs share
};

// Owns scratch for sums that several CTAs share. One thread, one stream. Sums run in an order fixed by the
// matrix, the number of tokens and the device.
class WideMatmul {
 public:
  explicit WideMatmul(cudaStream_t stream);
  // Not for FP32 weights. SwiGlu: gate and up rows in one part, a multiple of 16 each.
  static bool serves(const CudaMatrix& w, Epilogue epilogue);
  bool has(WideTile tile) const { return hopper_ || !of_warpgroups(tile); }
  // Requires serves() and has() of the plan's tile. SwiGlu: one plane, in.norm, out.half. A second plane
  // costs a second pass of arithmetic.
  void run(const CudaMatrix& w, const HalfRows& in, int32_t num_tokens, Epilogue epilogue,
           const MatmulOut& out, std::optional<WidePlan> plan = {});

 private:
  WidePlan plan(const WeightPart& part, int32_t num_tokens) const;

  cudaStream_t stream_;
  int multiprocessors_;
  bool hopper_;
  DeviceBuffer<float> partial_;
  DeviceBuffer<uint32_t> arrivals_;  // 0 between launches
};

}  // namespace qwend::cuda
