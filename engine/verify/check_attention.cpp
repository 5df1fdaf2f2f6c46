// Keys and values read back, attention weights one by one, attention output.
//
// The weights that attention gives to each token come out of the real op when the values are rows of the
// identity: value j has a one in dimension j % head_dim, one window of head_dim tokens at a time.
#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/verify/layer_check.h"

namespace qwend::verify {
namespace {

constexpr float kPoisonKey = 6e4f;  // fits into FP16; would take all of a softmax
constexpr float kPoisonValue = std::numeric_limits<float>::quiet_NaN();

// Sums in eight lanes, so that the compiler can use vectors.
float dot(std::span<const float> a, std::span<const float> b) {
  float lanes[8] = {};
  size_t i = 0;
  for (; i + 8 <= a.size(); i += 8) {
    for (size_t l = 0; l < 8; ++l) lanes[l] += a[i + l] * b[i + l];
  }
  for (; i < a.size(); ++i) lanes[0] += a[i] * b[i];
  return ((lanes[0] + lanes[4]) + (lanes[1] + lanes[5])) + ((lanes[2] + lanes[6]) + (lanes[3] + lanes[7]));
}

std::span<const float> head_of(const Rows& rows, int64_t row, int64_t head, int32_t head_dim) {
  return rows.row(row).subspan(static_cast<size_t>(head * head_dim), static_cast<size_t>(head_dim));
}

// softmax(q K^T / sqrt(hd)) of one head over the keys of rows first .. first + out.size().
void softmax_weights(std::span<const float> q, const Rows& keys, int64_t first, int64_t kv_head,
                     std::span<float> out) {
  const auto head_dim = static_cast<int32_t>(q.size());
  const double scale = 1.0 / std::sqrt(static_cast<double>(head_dim));
  double top = -std::numeric_limits<double>::infinity(), sum = 0.0;
  std::vector<double> scores(out.size());
  for (size_t j = 0; j < out.size(); ++j) {
    scores[j] =
        static_cast<double>(dot(q, head_of(keys, first + static_cast<int64_t>(j), kv_head, head_dim))) *
        scale;
    top = std::max(top, scores[j]);
  }
  for (double& s : scores) sum += s = std::exp(s - top);
  for (size_t j = 0; j < out.size(); ++j) out[j] = static_cast<float>(scores[j] / sum);
}

// By how much rounding of queries and keys moves a head's results: see the tolerances in report.cpp.
double score_scale(std::span<const float> q, const Rows& keys, int64_t first, int64_t count,
                   int64_t kv_head) {
  const auto head_dim = static_cast<int32_t>(q.size());
  double longest = 0.0;
  for (int64_t j = 0; j < count; ++j)
    longest = std::max(longest, norm(head_of(keys, first + j, kv_head, head_dim)));
  return 1.0 + norm(q) * longest / (10.0 * std::sqrt(static_cast<double>(head_dim)));
}

}  // namespace

// Gives both sides the reference's keys and values as the device's cache rounds them, and poisons every other
// slot of the device's layer. Returns what the cache holds.
KvRows LayerCheck::write_keys_and_values(const LayerTruth& truth) {
  StepShape& whole = subject_.whole;
  const KvRows exact{truth.rotated.k, truth.rotated.v};
  subject_.device.fill_kv(layer_, kPoisonKey, kPoisonValue, whole.batch.slots());
  subject_.device.write_kv(layer_, whole.batch.slots(), exact);
  KvRows held = subject_.device.read_kv(layer_, whole.batch.slots());
  const Worst keys = relative_error(held.keys, exact.keys, config_.head_dim);
  const Worst values = relative_error(held.values, exact.values, config_.head_dim);
  const bool key_is_worse = keys.error >= values.error;
  const Worst& worst = key_is_worse ? keys : values;
  Outcome& outcome = subject_.record(Stage::KvReadBack, worst, 2 * held.keys.count() * config_.num_kv_heads,
                                     &whole, layer_, key_is_worse ? "attn_k" : "attn_v", true);
  const Rows &got = key_is_worse ? held.keys : held.values, &want = key_is_worse ? exact.keys : exact.values;
  outcome.detail += "slot " + std::to_string(whole.batch.slots()[static_cast<size_t>(worst.row)]) + ": " +
                    values_text(head_of(got, worst.row, worst.part, config_.head_dim),
                                head_of(want, worst.row, worst.part, config_.head_dim));
  return held;
}

// Of each shape, [T, H * window_columns]: the weight on position j of the token's own sequence in column j of
// its head.
std::vector<Rows> LayerCheck::read_attention_weights(const KvRows& kv, const LayerTruth& truth) {
  const int32_t head_dim = config_.head_dim, heads = config_.num_heads;
  StepShape& whole = subject_.whole;
  int32_t longest = 0;
  for (const TestSequence& sequence : subject_.sequences) longest = std::max(longest, sequence.size());
  const int32_t windows = (longest + head_dim - 1) / head_dim, columns = windows * head_dim;
  std::vector<Rows> weights;
  for (StepShape* shape : shapes())
    weights.push_back(Rows::zeros(shape->batch.num_tokens(), int64_t{heads} * columns));
  for (int32_t w = 0; w < windows; ++w) {
    KvRows marked = kv;
    for (int32_t t = 0; t < whole.batch.num_tokens(); ++t) {
      const auto row = marked.values.row(t);
      std::ranges::fill(row, 0.0f);
      const int32_t dimension = whole.batch.position(t) - w * head_dim;
      if (dimension < 0 || dimension >= head_dim) continue;
      for (int32_t head = 0; head < config_.num_kv_heads; ++head)
        row[static_cast<size_t>(head * head_dim + dimension)] = 1.0f;
    }
    subject_.device.write_kv(layer_, whole.batch.slots(), marked);
    for (size_t s = 0; s < weights.size(); ++s) {
      StepShape& shape = *shapes()[s];
      const Rows out = subject_.device.attention(layer_, shape.batch, shape.of(truth.rotated.q));
      for (int64_t t = 0; t < out.count(); ++t) {
        for (int32_t head = 0; head < heads; ++head) {
          std::ranges::copy(head_of(out, t, head, head_dim),
                            weights[s].row(t).begin() + head * columns + w * head_dim);
        }
      }
    }
  }
  return weights;
}

void LayerCheck::check_attention_weights(StepShape& shape, const Rows& got, const KvRows& kv,
                                         const LayerTruth& truth) {
  const int32_t heads = config_.num_heads, group = heads / config_.num_kv_heads;
  const auto columns = static_cast<size_t>(got.width / heads);
  const Rows q = shape.of(truth.rotated.q);
  Rows want = Rows::zeros(got.count(), got.width);
  std::vector<double> scales;
  Worst beyond;
  std::string stray;
  for (int64_t t = 0; t < got.count(); ++t) {
    const int32_t position = shape.batch.position(t);
    const int32_t first = subject_.first_rows[static_cast<size_t>(shape.batch.sequence(t))];
    for (int32_t head = 0; head < heads; ++head) {
      const auto query = head_of(q, t, head, config_.head_dim);
      const auto row = want.row(t).subspan(static_cast<size_t>(head) * columns, columns);
      softmax_weights(query, kv.keys, first, head / group, row.first(static_cast<size_t>(position) + 1));
      scales.push_back(score_scale(query, kv.keys, first, position + 1, head / group));
      const auto device = got.row(t).subspan(static_cast<size_t>(head) * columns, columns);
      for (size_t j = 0; j < columns; ++j) {
        const bool seen = static_cast<int32_t>(j) <= position;
        if (std::isfinite(device[j]) && (seen || device[j] == 0.0f)) {
          if (beyond.row < 0) beyond.take(0.0, t, head);
          continue;
        }
        const double before = beyond.error;
        beyond.take(std::abs(static_cast<double>(device[j])), t, head);
        if (beyond.error == before) continue;
        stray = std::isfinite(device[j])
                    ? "weight " + number(device[j]) + " on position " + std::to_string(j)
                    : "NaN or infinity: a slot that no position up to this one owns was read";
      }
    }
  }
  const int64_t compared = got.count() * heads;
  subject_.record(Stage::Beyond, beyond, compared, &shape, layer_, "", true).detail += stray;

  const Worst worst = absolute_error(got, want, static_cast<int64_t>(columns), scales);
  Outcome& outcome = subject_.record(Stage::AttnWeights, worst, compared, &shape, layer_, "", true);
  const auto a = got.row(worst.row).subspan(static_cast<size_t>(worst.part) * columns, columns);
  const auto b = want.row(worst.row).subspan(static_cast<size_t>(worst.part) * columns, columns);
  const auto j = static_cast<size_t>(worst_element(a, b));
  outcome.detail +=
      "on position " + std::to_string(j) + ": device " + number(a[j]) + ", reference " + number(b[j]);
  if (outcome.passed()) return;
  for (int32_t other = 0; other < config_.num_kv_heads; ++other) {  // another head's keys?
    std::vector<float> weights(static_cast<size_t>(outcome.place.position) + 1);
    softmax_weights(head_of(q, worst.row, worst.part, config_.head_dim), kv.keys,
                    subject_.first_rows[static_cast<size_t>(outcome.place.sequence)], other, weights);
    bool same = true;
    for (size_t i = 0; i < weights.size(); ++i) same = same && std::abs(weights[i] - a[i]) < 1e-2f;
    if (same) {
      outcome.detail += "; as with the keys of KV head " + std::to_string(other) + " instead of " +
                        std::to_string(worst.part / group);
    }
  }
}

// Row sums with values of 1, then the output with the real values.
void LayerCheck::check_attention_output(StepShape& shape, const KvRows& kv, const Rows& fair,
                                        const LayerTruth& truth) {
  const Rows q = shape.of(truth.rotated.q), want = shape.of(fair);
  const int64_t compared = want.count() * config_.num_heads;
  const auto slots = subject_.whole.batch.slots();
  KvRows ones = kv;
  std::ranges::fill(ones.values.values, 1.0f);
  subject_.device.write_kv(layer_, slots, ones);
  const Rows sums = subject_.device.attention(layer_, shape.batch, q);
  const Rows one{sums.width, std::vector<float>(sums.values.size(), 1.0f)};
  const Worst sum = absolute_error(sums, one, config_.head_dim);
  subject_.record(Stage::RowSums, sum, compared, &shape, layer_, "", true).detail +=
      "sum " + number(head_of(sums, sum.row, sum.part, config_.head_dim)[0]);

  subject_.device.write_kv(layer_, slots, kv);
  const Rows got = subject_.device.attention(layer_, shape.batch, q);
  Rows got_scaled = got, want_scaled = want;  // the error alone is divided: see the tolerances
  for (int64_t t = 0; t < got.count(); ++t) {
    const int32_t first = subject_.first_rows[static_cast<size_t>(shape.batch.sequence(t))];
    for (int64_t head = 0; head < config_.num_heads; ++head) {
      const double scale =
          score_scale(head_of(q, t, head, config_.head_dim), kv.keys, first, shape.batch.position(t) + 1,
                      head / (config_.num_heads / config_.num_kv_heads));
      for (int64_t d = head * config_.head_dim; d < (head + 1) * config_.head_dim; ++d) {
        float& value = got_scaled.row(t)[static_cast<size_t>(d)];
        const float right = want.row(t)[static_cast<size_t>(d)];
        value = static_cast<float>(right + (value - right) / scale);
      }
    }
  }
  const Worst worst = relative_error(got_scaled, want_scaled, config_.head_dim);
  subject_.record(Stage::AttnOutput, worst, compared, &shape, layer_, "", true).detail +=
      values_text(head_of(got, worst.row, worst.part, config_.head_dim),
                  head_of(want, worst.row, worst.part, config_.head_dim));
}

void LayerCheck::check_attention(const LayerTruth& truth) {
  const KvRows kv = write_keys_and_values(truth);
  Rows fair = truth.attention;  // of the rounded keys and values
  if (kv.keys.values != truth.rotated.k.values || kv.values.values != truth.rotated.v.values) {
    subject_.reference.write_kv(0, subject_.whole.batch.slots(), kv);
    fair = subject_.reference.attention(0, subject_.whole.batch, truth.rotated.q);
  }
  const std::vector<Rows> weights = read_attention_weights(kv, truth);
  for (size_t s = 0; s < weights.size(); ++s) check_attention_weights(*shapes()[s], weights[s], kv, truth);
  for (StepShape* shape : shapes()) check_attention_output(*shape, kv, fair, truth);
}

}  // namespace qwend::verify
