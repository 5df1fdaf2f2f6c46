// Products of tens to hundreds of rows against double precision: formats, shapes of CTAs, shared tiles.
#include "kernels/cuda/matmul_wide.h"
#include "tests/cuda/products.h"

using namespace qwend;
using namespace qwend::cuda;
using namespace qwend::test;

namespace {

Output run_wide(const CudaMatrix& w, const TestRows& in, int32_t num_tokens, const Run& how,
                std::optional<WidePlan> plan = {}) {
  return run_product(w, in, num_tokens, how, [&](const HalfRows& rows, const MatmulOut& out) {
    WideMatmul wide(nullptr);
    wide.run(w, rows, num_tokens, how.epilogue, out, plan);
  });
}

constexpr WideTile kTiles[] = {WideTile::k128x32,  WideTile::k256x32, WideTile::k128x64,  WideTile::k256x64,
                               WideTile::k128x128, WideTile::h128x64, WideTile::h128x128, WideTile::h256x128};

}  // namespace

TEST_CASE("wide products of every format", "[cuda][matmul_wide]") {
  NEEDS_CUDA_DEVICE();
  quant::AllFormats::for_each([&]<class F>() {
    if (F::kType == DType::F32) return;
    for (const auto& [rows, num_tokens] : {std::pair{200, 17}, {33, 64}, {520, 129}}) {
      const std::vector<RandomWeights> parts{{F::kType, rows, 512, 1, 3}};
      const HostWeights host(parts);
      const auto w = upload(views(parts));
      const TestRows in(num_tokens, 512, 5, {-11, 20, -60});
      for (const WideTile tile : kTiles) {
        if (!WideMatmul(nullptr).has(tile)) continue;
        INFO(F::kName << ", " << rows << " rows, " << num_tokens << " tokens, tile "
                      << static_cast<int>(tile));
        Run how;
        how.extra_stride = 7;
        const Output out = run_wide(*w, in, num_tokens, how, WidePlan{tile, 1});
        CHECK(row_error(out, num_tokens, [&](int32_t t, int64_t i) { return host.product(in, t, i); }) <
              tolerance(F::kType));
        CHECK(overwritten(out, num_tokens, how.before) == 0);
      }
    }
  });
}

TEST_CASE("wide products of odd shapes", "[cuda][matmul_wide]") {
  NEEDS_CUDA_DEVICE();
  struct Case {
    DType type;
    int64_t rows, cols;
    int32_t num_tokens;
  };
  const Case cases[] = {{DType::F16, 77, 24, 70},       {DType::F16, 300, 100, 33},
                        {DType::BF16, 16, 33, 300},     {DType::Q8_0, 1152, 896, 96},
                        {DType::Q8_0, 5, 32, 18},       {DType::Q4_0, 896, 4864, 31},
                        {DType::Q5_0, 130, 4832, 17},   {DType::Q4_K, 260, 4864, 65},
                        {DType::Q6_K, 1030, 1792, 255}, {DType::Q4_K, 6000, 256, 40}};
  for (const Case& c : cases) {
    INFO(format_info(c.type).name << ", " << c.rows << " x " << c.cols << ", " << c.num_tokens << " tokens");
    const std::vector<RandomWeights> parts{{c.type, c.rows, c.cols, 1, 7}};
    const HostWeights host(parts);
    const auto w = upload(views(parts));
    const TestRows in(c.num_tokens, c.cols, 9, {-11, 3});
    for (const bool scaled : {true, false}) {
      Run how;
      how.scaled = scaled;
      const Output out = run_wide(*w, in, c.num_tokens, how);
      CHECK(row_error(out, c.num_tokens, [&](int32_t t, int64_t i) {
              return host.product(in, t, i, scaled);
            }) < tolerance(c.type));
      CHECK(overwritten(out, c.num_tokens, how.before) == 0);
      const Output again = run_wide(*w, in, c.num_tokens, how);
      CHECK(same_bits(std::span<const float>(out.values), std::span<const float>(again.values)));
    }
  }
}

TEST_CASE("wide products add to what is there, in one plane and two", "[cuda][matmul_wide][sanitize]") {
  NEEDS_CUDA_DEVICE();
  for (const DType type : {DType::F16, DType::Q8_0, DType::Q4_K}) {
    const std::vector<RandomWeights> parts{{type, 264, 1024, 1, 11, 0.2f}};
    const HostWeights host(parts);
    const auto w = upload(views(parts));
    for (const bool two_planes : {false, true}) {
      const TestRows in(150, 1024, 13, {-11, -9, -20}, two_planes);
      for (const Epilogue epilogue : {Epilogue::Store, Epilogue::Add}) {
        INFO(format_info(type).name << (two_planes ? ", two planes" : ", one plane") << ", epilogue "
                                    << static_cast<int>(epilogue));
        Run how;
        how.epilogue = epilogue;
        how.before = epilogue == Epilogue::Add ? 3.0f : how.before;
        how.extra_stride = 8;
        const Output out = run_wide(*w, in, 150, how);
        // With two planes and without the second: 2e-4.
        CHECK(row_error(out, 150, [&](int32_t t, int64_t i) {
                return host.product(in, t, i) + (epilogue == Epilogue::Add ? 3.0 : 0.0);
              }) < (type == DType::F16 ? 1e-5 : tolerance(type)));
        CHECK(overwritten(out, 150, how.before) == 0);
      }
    }
  }
}

TEST_CASE("wide gated products with scales known beforehand", "[cuda][matmul_wide][sanitize]") {
  NEEDS_CUDA_DEVICE();
  for (const DType type : {DType::F16, DType::Q4_0, DType::Q4_K, DType::Q6_K, DType::IQ4_XS}) {
    for (const int64_t width : {16, 272, 2064}) {
      const std::vector<RandomWeights> parts{{type, width, 512, 1, 17, 0.2f},
                                             {type, width, 512, 1, 19, 0.2f}};
      const HostWeights host(parts);
      const auto w = upload(views(parts));
      for (const int32_t num_tokens : {20, 64, 99}) {
        INFO(format_info(type).name << ", " << width << " rows, " << num_tokens << " tokens");
        const TestRows in(num_tokens, 512, 23);
        Run how;
        how.epilogue = Epilogue::SwiGlu;
        how.extra_stride = 3;
        const Output out = run_wide(*w, in, num_tokens, how);
        const auto expected = [&](int32_t t, int64_t i) {
          return silu(host.product(in, t, i)) * host.product(in, t, width + i);
        };
        CHECK(row_error(out, num_tokens, expected) < gated_tolerance(tolerance(type)));
        CHECK(overwritten(out, num_tokens, how.before) == 0);
        CHECK(wrong_scales(out, num_tokens) == 0);
      }
    }
  }
}

TEST_CASE("what wide products take", "[cuda][matmul_wide]") {
  NEEDS_CUDA_DEVICE();
  const auto serves = [](DType first, DType second, int64_t rows, Epilogue epilogue) {
    const std::vector<RandomWeights> parts{{first, rows, 256, 1, 3}, {second, rows, 256, 1, 4}};
    return WideMatmul::serves(*upload(views(parts)), epilogue);
  };
  CHECK(serves(DType::Q4_K, DType::F16, 33, Epilogue::Store));
  CHECK_FALSE(serves(DType::Q4_K, DType::F32, 33, Epilogue::Store));
  CHECK(serves(DType::Q4_K, DType::Q4_K, 48, Epilogue::SwiGlu));
  CHECK_FALSE(serves(DType::Q4_K, DType::Q6_K, 48, Epilogue::SwiGlu));
  CHECK_FALSE(serves(DType::F16, DType::F16, 40, Epilogue::SwiGlu));
}
