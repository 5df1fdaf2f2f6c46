// Boxed products against double precision: tiles that tokens, rows and columns fill in part, several
// stretches.
#include "kernels/cuda/matmul_boxed.h"
#include "tests/cuda/products.h"

using namespace qwend;
using namespace qwend::cuda;
using namespace qwend::test;

namespace {

// By nothing else: other products would need sums, and there is no room for them.
Output run_boxed(const CudaMatrix& w, const TestRows& in, int32_t num_tokens, const Run& how,
                 size_t scratch_bytes = size_t{64} << 20) {
  return run_product(w, in, num_tokens, how, [&](const HalfRows& rows, const MatmulOut& out) {
    LargeMatmul(num_tokens, {.expanded = scratch_bytes}, nullptr, 1)
        .run(w, rows, num_tokens, how.epilogue, out);
  });
}

// Multiples of a tile (64, 96 or 128 gate rows, 128 tokens or 256, 64 columns), and a little more or less.
struct Size {
  int64_t rows, cols;
  int32_t num_tokens;
};
constexpr Size kSizes[] = {{128, 64, 256},  {264, 512, 99},  {136, 96, 129},   {8, 1024, 1},
                           {120, 768, 300}, {384, 320, 640}, {4872, 896, 513}, {64, 192, 33},
                           {200, 896, 64},  {128, 640, 128}, {4864, 896, 64},  {4864, 896, 256},
                           {1000, 448, 450}};

void check_gated(const Size& size, DType gate_type, DType up_type, size_t scratch, float spread = 0.2f) {
  INFO(format_info(gate_type).name << " and " << format_info(up_type).name << ", " << size.rows << " x "
                                   << size.cols << ", " << size.num_tokens << " tokens, scratch of "
                                   << scratch);
  const std::vector<RandomWeights> parts{{gate_type, size.rows, size.cols, 1, 17, spread},
                                         {up_type, size.rows, size.cols, 1, 19, spread}};
  const HostWeights host(parts);
  const TestRows in(size.num_tokens, size.cols, 23, {-11, -9, -14});
  Run how;
  how.epilogue = Epilogue::SwiGlu;
  how.extra_stride = 16;
  const auto w = upload(views(parts));
  w->read_row_norms(nullptr);
  const Output out = run_boxed(*w, in, size.num_tokens, how, scratch);
  const auto expected = [&](int32_t t, int64_t i) {
    return silu(host.product(in, t, i)) * host.product(in, t, size.rows + i);
  };
  CHECK(row_error(out, size.num_tokens, expected) <
        gated_tolerance(std::max(tolerance(gate_type), tolerance(up_type))));
  CHECK(overwritten(out, size.num_tokens, how.before) == 0);
  CHECK(wrong_scales(out, size.num_tokens) == 0);
}

constexpr size_t kPlenty = size_t{64} << 20;
constexpr size_t of_rows(int64_t rows, int64_t cols) { return static_cast<size_t>(rows * cols * 2); }

}  // namespace

TEST_CASE("boxed gated products", "[cuda][matmul_large][boxed]") {
  NEEDS_BOXED_PRODUCTS();
  for (const Size& size : kSizes) check_gated(size, DType::F16, DType::F16, kPlenty);
  for (const float spread : {1e-3f, 40.0f}) check_gated(kSizes[1], DType::F16, DType::F16, kPlenty, spread);
}

TEST_CASE("boxed gated products of expanded rows", "[cuda][matmul_large][boxed]") {
  NEEDS_BOXED_PRODUCTS();
  constexpr Size size{408, 512, 333};
  for (const auto& [gate, up] :
       {std::pair{DType::Q4_K, DType::Q6_K}, {DType::Q8_0, DType::F16}, {DType::F16, DType::Q5_0}})
    for (const int64_t rows : {8, 100, 300, 1000}) check_gated(size, gate, up, of_rows(rows, 2 * size.cols));
}

TEST_CASE("boxed gated products of every block format", "[cuda][matmul_large][boxed]") {
  NEEDS_BOXED_PRODUCTS();
  quant::BlockFormats::for_each([]<class F>() {
    for (const auto& [rows, tokens] : {std::pair{408, 333}, {64, 17}, {1032, 700}})
      check_gated({rows, 512, tokens}, F::kType, F::kType, sizeof(__half));  // scratch for no row
    if (F::kBlock == 32) check_gated({136, 96, 129}, F::kType, F::kType, sizeof(__half));
  });
  check_gated({4864, 896, 513}, DType::Q8_0, DType::Q8_0, sizeof(__half));
  for (const float spread : {1e-3f, 15.0f})
    check_gated({408, 512, 129}, DType::Q4_K, DType::Q4_K, sizeof(__half), spread);
  // Beyond what FP16 rows hold in shared memory: expanded first, or not at all in FP16.
  check_gated({408, 512, 129}, DType::Q4_K, DType::Q4_K, kPlenty, 40.0f);
}

TEST_CASE("boxed products, small", "[cuda][matmul_large][boxed][sanitize]") {
  NEEDS_BOXED_PRODUCTS();
  check_gated({136, 320, 300}, DType::F16, DType::Q4_0, kPlenty);
  check_gated({136, 640, 70}, DType::F16, DType::F16, kPlenty);
  check_gated({136, 320, 300}, DType::Q5_1, DType::Q5_1, kPlenty);
  check_gated({136, 512, 300}, DType::Q6_K, DType::Q6_K, kPlenty);
}

TEST_CASE("boxed products give the same bits every time", "[cuda][matmul_large][boxed]") {
  NEEDS_BOXED_PRODUCTS();
  for (const DType type : {DType::F16, DType::Q8_0}) {
    const std::vector<RandomWeights> parts{{type, 4864, 896, 1, 17, 0.2f}, {type, 4864, 896, 1, 19, 0.2f}};
    const auto w = upload(views(parts));
    w->read_row_norms(nullptr);
    const TestRows in(700, 896, 29);
    Run how;
    how.epilogue = Epilogue::SwiGlu;
    how.extra_stride = 8;
    const Output first = run_boxed(*w, in, 700, how);
    for (int i = 0; i < 5; ++i) {
      const Output again = run_boxed(*w, in, 700, how);
      int different = 0;
      for (size_t j = 0; j < first.values.size(); ++j)
        different += !same_value(first.values[j], again.values[j]);
      CHECK(different == 0);
    }
  }
}
