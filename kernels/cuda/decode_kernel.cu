// Which kernel a program is launched as.
#include "kernels/cuda/decode_kernel.h"

namespace qwend::cuda::decode {
namespace {

template <class... F>
constexpr uint32_t bits_of(quant::FormatList<F...>) {
  return (0u | ... | (1u << static_cast<uint32_t>(F::kType)));
}
constexpr uint32_t kHalf = 1u << static_cast<uint32_t>(DType::F16);

}  // namespace

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
