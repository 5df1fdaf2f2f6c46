// What the machine can do, measured by the same run that measures the engine: the denominators of its ratios.
#pragma once
#include <optional>

namespace qwend::cli {

// Bytes a second that `threads` threads read from memory (sums over 1 GiB, best of several passes).
double measure_read_bandwidth(int threads);

// FLOP/s of OpenBLAS sgemm on 512 x 4864 x 896 with `threads` threads; nothing when libopenblas is not
// installed.
std::optional<double> measure_sgemm(int threads);

}  // namespace qwend::cli
