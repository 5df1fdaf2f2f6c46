// Which instruction sets the running CPU has.
#pragma once
#include <cstdint>

namespace qwend::cpu {

// Ordered: each level includes those before it.
enum class Isa : uint8_t { Scalar, Avx2, Avx512 };

const char* name_of(Isa isa);

// The best level that both this build and the running CPU (and its operating system) support. Avx2 also
// needs FMA and F16C; Avx512 also needs BW, DQ, VL and VNNI.
Isa best_isa();

// Processors this process may run on, at least 1.
int available_cores();

}  // namespace qwend::cpu
