// Products with many rows against double precision: every format, epilogue and way to cut a matrix.
#include "tests/cuda/products.h"

using namespace qwend;
using namespace qwend::cuda;
using namespace qwend::test;

namespace {

constexpr int32_t kNeverBoxed = INT32_MAX;  // test_matmul_boxed.cpp has those

Output run_large(const CudaMatrix& w, const TestRows& in, int32_t num_tokens, const Run& how,
                 size_t scratch_bytes = size_t{64} << 20) {
  return run_product(w, in, num_tokens, how, [&](const HalfRows& rows, const MatmulOut& out) {
    LargeMatmul large(num_tokens, {.expanded = scratch_bytes}, nullptr, kNeverBoxed);
    large.reserve(w.rows());
    large.run(w, rows, num_tokens, how.epilogue, out);
  });
}

}  // namespace

namespace {

// shapes: rows, tokens
void check_every_format(std::initializer_list<std::pair<int, int>> shapes) {
  quant::AllFormats::for_each([&]<class F>() {
    for (const auto& [rows, num_tokens] : shapes) {
      const std::vector<RandomWeights> parts{{F::kType, rows, 512, 1, 3}};
      const HostWeights host(parts);
      const auto w = upload(views(parts));
      const TestRows in(num_tokens, 512, 5, {-11, 20, -60});
      for (const bool scaled : {true, false}) {
        INFO(F::kName << ", " << rows << " rows, " << num_tokens << " tokens, scaled " << scaled);
        Run how;
        how.scaled = scaled;
        how.extra_stride = 7;
        const Output out = run_large(*w, in, num_tokens, how);
        CHECK(row_error(out, num_tokens, [&](int32_t t, int64_t i) {
                return host.product(in, t, i, scaled);
              }) < tolerance(F::kType));
        CHECK(overwritten(out, num_tokens, how.before) == 0);
      }
    }
  });
}

}  // namespace

TEST_CASE("large products of every format", "[cuda][matmul_large]") {
  NEEDS_CUDA_DEVICE();
  check_every_format({{200, 65}, {33, 128}, {520, 333}});
}

TEST_CASE("large products of every format, once", "[cuda][matmul_large][sanitize]") {
  NEEDS_CUDA_DEVICE();
  check_every_format({{33, 19}});
}

TEST_CASE("large products of odd widths", "[cuda][matmul_large]") {
  NEEDS_CUDA_DEVICE();
  for (const DType type : {DType::F32, DType::F16, DType::BF16}) {
    for (const int64_t cols : {24, 100, 8, 33}) {
      INFO(format_info(type).name << ", " << cols << " columns");
      const std::vector<RandomWeights> parts{{type, 77, cols, 1, 7}};
      const HostWeights host(parts);
      const TestRows in(70, cols, 9);
      const Output out = run_large(*upload(views(parts)), in, 70, {});
      CHECK(row_error(out, 70, [&](int32_t t, int64_t i) { return host.product(in, t, i); }) <
            tolerance(type));
    }
  }
}

TEST_CASE("large products add to what is there", "[cuda][matmul_large][sanitize]") {
  NEEDS_CUDA_DEVICE();
  for (const DType type : {DType::F16, DType::Q8_0, DType::Q4_K}) {
    const std::vector<RandomWeights> parts{{type, 264, 1024, 1, 11}};
    const HostWeights host(parts);
    const auto w = upload(views(parts));
    const TestRows in(150, 1024, 13);
    for (const bool scaled : {true, false}) {
      INFO(format_info(type).name << ", scaled " << scaled);
      Run how;
      how.epilogue = Epilogue::Add;
      how.scaled = scaled;
      how.before = 3.0f;
      how.extra_stride = 8;
      const Output out = run_large(*w, in, 150, how);
      CHECK(row_error(out, 150, [&](int32_t t, int64_t i) { return 3.0 + host.product(in, t, i, scaled); }) <
            tolerance(type));
      CHECK(overwritten(out, 150, how.before) == 0);
    }
  }
}

TEST_CASE("large gated products with scales known beforehand", "[cuda][matmul_large][sanitize]") {
  NEEDS_CUDA_DEVICE();
  const std::pair<DType, DType> formats[] = {
      {DType::F16, DType::F16},   {DType::Q4_0, DType::Q4_0}, {DType::Q4_K, DType::Q6_K},
      {DType::F16, DType::Q8_0},  {DType::Q5_0, DType::F16},  {DType::F32, DType::F32},
      {DType::BF16, DType::BF16},
  };
  for (const auto& [gate_type, up_type] : formats) {
    for (const int64_t width : {264, 133, 77}) {
      INFO(format_info(gate_type).name << " and " << format_info(up_type).name << ", " << width << " rows");
      const std::vector<RandomWeights> parts{{gate_type, width, 512, 1, 17, 0.2f},
                                             {up_type, width, 512, 1, 19, 0.2f}};
      const HostWeights host(parts);
      const TestRows in(99, 512, 23);
      Run how;
      how.epilogue = Epilogue::SwiGlu;
      how.extra_stride = 3;
      const Output out = run_large(*upload(views(parts)), in, 99, how);
      const auto expected = [&](int32_t t, int64_t i) {
        return silu(host.product(in, t, i)) * host.product(in, t, width + i);
      };
      CHECK(row_error(out, 99, expected) <
            gated_tolerance(std::max(tolerance(gate_type), tolerance(up_type))));
      CHECK(overwritten(out, 99, how.before) == 0);
      CHECK(wrong_scales(out, 99) == 0);
    }
  }
}

TEST_CASE("large gated products through FP16 sums", "[cuda][matmul_large][sanitize]") {
  NEEDS_CUDA_DEVICE();
  const std::pair<DType, DType> formats[] = {
      {DType::Q4_0, DType::Q4_0}, {DType::Q4_K, DType::Q6_K}, {DType::Q8_0, DType::F16}};
  for (const auto& [gate_type, up_type] : formats) {
    for (const float spread : {1e-3f, 0.2f, 40.0f}) {
      const std::vector<RandomWeights> parts{{gate_type, 264, 512, 1, 17, spread},
                                             {up_type, 264, 512, 1, 19, spread}};
      const HostWeights host(parts);
      const auto w = upload(views(parts));
      w->read_row_norms(nullptr);
      CHECK(w->largest_row_norm() > 0.0f);
      // Rows of small values beside one that is as large as any may be, and rows scaled up and down.
      TestRows in(99, 512, 23, {-11, -20, -2});
      for (size_t t = 0; t < 99; t += 3) {
        for (size_t i = 0; i < 512; ++i) {
          __half& x = in.host[t * static_cast<size_t>(in.stride) + i];
          x = to_half(i == t ? 16380.0f : half_value(x) / 64);
        }
      }
      in.rows = to_device(in.host), in.norms = to_device(in.row_norms(true));
      for (const size_t scratch : {size_t{64} << 20, size_t{2 * 100 * 512 * 2}}) {
        INFO(format_info(gate_type).name << " and " << format_info(up_type).name << ", weights of " << spread
                                         << ", scratch of " << scratch);
        Run how;
        how.epilogue = Epilogue::SwiGlu;
        how.extra_stride = 8;
        const Output out = run_large(*w, in, 99, how, scratch);
        const auto expected = [&](int32_t t, int64_t i) {
          return silu(host.product(in, t, i)) * host.product(in, t, 264 + i);
        };
        // Both sums are rounded to 11 bits, and what they give.
        CHECK(row_error(out, 99, expected) <
              gated_tolerance(std::max(tolerance(gate_type), tolerance(up_type))) + 0x1p-10);
        CHECK(overwritten(out, 99, how.before) == 0);
        CHECK(wrong_scales(out, 99) == 0);
      }
    }
  }
}

TEST_CASE("large products of rows in two planes", "[cuda][matmul_large]") {
  NEEDS_CUDA_DEVICE();
  for (const DType type : {DType::F16, DType::Q5_K}) {
    const std::vector<RandomWeights> parts{{type, 264, 1024, 1, 59, 0.2f}};
    const HostWeights host(parts);
    const auto w = upload(views(parts));
    const TestRows in(150, 1024, 61, {-11, -9, -20}, true);
    for (const Epilogue epilogue : {Epilogue::Store, Epilogue::Add}) {
      for (const bool scaled : {true, false}) {
        INFO(format_info(type).name << ", epilogue " << static_cast<int>(epilogue) << ", scaled " << scaled);
        Run how;
        how.epilogue = epilogue;
        how.scaled = scaled;
        how.before = epilogue == Epilogue::Add ? 3.0f : how.before;
        // Without the second plane: 2e-4.
        const double allowed = type == DType::F16 ? 1e-5 : tolerance(type);
        const Output out = run_large(*w, in, 150, how);
        CHECK(row_error(out, 150, [&](int32_t t, int64_t i) {
                return host.product(in, t, i, scaled) + (epilogue == Epilogue::Add ? 3.0 : 0.0);
              }) < allowed);
      }
    }
  }
}

TEST_CASE("large products of two planes into sums of their own", "[cuda][matmul_large][sanitize]") {
  NEEDS_CUDA_DEVICE();
  constexpr int32_t kTokens = 150;
  for (const auto& [first, second] : {std::pair{DType::F16, DType::F16}, {DType::Q4_K, DType::Q6_K}}) {
    const std::vector<RandomWeights> parts{{first, 264, 1024, 1, 59, 0.2f}, {second, 40, 1024, 1, 61, 0.2f}};
    const HostWeights host(parts);
    const auto w = upload(views(parts));
    const TestRows in(kTokens, 1024, 67, {-11}, true);
    std::vector<__half> planes = in.host;
    planes.insert(planes.end(), in.host_low.begin(), in.host_low.end());
    const auto rows = to_device(planes);
    for (const size_t scratch : {size_t{64} << 20, size_t{100} * 1024 * 2}) {
      INFO(format_info(first).name << " and " << format_info(second).name << ", scratch of " << scratch);
      const auto size = static_cast<size_t>(kTokens * w->rows());
      const auto sums = poisoned<float>(2 * size);
      LargeMatmul large(kTokens, {.expanded = scratch}, nullptr, kNeverBoxed);
      large.run(*w, {rows.data(), nullptr, in.stride, rows.data() + in.host.size()}, kTokens, Epilogue::Store,
                {.data = sums.data(), .stride = w->rows(), .low = sums.data() + size});
      Output out{w->rows(), w->rows(), to_host(sums), {}};
      for (size_t i = 0; i < size; ++i) out.values[i] += out.values[size + i];
      const double allowed = first == DType::F16 ? 1e-5 : tolerance(first);
      CHECK(row_error(out, kTokens, [&](int32_t t, int64_t i) { return host.product(in, t, i, false); }) <
            allowed);
    }
  }
}

TEST_CASE("large products of FP16 copies that are kept", "[cuda][matmul_large][sanitize]") {
  NEEDS_CUDA_DEVICE();
  const std::vector<RandomWeights> parts{{DType::Q4_K, 304, 768, 1, 63},
                                         {DType::F16, 56, 768, 1, 67},
                                         {DType::Q6_K, 96, 768, 1, 69},
                                         {DType::F32, 64, 768, 1, 71}};
  const HostWeights host(parts);
  const auto w = upload(views(parts));
  const TestRows in(80, 768, 73);
  const size_t before = w->bytes();
  CHECK(w->half_copy_bytes() == (304 + 96 + 64) * 768 * sizeof(__half));
  w->keep_half_copies(nullptr);
  CHECK(w->bytes() == before + w->half_copy_bytes());
  for (const Epilogue epilogue : {Epilogue::Store, Epilogue::Add, Epilogue::SwiGlu}) {
    INFO("epilogue " << static_cast<int>(epilogue));
    Run how;
    how.epilogue = epilogue;
    how.before = epilogue == Epilogue::Add ? 0.5f : how.before;
    // Scratch for no row: whoever expanded one would fail.
    const Output out = run_large(*w, in, 80, how, sizeof(__half));
    CHECK(row_error(out, 80, [&](int32_t t, int64_t i) {
            if (epilogue == Epilogue::SwiGlu) {
              return silu(host.product(in, t, i)) * host.product(in, t, host.rows() / 2 + i);
            }
            return host.product(in, t, i) + (epilogue == Epilogue::Add ? 0.5 : 0.0);
          }) < 2e-3);
  }
}

TEST_CASE("matrices of several parts, cut into stretches", "[cuda][matmul_large]") {
  NEEDS_CUDA_DEVICE();
  const std::vector<RandomWeights> parts{{DType::Q4_K, 300, 768, 1, 29},
                                         {DType::F16, 52, 768, 1, 31},
                                         {DType::Q6_K, 100, 768, 1, 37},
                                         {DType::F32, 60, 768, 1, 41}};
  const HostWeights host(parts);
  const auto w = upload(views(parts));
  const TestRows in(80, 768, 43);
  for (const size_t rows_of_scratch : {1, 5, 64, 1000}) {
    for (const Epilogue epilogue : {Epilogue::Store, Epilogue::Add, Epilogue::SwiGlu}) {
      INFO("scratch for " << rows_of_scratch << " rows, epilogue " << static_cast<int>(epilogue));
      Run how;
      how.epilogue = epilogue;
      how.before = epilogue == Epilogue::Add ? 0.5f : how.before;
      // A gate row and its up row at least.
      const Output out = run_large(*w, in, 80, how, 2 * rows_of_scratch * 768 * sizeof(__half));
      CHECK(row_error(out, 80, [&](int32_t t, int64_t i) {
              if (epilogue == Epilogue::SwiGlu) {
                return silu(host.product(in, t, i)) * host.product(in, t, host.rows() / 2 + i);
              }
              return host.product(in, t, i) + (epilogue == Epilogue::Add ? 0.5 : 0.0);
            }) < 2e-3);
    }
  }
}

TEST_CASE("2,048 tokens with outliers; the same call gives the same bits", "[cuda][matmul_large]") {
  NEEDS_CUDA_DEVICE();
  for (const DType type : {DType::F16, DType::Q5_0}) {
    INFO(format_info(type).name);
    const std::vector<RandomWeights> parts{{type, 1152, 896, 1, 47}};
    const HostWeights host(parts);
    const auto w = upload(views(parts));
    TestRows in(2048, 896, 53, {-11, 14, 0, -30});
    for (size_t t = 0; t < 2048; ++t)
      in.host[t * static_cast<size_t>(in.stride) + t % 896] = to_half(16380.0f);
    in.rows = to_device(in.host);
    const Output out = run_large(*w, in, 2048, {});
    CHECK(row_error(out, 2048, [&](int32_t t, int64_t i) { return host.product(in, t, i); }) <
          tolerance(type));
    const Output again = run_large(*w, in, 2048, {});
    CHECK(same_bits(std::span<const float>(out.values), std::span<const float>(again.values)));
  }
}
