// Which kernel a program is launched as.
#include "kernels/cuda/decode_kernel.cuh"

namespace qwend::cuda::decode {
namespace {

template <class... F>
constexpr uint32_t bits_of(quant::FormatList<F...>) {
  return (0u | ... | (1u << static_cast<uint32_t>(F::kType)));
}
constexpr uint32_t kHalf = 1u << static_cast<uint32_t>(DType::F16);

}  // namespace

// Asked for once: every launch compares with it.
size_t shared_limit() {
  static const size_t limit = [] {
    int device = 0, bytes = 0;
    CUDA_CHECK(cudaGetDevice(&device));
    CUDA_CHECK(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
    return static_cast<size_t>(bytes);
  }();
  return limit;
}

bool fits(const DecodeTable& table) {
  const Layout layout =
      table.attention.head_dim == 64 ? deepest_layout<64>(table) : deepest_layout<128>(table);
  return layout.slots >= kMinSlots;
}

void launch(const Launch& launch) {
  const uint32_t others = launch.formats & ~kHalf;
  if (others == 0) {
    launch_half(launch);
  } else if ((others & ~bits_of(EightBit{})) == 0) {
    launch_eight_bit(launch);
  } else if ((others & ~bits_of(Mixes{})) == 0) {
    launch_mixes(launch);
  } else {
    launch_any(launch);
  }
}

}  // namespace qwend::cuda::decode
