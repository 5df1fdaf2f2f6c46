// Rotation of heads against the definition in double precision.
#include <cmath>

#include "kernels/cpu/rope.h"
#include "tests/support/catch2.h"

using namespace qwend;

TEST_CASE("heads are rotated by pairs (i, i + n/2)", "[kernels][rope]") {
  for (const int32_t rotary_dim : {2, 8, 64, 80, 128}) {
    const int32_t head_dim = rotary_dim + 16;  // the rest passes through
    RopeTable table;
    table.rotary_dim = rotary_dim;
    table.magnitude = 1.25f;
    for (int32_t i = 0; i < rotary_dim / 2; ++i)
      table.inv_freq.push_back(std::pow(1e6, -2.0 * i / rotary_dim));
    const std::vector<int32_t> positions{0, 1, 77, 131071, 1000003};
    cpu::ThreadPool pool(2);
    cpu::RopeAngles angles;
    angles.prepare(table, positions, pool);
    for (size_t t = 0; t < positions.size(); ++t) {
      std::vector<float> head(static_cast<size_t>(head_dim));
      for (size_t d = 0; d < head.size(); ++d) head[d] = std::sin(static_cast<float>(d) + 0.5f);
      const std::vector<float> before = head;
      angles.rotate(static_cast<int32_t>(t), head.data());
      const auto half = static_cast<size_t>(rotary_dim / 2);
      for (size_t i = 0; i < half; ++i) {
        const double angle = positions[t] * table.inv_freq[i];
        const double a = static_cast<double>(before[i]), b = static_cast<double>(before[i + half]);
        CHECK(head[i] == Approx(1.25 * (a * std::cos(angle) - b * std::sin(angle))).margin(1e-6));
        CHECK(head[i + half] == Approx(1.25 * (a * std::sin(angle) + b * std::cos(angle))).margin(1e-6));
      }
      for (size_t d = 2 * half; d < head.size(); ++d) CHECK(head[d] == before[d]);
    }
  }
}
