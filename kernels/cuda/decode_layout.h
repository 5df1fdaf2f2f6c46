// Where things lie in the shared memory of a decode program's kernel.
#pragma once
#include <cstddef>
#include <cstdint>

namespace qwend::cuda {
struct DecodeTable;
}

namespace qwend::cuda::decode {

inline constexpr int32_t kMinSlots = 2, kMaxSlots = 8;

// Offsets. Worked out by the host: as constants they take no registers, and a value that a thread of this
// kernel spills comes back from L2, as L1 is given to the rings.
struct Layout {
  int32_t slots;  // of a warp's ring
  uint32_t barriers, cuts, tile_sums, products, layers, token, squares, residual;
  uint32_t attention, records, groups, bytes, half_scales, halves;  // attention's place is that of products
  uint32_t size;

  bool fits() const { return slots >= kMinSlots; }
};

// With as deep rings as the device has memory for: look-ahead is what hides the waits. Where not even
// kMinSlots fit, slots is less. Throws CudaError.
Layout deepest_layout(const DecodeTable& table);

// Bytes that a CTA may have.
size_t shared_limit();

}  // namespace qwend::cuda::decode
