// What reaches the device is what the file holds: uploads read back, embeddings looked up.
#include <cmath>

#include "tests/cuda/parity.h"

using namespace qwend;
using namespace qwend::test;

namespace {

// As the device holds it: BF16 becomes FP16, all else is exact.
std::vector<float> as_held(DType type, std::vector<float> values) {
  if (type == DType::BF16) {
    for (float& x : values) x = quant::half_to_float(quant::float_to_half(x));
  }
  return values;
}

}  // namespace

namespace {

// Matrices of these rows and blocks a row, and three experts of the same.
void check_uploads(std::initializer_list<int64_t> row_counts, std::initializer_list<int64_t> block_counts) {
  const auto backend = make_cuda_backend(0, 64, 64);
  quant::AllFormats::for_each([&]<class F>() {
    const int64_t block = block_length(F::kType);
    for (const int64_t rows : row_counts) {
      for (const int64_t blocks : block_counts) {
        for (const int64_t experts : {1, 3}) {
          const int64_t cols = block * blocks;
          INFO(F::kName << ", " << experts << " experts of " << rows << " x " << cols);
          const RandomWeights weights(F::kType, rows, cols, experts, 7);
          const HostMatrix part = weights.matrix();
          const Matrix m = backend->upload({&part, 1});
          CHECK(m->rows() == rows);
          CHECK(m->cols() == cols);
          CHECK(m->experts() == experts);
          const std::vector<float> got = backend->read_rows(*m, 0, rows * experts);
          std::vector<float> expected;
          for (int64_t e = 0; e < experts; ++e) {
            const std::vector<float> one = as_held(F::kType, weights.dequantized(e));
            expected.insert(expected.end(), one.begin(), one.end());
          }
          CHECK(same_bits(got, expected));
          const int64_t middle = rows * experts / 2;
          const auto begin = expected.begin() + middle * cols;
          CHECK(same_bits(backend->read_rows(*m, middle, 1), {begin, begin + cols}));
        }
      }
    }
  });
}

void check_embeddings(std::initializer_list<int32_t> token_counts) {
  const auto backend = make_cuda_backend(0, 512, 64);
  quant::AllFormats::for_each([&]<class F>() {
    for (const bool also_output : {false, true}) {
      const int64_t cols = 3 * block_length(F::kType);
      const RandomWeights weights(F::kType, 77, cols, 1, 13);
      const std::vector<float> table = as_held(F::kType, weights.dequantized());
      const Matrix m = backend->upload_embedding(weights.matrix(), also_output);
      const Activation x = backend->allocate(cols);
      for (const int32_t num_tokens : token_counts) {
        INFO(F::kName << ", " << num_tokens << " tokens, also output " << also_output);
        poison_all(*backend, *x, num_tokens);
        const TestStep step({{0, num_tokens}}, 1024, 77);
        backend->begin_step(step.input());
        backend->embed(*m, *x);
        int wrong = 0;
        const Rows got = read_all(*backend, *x, num_tokens);
        for (size_t t = 0; t < got.size(); ++t) {
          const auto begin = table.begin() + step.tokens[t] * cols;
          wrong += !same_bits(got[t], {begin, begin + cols});
        }
        CHECK(wrong == 0);
      }
    }
  });
}

}  // namespace

TEST_CASE("uploaded rows read back exactly", "[cuda][backend]") {
  NEEDS_CUDA_DEVICE();
  check_uploads({1, 15, 16, 45, 130}, {1, 3, 7});
}

TEST_CASE("uploads and look-ups of every format, small", "[cuda][backend][sanitize]") {
  NEEDS_CUDA_DEVICE();
  check_uploads({45}, {3});
  check_embeddings({3});
}

TEST_CASE("parts of different formats follow each other", "[cuda][backend][sanitize]") {
  NEEDS_CUDA_DEVICE();
  const auto backend = make_cuda_backend(0, 64, 64);
  const DType types[] = {DType::Q4_K, DType::Q4_K, DType::Q6_K, DType::F16, DType::F32, DType::Q5_0};
  const int64_t sizes[] = {48, 16, 17, 5, 33, 40};
  RandomParts parts;
  for (size_t i = 0; i < std::size(types); ++i) parts.add(types[i], sizes[i], 512, 2);
  const Matrix m = backend->upload(parts.views());
  std::vector<float> expected;
  for (int64_t e = 0; e < 2; ++e) {
    for (size_t i = 0; i < std::size(types); ++i) {
      const std::vector<float> one = parts[i].dequantized(e);
      expected.insert(expected.end(), one.begin(), one.end());
    }
  }
  REQUIRE(m->rows() * 2 * 512 == static_cast<int64_t>(expected.size()));
  CHECK(same_bits(backend->read_rows(*m, 0, m->rows() * 2), expected));
}

TEST_CASE("a vector reads back", "[cuda][backend]") {
  NEEDS_CUDA_DEVICE();
  const auto backend = make_cuda_backend(0, 64, 64);
  const std::vector<float> values = normal_values(1001, 5, 1e6f);
  CHECK(backend->read(*backend->upload_vector(values)) == values);
}

TEST_CASE("FP16 copies of all matrices are kept where they take little, else none", "[cuda][backend]") {
  NEEDS_CUDA_DEVICE();
  const auto backend = make_cuda_backend(0, 64, 64);
  const RandomWeights blocks(DType::Q4_K, 2048, 4096, 1, 7), halves(DType::F16, 48, 512, 1, 9);
  const HostMatrix parts[] = {blocks.matrix(), halves.matrix()};
  const Matrix first = backend->upload({&parts[0], 1}), second = backend->upload({&parts[1], 1});
  const size_t sizes[] = {first->bytes(), second->bytes()};
  constexpr size_t kCopy = size_t{2048} * 4096 * 2;
  StepShapes shapes;
  shapes.embedding = shapes.ffn = shapes.vocab = 64;
  shapes.attention = {1, 1, 64};
  // The same one again and again: it counts each time.
  const auto most =
      static_cast<size_t>(kHalfCopiesShare * static_cast<double>(backend->memory().total)) / kCopy;
  shapes.matrices.assign(most + 1, first.get());
  backend->reserve(shapes);
  CHECK(first->bytes() == sizes[0]);
  shapes.matrices = {first.get(), second.get()};
  backend->reserve(shapes);
  CHECK(first->bytes() == sizes[0] + kCopy);
  CHECK(second->bytes() == sizes[1]);
}

TEST_CASE("embeddings are the table's rows", "[cuda][backend]") {
  NEEDS_CUDA_DEVICE();
  check_embeddings({1, 3, 64, 300});
}
