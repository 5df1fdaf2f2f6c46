#include "engine/verify/check_output.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "engine/verify/forward.h"
#include "kernels/check.h"
#include "kernels/quant/formats.h"

namespace qwend::verify {
namespace {

constexpr int64_t kVocabularyChunk =
    16384;  // rows of the output matrix in FP32 at once on the reference's side

// The reference's logits, some rows of the output matrix at a time: a large vocabulary in FP32 would take
// gigabytes. [T, V]
Rows reference_logits(Subject& subject, const Rows& x) {
  const char* name = subject.config().tied_output ? "token_embd.weight" : "output.weight";
  const gguf::TensorInfo& output = *subject.file.find_tensor(name);
  const gguf::TensorInfo& norm_tensor = *subject.file.find_tensor("output_norm.weight");
  std::vector<float> weight(static_cast<size_t>(norm_tensor.elements()));
  dequantize(norm_tensor.dtype, norm_tensor.data, weight.data(), norm_tensor.elements());
  Backend& host = subject.reference.backend();
  const Vector norm = host.upload_vector(weight);
  Rows all = Rows::zeros(x.count(), output.rows());
  for (int64_t first = 0; first < output.rows(); first += kVocabularyChunk) {
    HostMatrix part = output.matrix();
    part.rows = std::min(kVocabularyChunk, output.rows() - first);
    part.data += static_cast<size_t>(first) * format_bytes(output.dtype, output.cols());
    const Matrix matrix = host.upload({&part, 1});
    const Rows some = subject.reference.logits(*norm, *matrix, subject.whole.batch, x);
    for (int64_t t = 0; t < some.count(); ++t) std::ranges::copy(some.row(t), all.row(t).begin() + first);
  }
  return all;
}

struct Distribution {
  double log_sum = 0.0;  // log of the sum of e^logit
  double spread = 0.0;   // standard deviation of the logits
};

Distribution describe(std::span<const float> logits) {
  double top = -INFINITY, mean = 0.0, square = 0.0, sum = 0.0;
  for (const float x : logits) {
    top = std::max(top, static_cast<double>(x));
    mean += x, square += static_cast<double>(x) * x;
  }
  for (const float x : logits) sum += std::exp(x - top);
  mean /= static_cast<double>(logits.size()), square /= static_cast<double>(logits.size());
  return {top + std::log(sum), std::sqrt(std::max(0.0, square - mean * mean))};
}

// Sum over tokens of p log(p / q), p the reference.
double divergence(std::span<const float> got, std::span<const float> want) {
  const double p_sum = describe(want).log_sum, q_sum = describe(got).log_sum;
  double sum = 0.0;
  for (size_t i = 0; i < want.size(); ++i) {
    const double log_p = want[i] - p_sum;
    sum += std::exp(log_p) * (log_p - (got[i] - q_sum));
  }
  return std::max(sum, 0.0);
}

double largest_difference(std::span<const float> a, std::span<const float> b) {
  const auto i = static_cast<size_t>(worst_element(a, b));
  return std::abs(static_cast<double>(a[i]) - b[i]);
}

void check_logits(Subject& subject, Stage stage, const Rows& got, const Rows& want) {
  const Worst worst = relative_error(got, want, want.width);
  Outcome& outcome = subject.record(stage, worst, want.count(), &subject.whole, -1,
                                    subject.config().tied_output ? "token_embd.weight" : "output.weight");
  outcome.detail = values_text(got.row(worst.row), want.row(worst.row)) + "; largest absolute error " +
                   number(largest_difference(got.row(worst.row), want.row(worst.row)));
}

void check_divergence(Subject& subject, const Rows& got, const Rows& want) {
  Worst worst;
  double sum = 0.0;
  for (int64_t t = 0; t < want.count(); ++t) {
    const double d = divergence(got.row(t), want.row(t));
    sum += d;
    worst.take(d, t);
  }
  const double largest = worst.error;
  worst.error = std::isnan(sum) ? INFINITY : sum / static_cast<double>(want.count());
  subject.record(Stage::Divergence, worst, want.count(), &subject.whole).detail =
      "largest " + number(largest);
}

// Counts positions where the device prefers another token although the reference's margin between the two
// exceeds what the tolerated error of the logits can turn round.
void check_top1(Subject& subject, const Rows& got, const Rows& want) {
  const double tolerance = info(Stage::ForwardLogits).tolerance(subject.numerics);
  Worst top1{0.0, -1, -1}, greedy{0.0, -1, -1};
  int64_t equal = 0, generated = 0, generated_equal = 0;
  std::string top1_text, greedy_text;
  for (int64_t t = 0; t < want.count(); ++t) {
    const int32_t a = argmax(got.row(t)), b = argmax(want.row(t));
    const double margin =
        static_cast<double>(want.row(t)[static_cast<size_t>(b)]) - want.row(t)[static_cast<size_t>(a)];
    const double bound = 2 * tolerance * describe(want.row(t)).spread;
    const auto sequence = static_cast<size_t>(subject.whole.batch.sequence(t));
    const int32_t position = subject.whole.batch.position(t);
    const std::string text = "device token " + std::to_string(a) + ", reference " + std::to_string(b) +
                             " ahead by " + number(margin);
    equal += a == b;
    if (a != b && !(margin <= bound)) {
      if (top1.row < 0) top1.row = t, top1_text = text;
      ++top1.error;
    }
    // What the device generated in decoding steps, from the last token of the prompt on.
    if (position + 1 < subject.prompt_lengths[sequence] || position + 1 >= subject.sequences[sequence].size())
      continue;
    const int32_t chosen = subject.sequences[sequence].tokens[static_cast<size_t>(position) + 1];
    ++generated;
    generated_equal += chosen == b;
    const double behind =
        static_cast<double>(want.row(t)[static_cast<size_t>(b)]) - want.row(t)[static_cast<size_t>(chosen)];
    if (chosen != b && !(behind <= bound)) {
      if (greedy.row < 0) {
        greedy.row = t;
        greedy_text = "device token " + std::to_string(chosen) + ", reference " + std::to_string(b) +
                      " ahead by " + number(behind) + "; ";
      }
      ++greedy.error;
    }
  }
  const auto share = [](int64_t n, int64_t of) {
    return std::to_string(n) + " of " + std::to_string(of) + " equal";
  };
  subject.record(Stage::Top1, top1, want.count(), &subject.whole).detail =
      (top1_text.empty() ? "" : top1_text + "; ") + share(equal, want.count());
  subject.record(Stage::Greedy, greedy, generated, &subject.whole).detail =
      greedy_text + share(generated_equal, generated);
}

int64_t distinct(const Rows& logits) {
  std::set<int32_t> tokens;
  for (int64_t t = 0; t < logits.count(); ++t) tokens.insert(argmax(logits.row(t)));
  return static_cast<int64_t>(tokens.size());
}

}  // namespace

Rows check_output(Subject& subject, LayerCheck& layers, const Rows& x) {
  const gguf::TensorInfo& norm_tensor = *subject.file.find_tensor("output_norm.weight");
  std::vector<float> weight(static_cast<size_t>(norm_tensor.elements()));
  dequantize(norm_tensor.dtype, norm_tensor.data, weight.data(), norm_tensor.elements());
  layers.check_norm_by_logits(Stage::FinalNorm, -1, "output_norm.weight", subject.model.output_norm(), weight,
                              x);

  Batch& batch = subject.whole.batch;
  const Rows want = reference_logits(subject, x);
  check_logits(subject, Stage::Logits,
               subject.device.logits(subject.model.output_norm(), subject.model.output(), batch, x), want);
  Rows own = forward(subject.model, subject.device.backend(), subject.device.kv(), batch, batch.all_rows());
  check_logits(subject, Stage::ForwardLogits, own, want);
  check_divergence(subject, own, want);
  check_top1(subject, own, want);

  const int64_t here = distinct(own), there = distinct(want);
  Worst same{here == 1 && there > 1 ? 1.0 : 0.0, 0, 0};
  subject.record(Stage::Diverse, same, own.count()).detail = "the device prefers " + std::to_string(here) +
                                                             " different tokens, the reference " +
                                                             std::to_string(there);
  return own;
}

}  // namespace qwend::verify
