#include "engine/verify/check_weights.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "kernels/check.h"
#include "kernels/quant/formats.h"

namespace qwend::verify {
namespace {

constexpr int64_t kSampledRows = 64;         // of a matrix; of a stack of experts at least 2 of each
constexpr int64_t kChunkElements = 1 << 22;  // read from the device at once

// FNV-1a over the values' bits: equal for equal values.
uint64_t checksum(uint64_t hash, std::span<const float> values) {
  for (const float v : values) hash = (hash ^ std::bit_cast<uint32_t>(v)) * 0x100000001b3u;
  return hash;
}

// Rows of one tensor in a matrix that may hold several.
struct Part {
  const gguf::TensorInfo* tensor;
  int64_t first_row;  // in each expert of the matrix
};

// Reads tensor rows from the file, as FP32.
std::vector<float> file_rows(const gguf::TensorInfo& tensor, int64_t first, int64_t count) {
  std::vector<float> rows(static_cast<size_t>(count * tensor.cols()));
  const size_t row_bytes = format_bytes(tensor.dtype, tensor.cols());
  dequantize(tensor.dtype, tensor.data + static_cast<size_t>(first) * row_bytes, rows.data(),
             count * tensor.cols());
  return rows;
}

struct Totals {
  Worst worst;
  std::string tensor, detail;  // of the worst
  int64_t rows = 0, zero_rows = 0, tensors = 0;
  int64_t non_finite = 0;
  std::string zero_tensor;
  uint64_t file_sum = 0xcbf29ce484222325u, device_sum = 0xcbf29ce484222325u;
};

class WeightCheck {
 public:
  WeightCheck(Subject& subject, bool all_rows, const Progress& progress)
      : subject_(subject), all_rows_(all_rows), progress_(progress) {
    for (const gguf::TensorInfo& tensor : subject.file.tensors()) total_bytes_ += tensor.bytes;
  }

  void matrix(const DeviceMatrix& matrix, const std::vector<std::string>& tensors) {
    int64_t rows = 0;
    for (const std::string& name : tensors) {
      const gguf::TensorInfo* tensor = subject_.file.find_tensor(name);
      CHECK(tensor != nullptr);
      if (tensor->cols() != matrix.cols() || tensor->experts() != matrix.experts()) {
        fail(name, "[" + std::to_string(matrix.cols()) + ", ..., " + std::to_string(matrix.experts()) +
                       "] on the device, [" + std::to_string(tensor->cols()) + ", ..., " +
                       std::to_string(tensor->experts()) + "] in the file");
        return;
      }
      rows += tensor->rows();
    }
    if (rows != matrix.rows()) {
      fail(tensors.front(),
           std::to_string(matrix.rows()) + " rows on the device, " + std::to_string(rows) + " in the file");
      return;
    }
    int64_t first = 0;
    for (const std::string& name : tensors) {
      const gguf::TensorInfo& tensor = *subject_.file.find_tensor(name);
      part(matrix, {&tensor, first});
      first += tensor.rows();
      done(tensor);
    }
  }

  void vector(const DeviceVector& vector, const std::vector<std::string>& tensors) {
    std::vector<float> want;
    for (const std::string& name : tensors) {
      const gguf::TensorInfo& tensor = *subject_.file.find_tensor(name);
      const size_t at = want.size();
      want.resize(at + static_cast<size_t>(tensor.elements()));
      dequantize(tensor.dtype, tensor.data, want.data() + at, tensor.elements());
      done(tensor);
      ++vectors_.tensors;
    }
    const std::vector<float> got = subject_.device.backend().read(vector);
    if (got.size() != want.size()) {
      vectors_.worst.take(INFINITY, 0);
      vectors_.tensor = tensors.front();
      vectors_.detail = std::to_string(got.size()) + " values on the device, " + std::to_string(want.size()) +
                        " in the file";
      return;
    }
    compare(vectors_, tensors.front(), 0, got, want);
  }

  void finish() {
    Outcome& weights = record(Stage::Weights, weights_);
    weights.detail += (weights_.detail.empty() ? "" : "; ") + std::to_string(weights_.tensors) +
                      " tensors, checksums " +
                      (weights_.file_sum == weights_.device_sum ? "equal" : "differ");
    record(Stage::Vectors, vectors_);
    if (weights_.zero_rows > 0) {
      subject_.report.notes.push_back(std::to_string(weights_.zero_rows) + " rows are all zero, first in " +
                                      weights_.zero_tensor);
    }
  }

 private:
  void part(const DeviceMatrix& matrix, const Part& part) {
    const int64_t rows = part.tensor->rows(), cols = part.tensor->cols();
    const int64_t chunk = std::max<int64_t>(1, kChunkElements / cols);
    const int64_t share = std::max<int64_t>(2, kSampledRows / part.tensor->experts());
    const int64_t sampled = all_rows_ ? rows : std::min(rows, share);
    ++weights_.tensors;
    for (int64_t expert = 0; expert < part.tensor->experts(); ++expert) {
      const int64_t device_first = expert * matrix.rows() + part.first_row, file_first = expert * rows;
      for (int64_t i = 0; i < sampled;) {
        // A sample is spread evenly, the first and the last row among it.
        const int64_t row = sampled == rows ? i : i * (rows - 1) / (sampled - 1);
        const int64_t count = sampled == rows ? std::min(chunk, rows - i) : 1;
        compare(weights_, std::string(part.tensor->name), file_first + row,
                subject_.device.backend().read_rows(matrix, device_first + row, count),
                file_rows(*part.tensor, file_first + row, count), cols);
        i += count;
      }
    }
  }

  // cols 0: one vector.
  void compare(Totals& totals, const std::string& tensor, int64_t first_row, std::span<const float> got,
               std::span<const float> want, int64_t cols = 0) {
    totals.file_sum = checksum(totals.file_sum, want);
    totals.device_sum = checksum(totals.device_sum, got);
    const size_t width = cols == 0 ? want.size() : static_cast<size_t>(cols);
    for (size_t at = 0; at < want.size(); at += width) {
      const auto a = got.subspan(at, width), b = want.subspan(at, width);
      ++totals.rows;
      float largest = 0.0f;
      for (const float v : b) {
        if (!std::isfinite(v)) ++totals.non_finite;
        largest = std::max(largest, std::abs(v));
      }
      if (largest == 0.0f && cols != 0 && totals.zero_rows++ == 0) totals.zero_tensor = tensor;
      const auto i = static_cast<size_t>(worst_element(a, b));
      const double off = std::abs(static_cast<double>(a[i]) - b[i]);
      const double error = off == 0.0 ? 0.0 : off / largest;
      if (!(error > totals.worst.error)) {
        if (!std::isnan(error)) continue;
      }
      const int64_t row = first_row + static_cast<int64_t>(at / width);
      totals.worst.take(error, row);
      totals.tensor = tensor;
      totals.detail = "row " + std::to_string(row) + ", column " + std::to_string(i) + ": device " +
                      number(a[i]) + ", file " + number(b[i]);
      if (error > 0.0 && is_column(tensor, row, a)) totals.detail += "; the matrix is transposed";
    }
  }

  // Whether `values` are column `row` of a square tensor.
  bool is_column(const std::string& name, int64_t row, std::span<const float> values) const {
    const gguf::TensorInfo& tensor = *subject_.file.find_tensor(name);
    if (tensor.rows() != tensor.cols() || row >= tensor.rows()) return false;
    for (int64_t r = 0; r < tensor.rows(); ++r) {
      const float want = file_rows(tensor, r, 1)[static_cast<size_t>(row)];
      if (std::abs(values[static_cast<size_t>(r)] - want) > 1e-3f * std::abs(want)) return false;
    }
    return true;
  }

  void fail(const std::string& tensor, const std::string& what) {
    weights_.worst.take(INFINITY, 0);
    weights_.tensor = tensor;
    weights_.detail = what;
  }

  Outcome& record(Stage stage, const Totals& totals) {
    Worst worst = totals.worst;
    if (totals.non_finite > 0) worst.take(INFINITY, 0);
    Outcome& outcome = subject_.record(stage, worst, totals.rows, nullptr, -1, totals.tensor);
    outcome.detail = totals.worst.error > 0.0 ? totals.detail : "";
    if (totals.tensor.starts_with("blk.")) outcome.place.layer = std::stoi(totals.tensor.substr(4));
    if (totals.non_finite > 0)
      outcome.detail += std::to_string(totals.non_finite) + " values are NaN or infinite";
    return outcome;
  }

  void done(const gguf::TensorInfo& tensor) {
    done_bytes_ += tensor.bytes;
    if (progress_) progress_(done_bytes_, total_bytes_);
  }

  Subject& subject_;
  const bool all_rows_;
  const Progress& progress_;
  Totals weights_, vectors_;
  uint64_t done_bytes_ = 0, total_bytes_ = 0;
};

}  // namespace

void check_weights(Subject& subject, bool all_rows, const Progress& progress) {
  WeightCheck check(subject, all_rows, progress);
  const QwenModel& model = subject.model;
  check.matrix(model.embedding(), {"token_embd.weight"});
  if (!model.config().tied_output) check.matrix(model.output(), {"output.weight"});
  check.vector(model.output_norm(), {"output_norm.weight"});
  const auto rules = layer_weight_rules(*model.config().arch, TensorLayout::of(subject.file));
  for (int32_t i = 0; i < model.config().num_layers; ++i) {
    const LayerWeights& weights = model.layer(i);
    for (const LayerWeightRule& rule : rules) {
      std::vector<std::string> names;
      for (const std::string_view name : rule.tensors) names.push_back(layer_tensor(i, name));
      if (rule.matrix != nullptr) {
        check.matrix(*(weights.*rule.matrix), names);
      } else {
        check.vector(*(weights.*rule.vector), names);
      }
    }
  }
  check.finish();
}

Rows check_embeddings(Subject& subject) {
  const gguf::TensorInfo& table = *subject.file.find_tensor("token_embd.weight");
  Batch& batch = subject.whole.batch;
  Rows want{table.cols(), {}};
  for (int32_t t = 0; t < batch.num_tokens(); ++t) {
    const std::vector<float> row = file_rows(table, batch.token(t), 1);
    want.values.insert(want.values.end(), row.begin(), row.end());
  }
  const Rows got = subject.device.embed(subject.model.embedding(), batch);
  const Worst worst = relative_error(got, want, want.width);
  Outcome& outcome =
      subject.record(Stage::Embeddings, worst, want.count(), &subject.whole, -1, "token_embd.weight");
  outcome.detail = "token " + std::to_string(batch.token(worst.row)) + ": " +
                   values_text(got.row(worst.row), want.row(worst.row));
  return want;
}

}  // namespace qwend::verify
