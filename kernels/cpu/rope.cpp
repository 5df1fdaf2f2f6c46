#include "kernels/cpu/rope.h"

#include <cmath>

#include "kernels/cpu/vector_ops.h"

namespace qwend::cpu {

void RopeAngles::prepare(const RopeTable& table, std::span<const int32_t> positions, ThreadPool& pool) {
  half_ = static_cast<int64_t>(table.inv_freq.size());
  const auto tokens = static_cast<int64_t>(positions.size());
  angles_.reserve(tokens * 2 * half_);
  pool.parallel_for(tokens, 32, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      float* cosines = angles_.data() + t * 2 * half_;
      float* sines = cosines + half_;
      for (int64_t i = 0; i < half_; ++i) {
        const double angle = positions[static_cast<size_t>(t)] * table.inv_freq[static_cast<size_t>(i)];
        cosines[i] = static_cast<float>(std::cos(angle)) * table.magnitude;
        sines[i] = static_cast<float>(std::sin(angle)) * table.magnitude;
      }
    }
  });
}

void RopeAngles::rotate(int32_t t, float* head) const {
  const float* cosines = angles_.data() + int64_t{t} * 2 * half_;
  vector_ops().rotate(head, cosines, cosines + half_, half_);
}

}  // namespace qwend::cpu
