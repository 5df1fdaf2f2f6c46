// Attention's output projection, the feed-forward network, and the residual stream.
#include <algorithm>
#include <cmath>

#include "engine/verify/layer_check.h"

namespace qwend::verify {
namespace {

// A sum in FP32 is rounded to 2^-24 of its size; four times that for its two terms and their difference.
constexpr double kSumRounding = 0x1p-22;

}  // namespace

// What an op adds to the residual: the difference of the sums. skip: rows that say nothing.
void LayerCheck::check_update(Stage stage, StepShape& shape, const char* tensor, const Rows& got,
                              const Rows& want, const Rows& before, std::span<const int32_t> skip) {
  std::vector<double> slack;
  for (int64_t t = 0; t < before.count(); ++t) {
    const bool skipped = std::ranges::find(skip, static_cast<int32_t>(t)) != skip.end();
    slack.push_back(skipped ? INFINITY : kSumRounding * (norm(before.row(t)) + norm(want.row(t))));
  }
  const Rows a = subtract(got, before), b = subtract(want, before);
  const Worst worst = relative_error(a, b, b.width, slack);
  Outcome& outcome =
      subject_.record(stage, worst, b.count() - static_cast<int64_t>(skip.size()), &shape, layer_, tensor);
  outcome.detail += values_text(a.row(worst.row), b.row(worst.row));
}

void LayerCheck::check_projection(StepShape& shape, const LayerTruth& truth) {
  const Rows x = shape.of(truth.x);
  const Rows got =
      subject_.device.linear_residual(*weights_->attn_output, shape.batch, shape.of(truth.attention), x);
  check_update(Stage::Projection, shape, "attn_output.weight", got, shape.of(truth.mid), x, {});
}

void LayerCheck::check_dense_ffn(StepShape& shape, const LayerTruth& truth,
                                 std::span<const float> norm_weight) {
  Side& device = subject_.device;
  const Rows x = shape.of(truth.mid);

  // Gate and up both the identity: silu(n) n.
  Rows want = rms_norm(x, norm_weight, config_.norm_eps);
  for (float& n : want.values) n = n * n / (1.0f + std::exp(-n));
  const Rows normed = device.gated(*weights_->ffn_norm, *identity_, shape.batch, x);
  Worst worst = relative_error(normed, want, want.width);
  subject_.record(Stage::FfnNorm, worst, want.count(), &shape, layer_, "ffn_norm.weight").detail +=
      values_text(normed.row(worst.row), want.row(worst.row));

  const Rows hidden = shape.of(truth.hidden), got_hidden = device.gate_up(*weights_, shape.batch, x);
  worst = relative_error(got_hidden, hidden, hidden.width);
  subject_.record(Stage::FfnHidden, worst, hidden.count(), &shape, layer_, "ffn_gate.weight").detail +=
      values_text(got_hidden.row(worst.row), hidden.row(worst.row));

  const Rows out = shape.of(truth.out), got = device.linear_residual(*weights_->down, shape.batch, hidden, x);
  check_update(Stage::FfnOutput, shape, "ffn_down.weight", got, out, x, {});
  worst = relative_error(got, out, out.width);
  subject_.record(Stage::Residual, worst, out.count(), &shape, layer_).detail +=
      values_text(got.row(worst.row), out.row(worst.row));
}

// Tokens whose last expert chosen and first one left out are closer than the device's rounding: both choices
// are right and lead to different outputs.
std::vector<int32_t> LayerCheck::near_ties(const Rows& router) const {
  std::vector<int32_t> tied;
  const auto used = static_cast<size_t>(config_.moe.num_used);
  if (used >= static_cast<size_t>(router.width)) return tied;
  for (int64_t t = 0; t < router.count(); ++t) {
    std::vector<float> sorted(router.row(t).begin(), router.row(t).end());
    std::ranges::sort(sorted, std::greater<>());
    // What the tolerance leaves to one logit, for each of the two, and as much again.
    const double one = info(Stage::Router).tolerance(subject_.numerics) * norm(router.row(t)) /
                       std::sqrt(static_cast<double>(router.width));
    if (sorted[used - 1] - sorted[used] < 4 * one) tied.push_back(static_cast<int32_t>(t));
  }
  return tied;
}

// Near ties are left out.
void LayerCheck::check_moe_ffn(StepShape& shape, const LayerTruth& truth, const Rows& all_router) {
  const Rows x = shape.of(truth.mid), out = shape.of(truth.out), router = shape.of(all_router);
  const Rows got_router = subject_.device.logits(*weights_->ffn_norm, *weights_->router, shape.batch, x);
  const Worst worst_router = relative_error(got_router, router, router.width);
  subject_.record(Stage::Router, worst_router, router.count(), &shape, layer_, "ffn_gate_inp.weight")
      .detail += values_text(got_router.row(worst_router.row), router.row(worst_router.row));

  const std::vector<int32_t> tied = near_ties(router);
  const Rows got = subject_.device.moe_ffn(moe_ffn_op(*weights_, config_), shape.batch, x);
  check_update(Stage::FfnOutput, shape, "ffn_down_exps.weight", got, out, x, tied);
  Rows comparable = got;
  for (const int32_t t : tied) std::ranges::copy(out.row(t), comparable.row(t).begin());
  const Worst worst = relative_error(comparable, out, out.width);
  subject_.record(Stage::Residual, worst, out.count() - static_cast<int64_t>(tied.size()), &shape, layer_)
      .detail += values_text(got.row(worst.row), out.row(worst.row));
}

}  // namespace qwend::verify
