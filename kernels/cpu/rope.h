// Rotary position embedding: cosines and sines of one step, computed once for all layers.
#pragma once
#include <cstdint>
#include <span>

#include "kernels/backend.h"
#include "kernels/cpu/buffer.h"
#include "kernels/cpu/thread_pool.h"

namespace qwend::cpu {

class RopeAngles {
 public:
  // Angles are computed in double, so that positions in the millions keep their fraction of a turn.
  void prepare(const RopeTable& table, std::span<const int32_t> positions, ThreadPool& pool);
  // Rotates the first rotary_dim elements of one head of token t in place.
  void rotate(int32_t t, float* head) const;

 private:
  int64_t half_ = 0;    // rotary_dim / 2
  FloatBuffer angles_;  // [T, 2, half]: cosines, then sines
};

}  // namespace qwend::cpu
