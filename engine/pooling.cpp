#include "engine/pooling.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/error.h"
#include "kernels/quant/formats.h"

namespace qwend {
namespace {

constexpr std::string_view kClassifier = "cls.output.weight";  // rows: yes, no

bool contains_ignoring_case(std::string_view text, std::string_view lower_case_word) {
  const auto same = [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a - 'A' + 'a' : a) == b; };
  return !std::ranges::search(text, lower_case_word, same).empty();
}

std::vector<float> row_of(const gguf::TensorInfo& tensor, int64_t row) {
  std::vector<float> values(static_cast<size_t>(tensor.cols()));
  const size_t row_bytes = tensor.bytes / static_cast<size_t>(tensor.rows());
  dequantize(tensor.dtype, tensor.data + static_cast<size_t>(row) * row_bytes, values.data(), tensor.cols());
  return values;
}

// The only token of a word.
int32_t token_of(const gguf::File& file, const Tokenizer& tokenizer, std::string_view word) {
  const std::vector<int32_t> tokens = tokenizer.encode(word, Specials::None);
  if (tokens.size() != 1)
    throw LoadError(file.path() + ": a reranker's vocabulary needs a token \"" + std::string(word) + "\"");
  return tokens.front();
}

}  // namespace

ModelTask find_task(const gguf::File& file, std::string_view architecture) {
  const std::string key = std::string(architecture) + ".pooling_type";
  if (const auto pooling = file.find_int(key)) {
    switch (*pooling) {
      case 0: return ModelTask::Generate;
      case 3: return ModelTask::Embed;
      case 4: return ModelTask::Rerank;
      default:
        throw LoadError(file.path() + ": metadata " + key + ": " + std::to_string(*pooling) +
                        ", supported: 0 (none), 3 (last token), 4 (rank)");
    }
  }
  if (file.find_tensor(kClassifier) != nullptr) return ModelTask::Rerank;
  const std::string names = std::string(file.find_string("general.name").value_or("")) + "\n" +
                            file.path().substr(file.path().find_last_of('/') + 1);
  if (contains_ignoring_case(names, "reranker")) return ModelTask::Rerank;
  if (contains_ignoring_case(names, "embedding")) return ModelTask::Embed;
  return ModelTask::Generate;
}

std::vector<float> rerank_row(const gguf::File& file, const Tokenizer& tokenizer) {
  const gguf::TensorInfo* matrix = file.find_tensor(kClassifier);
  int64_t yes_row = 0, no_row = 1;
  if (matrix == nullptr) {
    matrix = file.find_tensor("output.weight");
    if (matrix == nullptr) matrix = file.find_tensor("token_embd.weight");
    yes_row = token_of(file, tokenizer, "yes");
    no_row = token_of(file, tokenizer, "no");
  }
  CHECK(matrix != nullptr && std::max(yes_row, no_row) < matrix->rows());
  std::vector<float> row = row_of(*matrix, yes_row);
  const std::vector<float> no = row_of(*matrix, no_row);
  for (size_t i = 0; i < row.size(); ++i) row[i] -= no[i];
  return row;
}

double rerank_score(std::span<const float> row, std::span<const float> hidden) {
  CHECK(row.size() == hidden.size());
  const double difference = std::inner_product(row.begin(), row.end(), hidden.begin(), 0.0, std::plus<>(),
                                               std::multiplies<double>());
  return 1.0 / (1.0 + std::exp(-difference));
}

std::vector<float> embedding_of(std::span<const float> hidden, size_t dimensions) {
  CHECK(dimensions <= hidden.size());
  std::vector<float> vector(hidden.begin(), hidden.begin() + static_cast<std::ptrdiff_t>(dimensions));
  const double squares = std::inner_product(vector.begin(), vector.end(), vector.begin(), 0.0, std::plus<>(),
                                            std::multiplies<double>());
  const double scale = squares > 0.0 ? 1.0 / std::sqrt(squares) : 0.0;
  for (float& x : vector) x = static_cast<float>(x * scale);
  return vector;
}

}  // namespace qwend
