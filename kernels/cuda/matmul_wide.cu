#include <algorithm>

#include "kernels/check.h"
#include "kernels/cuda/matmul_wide.cuh"
#include "kernels/cuda/matmul_wide.h"

namespace qwend::cuda {
namespace {

constexpr int64_t kMinTiles = 4;  // 64-column tiles of a stretch: fewer would not pay for meeting

bool is_block(DType dtype) { return format_info(dtype).block_elements > 1; }

}  // namespace

// Two CTAs a multiprocessor at most share sums: 16 row tiles x 16 rows x 128 tokens for each.
WideMatmul::WideMatmul(cudaStream_t stream) : stream_(stream) {
  int device = 0;
  CUDA_CHECK(cudaGetDevice(&device));
  CUDA_CHECK(cudaDeviceGetAttribute(&multiprocessors_, cudaDevAttrMultiProcessorCount, device));
  const auto ctas = static_cast<size_t>(2 * multiprocessors_ + 1);
  partial_ = DeviceBuffer<float>(ctas * wide::kWarps * kTileRows * kMaxWideRows);
  arrivals_ = DeviceBuffer<uint32_t>::zeroed(ctas);
}

bool WideMatmul::serves(const CudaMatrix& w, Epilogue epilogue) {
  if (w.experts() != 1 ||
      !std::ranges::all_of(w.parts(), [](const WeightPart& p) { return is_block(p.dtype); })) {
    return false;
  }
  return epilogue != Epilogue::SwiGlu || (w.parts().size() == 1 && w.rows() / 2 % (4 * kTileRows) == 0);
}

void WideMatmul::run(const CudaMatrix& w, const HalfRows& in, int32_t num_tokens, Epilogue epilogue,
                     const MatmulOut& out) {
  CHECK(serves(w, epilogue) && num_tokens > 0 && num_tokens <= kMaxWideRows &&
        in.stride >= padded_width(w.cols()));
  if (in.low != nullptr) {
    CHECK(epilogue != Epilogue::SwiGlu);
    run(w, {in.rows, in.scale, in.stride}, num_tokens, epilogue, out);
    return run(w, {in.low, in.scale, in.stride}, num_tokens, Epilogue::Add, out);
  }
  for (const WeightPart& part : w.parts()) {
    const bool paired = epilogue == Epilogue::SwiGlu;
    wide::Args args{part,
                    in,
                    epilogue,
                    out,
                    paired ? w.rows() / 2 : part.rows,
                    num_tokens,
                    partial_.data(),
                    arrivals_.data()};
    const int64_t cta_rows = kTileRows * (paired ? wide::kWarps / 2 : wide::kWarps);
    const int64_t ctas = (args.out_rows + cta_rows - 1) / cta_rows;
    const int64_t stretches = std::clamp<int64_t>(2 * multiprocessors_ / ctas, 1,
                                                  std::max<int64_t>(1, part.col_tiles() / kMinTiles));
    const dim3 grid(static_cast<unsigned>(ctas), static_cast<unsigned>(stretches));
    if (format_info(part.dtype).block_elements == 32) {
      wide::launch_blocks_of_32(args, grid, stream_);
    } else {
      wide::launch_blocks_of_256(args, grid, stream_);
    }
  }
}

}  // namespace qwend::cuda
