#include "engine/verify/layer_check.h"

#include <algorithm>
#include <cmath>

namespace qwend::verify {
namespace {

constexpr uint16_t kHalfOne = 0x3c00;

// [rows, cols] in FP16; row r selects column first + r, and is zero where that is past the end.
Matrix upload_selector(Backend& backend, int64_t rows, int64_t cols, int64_t first) {
  std::vector<uint16_t> values(static_cast<size_t>(rows * cols));
  for (int64_t r = 0; r < rows && first + r < cols; ++r)
    values[static_cast<size_t>(r * cols + first + r)] = kHalfOne;
  const HostMatrix matrix{
      "selector", reinterpret_cast<const std::byte*>(values.data()), DType::F16, rows, cols, 1};
  return backend.upload({&matrix, 1});
}

Matrix upload_identity_twice(Backend& backend, int64_t width) {
  std::vector<uint16_t> values(static_cast<size_t>(width * width));
  for (int64_t i = 0; i < width; ++i) values[static_cast<size_t>(i * (width + 1))] = kHalfOne;
  const HostMatrix matrix{
      "identity", reinterpret_cast<const std::byte*>(values.data()), DType::F16, width, width, 1};
  const HostMatrix parts[] = {matrix, matrix};
  return backend.upload(parts);
}

}  // namespace

LayerCheck::LayerCheck(Subject& subject) : subject_(subject), config_(subject.config()) {
  unrotated_ = subject.model.rope();
  std::ranges::fill(unrotated_.inv_freq, 0.0);
  unrotated_.magnitude = 1.0f;
  const int64_t queries = int64_t{config_.num_heads} * config_.head_dim;
  const int64_t rows = queries + int64_t{2} * config_.num_kv_heads * config_.head_dim;
  for (int64_t first = 0; first < config_.embedding; first += queries) {
    selectors_.push_back(upload_selector(subject.device.backend(), rows, config_.embedding, first));
  }
  identity_ = upload_identity_twice(subject.device.backend(), config_.embedding);
}

LayerTruth LayerCheck::compute_truth(const LayerWeights& weights, const Rows& x) {
  Side& reference = subject_.reference;
  Batch& batch = subject_.whole.batch;
  LayerTruth truth;
  truth.x = x;
  truth.unrotated = reference.attn_input(attn_input_op(weights, config_, unrotated_, 0), batch, x);
  truth.rotated = reference.attn_input(attn_input_op(weights, config_, subject_.model.rope(), 0), batch, x);
  truth.attention = reference.attention(0, batch, truth.rotated.q);
  truth.mid = reference.linear_residual(*weights.attn_output, batch, truth.attention, x);
  if (config_.arch->moe) {
    truth.out = reference.moe_ffn(moe_ffn_op(weights, config_), batch, truth.mid);
  } else {
    truth.hidden = reference.gate_up(weights, batch, truth.mid);
    truth.out = reference.linear_residual(*weights.down, batch, truth.hidden, truth.mid);
  }
  return truth;
}

Rows LayerCheck::run(int32_t layer, const LayerWeights& weights, const Rows& x, Rows& own) {
  layer_ = layer;
  weights_ = &subject_.model.layer(layer);
  Batch& batch = subject_.whole.batch;
  torn_.resize(static_cast<size_t>(own.count()));
  own = subject_.device.layer(*weights_, subject_.model.rope(), layer, batch, own);

  const LayerTruth truth = compute_truth(weights, x);
  Backend& host = subject_.reference.backend();
  const std::vector<float> attn_norm = host.read(*weights.attn_norm), ffn_norm = host.read(*weights.ffn_norm);
  for (StepShape* shape : shapes()) {
    check_attn_norm(*shape, truth, attn_norm);
    check_projections(*shape, truth, weights);
  }
  check_attention(truth);
  for (StepShape* shape : shapes()) check_projection(*shape, truth);
  if (config_.arch->moe) {
    check_norm_by_logits(Stage::FfnNorm, layer, "ffn_norm.weight", *weights_->ffn_norm, ffn_norm, truth.mid);
    const Rows router = subject_.reference.logits(*weights.ffn_norm, *weights.router, batch, truth.mid);
    for (StepShape* shape : shapes()) check_moe_ffn(*shape, truth, router);
    for (const int32_t t : near_ties(router)) torn_[static_cast<size_t>(t)] = true;
  } else {
    for (StepShape* shape : shapes()) check_dense_ffn(*shape, truth, ffn_norm);
  }
  Rows comparable = own;
  int64_t left_out = 0;
  for (int64_t t = 0; t < own.count(); ++t) {
    if (!torn_[static_cast<size_t>(t)]) continue;
    std::ranges::copy(truth.out.row(t), comparable.row(t).begin());
    ++left_out;
  }
  const Worst worst = relative_error(comparable, truth.out, own.width);
  Outcome& outcome =
      subject_.record(Stage::Cumulative, worst, own.count() - left_out, &subject_.whole, layer);
  outcome.detail = values_text(own.row(worst.row), truth.out.row(worst.row));
  return truth.out;
}

Rows LayerCheck::rms_norm(const Rows& x, std::span<const float> weight, float eps) {
  Rows result = x;
  for (int64_t t = 0; t < x.count(); ++t) {
    const double length = norm(x.row(t));
    const double scale =
        1.0 / std::sqrt(length * length / static_cast<double>(x.width) + static_cast<double>(eps));
    const auto row = result.row(t);
    for (size_t i = 0; i < row.size(); ++i)
      row[i] = static_cast<float>(row[i] * scale * static_cast<double>(weight[i]));
  }
  return result;
}

void LayerCheck::check_norm_by_logits(Stage stage, int32_t layer, const char* tensor,
                                      const DeviceVector& vector, std::span<const float> weight,
                                      const Rows& x) {
  Rows twice = subject_.device.logits(vector, *identity_, subject_.whole.batch, x);  // [T, 2 D]
  Rows got{x.width, {}};
  for (int64_t t = 0; t < x.count(); ++t) {
    const auto row = twice.row(t).first(static_cast<size_t>(x.width));
    got.values.insert(got.values.end(), row.begin(), row.end());
  }
  const Rows want = rms_norm(x, weight, config_.norm_eps);
  const Worst worst = relative_error(got, want, want.width);
  Outcome& outcome = subject_.record(stage, worst, want.count(), &subject_.whole, layer, tensor);
  outcome.detail = values_text(got.row(worst.row), want.row(worst.row));
}

}  // namespace qwend::verify
