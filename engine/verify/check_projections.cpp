// Norm output, Q/K/V before and after RoPE, and which slots of the cache are written.
#include <algorithm>
#include <cmath>
#include <map>

#include "engine/verify/layer_check.h"

namespace qwend::verify {
namespace {

// A value that no model computes for a whole head, and exact in FP16: what a slot holds that nothing wrote
// to.
constexpr float kUntouched = 1234.0f;

// The rows scaled so that their mean square is eps: where a wrong eps shows most.
Rows at_eps(const Rows& x, float eps) {
  Rows scaled = x;
  const double wanted = std::sqrt(static_cast<double>(eps) * static_cast<double>(x.width));
  for (int64_t t = 0; t < x.count(); ++t) {
    const double length = norm(x.row(t));
    for (float& v : scaled.row(t)) v = length == 0.0 ? v : static_cast<float>(v * wanted / length);
  }
  return scaled;
}

std::span<const float> head_of(const Rows& rows, int64_t row, int64_t head, int64_t head_dim) {
  return rows.row(row).subspan(static_cast<size_t>(head * head_dim), static_cast<size_t>(head_dim));
}

bool alike(std::span<const float> a, std::span<const float> b) {
  double off = 0.0;
  for (size_t i = 0; i < a.size(); ++i) off += std::pow(static_cast<double>(a[i]) - b[i], 2);
  return std::sqrt(off) <= 0.01 * norm(b);
}

}  // namespace

void LayerCheck::check_attn_norm(StepShape& shape, const LayerTruth& truth, std::span<const float> weight) {
  const float eps = config_.norm_eps;
  for (const Rows& x : {at_eps(shape.of(truth.x), eps), shape.of(truth.x)}) {
    const Rows want = rms_norm(x, weight, eps);
    Rows got = Rows::zeros(want.count(), want.width);
    for (size_t i = 0; i < selectors_.size(); ++i) {
      const Backend::AttnInput op{
          *weights_->attn_norm,     eps,   *selectors_[i], nullptr, nullptr, nullptr, unrotated_,
          attention_shape(config_), layer_};
      const Rows q = subject_.device.attn_input(op, shape.batch, x).q;
      const auto first = static_cast<int64_t>(i) * q.width;
      for (int64_t t = 0; t < q.count(); ++t) {
        const auto count = static_cast<size_t>(std::min(q.width, want.width - first));
        std::ranges::copy(q.row(t).first(count), got.row(t).begin() + first);
      }
    }
    const Worst worst = relative_error(got, want, want.width);
    Outcome& outcome =
        subject_.record(Stage::AttnNorm, worst, want.count(), &shape, layer_, "attn_norm.weight");
    outcome.detail += values_text(got.row(worst.row), want.row(worst.row));
    if (outcome.passed()) continue;
    // |x w| / |norm| = sqrt(mean square + eps)
    const double mean_square = std::pow(norm(x.row(worst.row)), 2) / static_cast<double>(x.width);
    const double divisor = norm(want.row(worst.row)) * std::sqrt(mean_square + static_cast<double>(eps)) /
                           norm(got.row(worst.row));
    outcome.detail +=
        "; as with eps " + number(divisor * divisor - mean_square) + " instead of " + number(eps);
  }
}

// Names what a wrong head holds, where that is another head or another of `suspects`.
void LayerCheck::compare_heads(Stage stage, StepShape& shape, const Rows& got, const Rows& want,
                               const char* tensor,
                               const std::vector<std::pair<std::string, const Rows*>>& suspects) {
  const int64_t head_dim = config_.head_dim;
  const Worst worst = relative_error(got, want, head_dim);
  Outcome& outcome =
      subject_.record(stage, worst, want.count() * want.width / head_dim, &shape, layer_, tensor, true);
  const auto head = head_of(got, worst.row, worst.part, head_dim);
  outcome.detail += values_text(head, head_of(want, worst.row, worst.part, head_dim));
  if (outcome.passed()) return;
  for (int64_t other = 0; other < want.width / head_dim; ++other) {
    if (other != worst.part && alike(head, head_of(want, worst.row, other, head_dim))) {
      outcome.detail += "; it is head " + std::to_string(other) + "'s";
    }
  }
  for (const auto& [what, rows] : suspects) {
    if (alike(head, head_of(*rows, worst.row, worst.part, head_dim))) outcome.detail += "; " + what;
  }
}

void LayerCheck::check_slots(StepShape& shape) {
  std::vector<int32_t> all(static_cast<size_t>(subject_.device.num_slots()));
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int32_t>(i);
  const KvRows now = subject_.device.read_kv(layer_, all);
  std::map<int32_t, int64_t> token_of;
  for (int64_t t = 0; t < shape.batch.num_tokens(); ++t)
    token_of[shape.batch.slots()[static_cast<size_t>(t)]] = t;
  const auto untouched = [](std::span<const float> row) {
    return std::ranges::any_of(row, [](float v) { return v == kUntouched; });
  };
  Worst worst;
  double wrong = 0.0;
  int32_t first_stray = -1, first_missing = -1;
  for (const int32_t slot : all) {
    const bool written = !untouched(now.keys.row(slot)) && !untouched(now.values.row(slot));
    const auto owner = token_of.find(slot);
    if (written == (owner != token_of.end())) continue;
    ++wrong;
    if (written && first_stray < 0) first_stray = slot;
    if (!written && (worst.row < 0 || owner->second < worst.row)) {
      worst.row = owner->second;
      first_missing = slot;
    }
  }
  worst.error = wrong;
  Outcome& outcome =
      subject_.record(Stage::KvSlots, worst, subject_.device.num_slots(), &shape, layer_, "attn_k");
  if (wrong == 0.0) return;
  if (first_missing >= 0) {
    outcome.detail += "slot " + std::to_string(first_missing) + " was not written; ";
    for (const int32_t step : {1, -1}) {
      const int32_t near = first_missing + step;
      if (near < 0 || near >= subject_.device.num_slots() || token_of.contains(near)) continue;
      if (!untouched(now.keys.row(near))) outcome.detail += "slot " + std::to_string(near) + " was instead; ";
    }
  }
  if (first_stray >= 0)
    outcome.detail +=
        "slot " + std::to_string(first_stray) + " was written, and belongs to no token of the step; ";
  outcome.detail += std::to_string(static_cast<int64_t>(wrong)) + " slots in all";
}

// What the device did to pair i of a head: cos and sin from the vectors before and after.
void LayerCheck::explain_rotation(Outcome& outcome, const Rows& before, const Rows& after, const Worst& worst,
                                  const StepShape& shape) {
  const RopeTable& rope = subject_.model.rope();
  const auto a = head_of(before, worst.row, worst.part, config_.head_dim);
  const auto b = head_of(after, worst.row, worst.part, config_.head_dim);
  const auto half = static_cast<size_t>(rope.rotary_dim / 2);
  const double position = shape.batch.position(worst.row);
  const auto rotated = [&](size_t i, size_t j, size_t pair) {  // error of rotating (a[i], a[j])
    const double angle = position * rope.inv_freq[pair], m = static_cast<double>(rope.magnitude);
    const double c = std::cos(angle) * m, s = std::sin(angle) * m;
    return std::abs(a[i] * c - a[j] * s - b[i]) + std::abs(a[i] * s + a[j] * c - b[j]);
  };
  size_t pair = 0;
  double by_halves = 0.0, interleaved = 0.0;
  for (size_t i = 0; i < half; ++i) {
    const double off = rotated(i, i + half, i);
    if (off > rotated(pair, pair + half, pair)) pair = i;
    by_halves += off;
    interleaved += rotated(2 * i, 2 * i + 1, i);
  }
  const double angle = position * rope.inv_freq[pair],
               size = std::pow(a[pair], 2) + std::pow(a[pair + half], 2);
  const double x = a[pair], y = a[pair + half], u = b[pair], v = b[pair + half];
  outcome.detail += "; pair (" + std::to_string(pair) + ", " + std::to_string(pair + half) + "): angle " +
                    number(angle) + ", cos " + number(std::cos(angle) * rope.magnitude) + ", sin " +
                    number(std::sin(angle) * rope.magnitude) + "; the device turned it by cos " +
                    number((x * u + y * v) / size) + ", sin " + number((x * v - y * u) / size);
  if (interleaved < 0.05 * by_halves) outcome.detail += "; it pairs (2i, 2i+1) instead of (i, i + n/2)";
}

void LayerCheck::check_projections(StepShape& shape, const LayerTruth& truth, const LayerWeights& weights) {
  Side& device = subject_.device;
  const Rows x = shape.of(truth.x);
  const Projections plain{shape.of(truth.unrotated.q), shape.of(truth.unrotated.k),
                          shape.of(truth.unrotated.v)};
  const Projections turned{shape.of(truth.rotated.q), shape.of(truth.rotated.k), shape.of(truth.rotated.v)};

  device.fill_kv(layer_, kUntouched, kUntouched);
  const Projections before =
      device.attn_input(attn_input_op(*weights_, config_, unrotated_, layer_), shape.batch, x);
  check_slots(shape);

  Projections unbiased = plain;
  if (weights.qkv_bias != nullptr && config_.arch->qk_norm == false) {
    const std::vector<float> bias = subject_.reference.backend().read(*weights.qkv_bias);
    auto at = bias.begin();
    for (Rows* rows : {&unbiased.q, &unbiased.k, &unbiased.v}) {
      for (int64_t t = 0; t < rows->count(); ++t) {
        for (int64_t i = 0; i < rows->width; ++i) rows->row(t)[static_cast<size_t>(i)] -= at[i];
      }
      at += rows->width;
    }
  }
  const auto suspects = [&](const Rows& without_bias, const Rows* other, const char* name) {
    std::vector<std::pair<std::string, const Rows*>> list;
    if (weights.qkv_bias != nullptr) list.emplace_back("as without the bias", &without_bias);
    if (other != nullptr) list.emplace_back(std::string("it is ") + name, other);
    return list;
  };
  compare_heads(Stage::QueryUnrotated, shape, before.q, plain.q, "attn_q", suspects(unbiased.q, nullptr, ""));
  compare_heads(Stage::KeyUnrotated, shape, before.k, plain.k, "attn_k", suspects(unbiased.k, &plain.v, "V"));
  compare_heads(Stage::Value, shape, before.v, plain.v, "attn_v", suspects(unbiased.v, &plain.k, "K"));

  const Projections after =
      device.attn_input(attn_input_op(*weights_, config_, subject_.model.rope(), layer_), shape.batch, x);
  const auto compare_rotated = [&](Stage stage, const Rows& got_before, const Rows& got, const Rows& want,
                                   const char* tensor) {
    compare_heads(stage, shape, got, want, tensor, {{"not rotated", &got_before}});
    Outcome& outcome = subject_.report.outcomes.back();
    if (!outcome.passed())
      explain_rotation(outcome, got_before, got, relative_error(got, want, config_.head_dim), shape);
  };
  compare_rotated(Stage::Query, before.q, after.q, turned.q, "attn_q");
  compare_rotated(Stage::Key, before.k, after.k, turned.k, "attn_k");
  compare_heads(Stage::Value, shape, after.v, turned.v, "attn_v", {{"it is K", &turned.k}});
}

}  // namespace qwend::verify
