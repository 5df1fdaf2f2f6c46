// Rotary frequencies with linear and YaRN scaling.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "engine/model/model_config.h"

namespace qwend {

namespace {

// The pair index whose wavelength makes `rotations` turns over the original context (YaRN, Peng et al. 2023).
double pair_of(double rotations, const RopeConfig& rope) {
  return rope.rotary_dim * std::log(rope.original_context / (2.0 * std::numbers::pi * rotations)) /
         (2.0 * std::log(rope.base));
}

// Pairs below `low` turn fast and keep their frequency, those above `high` are interpolated.
double extrapolated_share(int32_t pair, const RopeConfig& rope) {
  const double low = std::max(0.0, std::floor(pair_of(rope.beta_fast, rope)));
  const double high = std::min(rope.rotary_dim - 1.0, std::ceil(pair_of(rope.beta_slow, rope)));
  const double ramp = std::clamp((pair - low) / std::max(0.001, high - low), 0.0, 1.0);
  return rope.ext_factor * (1.0 - ramp);
}

}  // namespace

RopeTable make_rope_table(const RopeConfig& rope) {
  RopeTable table;
  table.rotary_dim = rope.rotary_dim;
  const double interpolation = rope.scaling == RopeScaling::None ? 1.0 : 1.0 / rope.factor;
  for (int32_t i = 0; i < rope.rotary_dim / 2; ++i) {
    const double frequency = std::pow(rope.base, -2.0 * i / rope.rotary_dim);
    const double share = rope.scaling == RopeScaling::Yarn ? extrapolated_share(i, rope) : 0.0;
    table.inv_freq.push_back(frequency * (interpolation * (1.0 - share) + share));
  }
  if (rope.scaling == RopeScaling::Yarn) {
    table.magnitude = static_cast<float>(rope.attn_factor * (1.0 + 0.1 * std::log(rope.factor)));
  }
  return table;
}

}  // namespace qwend
