#include <algorithm>

#include "kernels/check.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/matmul_wide.cuh"
#include "kernels/cuda/matmul_wide.h"

namespace qwend::cuda {
namespace {

constexpr int32_t kMinStages = 4;
constexpr int kMaxCtas = 8;  // of a multiprocessor
// Sums that the CTAs of a multiprocessor hold in registers at most, half of all it has; in memory each CTA
// has room for two tiles.
constexpr int64_t kSumsOfMultiprocessor = 32768;

}  // namespace

WideMatmul::WideMatmul(cudaStream_t stream)
    : stream_(stream), multiprocessors_(multiprocessor_count()), hopper_(has_warpgroup_products()) {
  partial_ = DeviceBuffer<float>(static_cast<size_t>(2 * kSumsOfMultiprocessor * multiprocessors_));
  arrivals_ = DeviceBuffer<uint32_t>::zeroed(static_cast<size_t>(kMaxCtas * multiprocessors_));
}

bool WideMatmul::serves(const CudaMatrix& w, Epilogue epilogue) {
  if (w.experts() != 1 ||
      !std::ranges::all_of(w.parts(), [](const WeightPart& p) { return p.dtype != DType::F32; })) {
    return false;
  }
  return epilogue != Epilogue::SwiGlu || (w.parts().size() == 1 && w.rows() / 2 % kTileRows == 0);
}

// Tiles as tall as tokens need and CTAs enough to fill the device. A tile is shared by eight or nine CTAs at
// most: adding up more took longer than their products (7B's output projection, 64 tokens: 31 us in stretches
// of 4 stages, 24 us in stretches of 8).
WidePlan WideMatmul::plan(const WeightPart& part, int32_t num_tokens) const {
  const int64_t tiles_of_128 = (part.rows + 127) / 128 * ((num_tokens + 127) / 128);
  const bool narrow = num_tokens <= 64 || tiles_of_128 < multiprocessors_;
  const WideTile tile = num_tokens <= 32 ? WideTile::k128x32
                        : narrow         ? (hopper_ ? WideTile::h128x64 : WideTile::k128x64)
                                         : (hopper_ ? WideTile::h128x128 : WideTile::k128x128);
  return {tile, std::max(kMinStages, static_cast<int32_t>(part.col_tiles() / 8))};
}

void WideMatmul::run(const CudaMatrix& w, const HalfRows& in, int32_t num_tokens, Epilogue epilogue,
                     const MatmulOut& out, std::optional<WidePlan> chosen) {
  CHECK(serves(w, epilogue) && num_tokens > 0 && in.stride >= padded_width(w.cols()));
  CHECK(epilogue != Epilogue::SwiGlu ||
        (in.low == nullptr && in.norm != nullptr && out.half.rows != nullptr));
  for (const WeightPart& part : w.parts()) {
    const WidePlan how = chosen.value_or(plan(part, num_tokens));
    wide::Args args{.part = part,
                    .in = in,
                    .epilogue = epilogue,
                    .out = out,
                    .weight_norms = w.row_norms(),
                    .out_rows = epilogue == Epilogue::SwiGlu ? w.rows() / 2 : part.rows,
                    .num_tokens = num_tokens,
                    .stages = static_cast<int32_t>(part.col_tiles()) * (in.low != nullptr ? 2 : 1),
                    .partial = partial_.data(),
                    .arrivals = arrivals_.data()};
    const wide::Limits limits{multiprocessors_, static_cast<int64_t>(partial_.size()),
                              static_cast<int>(arrivals_.size()), how.min_stages};
    if (of_warpgroups(how.tile)) {
      CHECK(hopper_);
      wide::launch_hopper(how.tile, args, limits, stream_);
    } else if (part.dtype == DType::F16) {
      wide::launch_half(how.tile, args, limits, stream_);
    } else if (format_info(part.dtype).block_elements == 32) {
      wide::launch_blocks_of_32(how.tile, args, limits, stream_);
    } else {
      wide::launch_blocks_of_256(how.tile, args, limits, stream_);
    }
  }
}

}  // namespace qwend::cuda
