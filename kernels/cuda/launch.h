// What launches need to know of the device, and how kernels of a step follow each other in a stream.
#pragma once
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "kernels/cuda/error.h"

namespace qwend::cuda {

// Multiprocessors of the current device.
int32_t multiprocessor_count();
// Its compute capability, 90 for 9.0; and whether it runs what is compiled for sm_90a.
int32_t compute_capability();
inline bool has_warpgroup_products() { return compute_capability() == 90; }
// Lets a kernel use this much dynamic shared memory; returns how many of its blocks a multiprocessor holds.
int32_t resident_blocks(const void* kernel, int32_t threads, int32_t shared_bytes);

// From sm_90 on a kernel may be set up while the one ahead of it in the stream still runs (programmatic
// dependent launch): its blocks take what room there is and wait in follow_stream(). Every thread of such a
// kernel calls it before it touches memory that others write, or returns; kernels launched in the usual way
// may call it too.
__device__ __forceinline__ void follow_stream() {
#if __CUDA_ARCH__ >= 900
  // All that came before has ended, and can be seen. From here on the next one may be set up.
  asm volatile("griddepcontrol.wait;" ::: "memory");
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// Launches a kernel that calls follow_stream().
template <class... Params>
void launch_following(void (*kernel)(Params...), dim3 grid, dim3 block, size_t shared_bytes,
                      cudaStream_t stream, const std::type_identity_t<Params>&... args) {
  cudaLaunchConfig_t config{};
  config.gridDim = grid, config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  cudaLaunchAttribute early{};
  early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  early.val.programmaticStreamSerializationAllowed = 1;
  config.attrs = &early, config.numAttrs = compute_capability() >= 90 ? 1 : 0;
  CUDA_CHECK(cudaLaunchKernelEx(&config, kernel, args...));
}

}  // namespace qwend::cuda
