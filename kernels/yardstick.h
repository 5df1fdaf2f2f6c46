// What a device can do, measured in the same run that measures the engine: the denominators of its ratios.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

namespace qwend {

struct Yardstick {
  double read_bandwidth = 0;         // bytes a second read from the device's memory
  std::optional<double> gemm_flops;  // FLOP/s of the vendor's matrix product; none: its library is missing
  std::string gemm;                  // what that is, e.g. "cuBLASLt FP16 8192 x 8192 x 8192"
};

// Sums over 1 GiB with `threads` threads (best of several passes), OpenBLAS sgemm on 512 x 4864 x 896.
Yardstick measure_cpu(int32_t threads);
// Reads of 4 GiB (less where that is not free), and an FP16 product with FP32 sums; random data, as zeros
// make a GPU clock higher. Takes up to 8.6 GB for its time. Throws std::runtime_error.
Yardstick measure_cuda(int32_t device);

}  // namespace qwend
