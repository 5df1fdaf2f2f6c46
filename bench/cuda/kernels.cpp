// Speed of the CUDA kernels on the shapes of Qwen2.5-0.5B and 7B, each as a share of what this GPU can do.
//
//   bench_cuda_kernels [matmul|wide|large|boxed|attention|small|sampler ...]     nothing: all
//
// A figure is the median over replays of a graph that runs the kernel many times over rotating weights,
// larger together than the L2 cache, so that weights come from memory as they do in use. Bytes are what must
// be moved at least: weights once, activations once.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernels/cuda/attention.h"
#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/matmul.h"
#include "kernels/cuda/matmul_wide.h"
#include "kernels/cuda/qkv_boxed.h"
#include "kernels/cuda/sampler.h"
#include "kernels/cuda/step_buffers.h"
#include "kernels/yardstick.h"
#include "tests/kernels/random_weights.h"

namespace qwend::cuda {
namespace {

constexpr size_t kRotation = size_t{192} << 20;  // bytes of weights a figure runs over; L2 has 50 MB
constexpr int kReplays = 9;

struct Bench {
  Stream stream = make_stream();
  WeightUploader uploader{stream.get()};
  WideMatmul wide{stream.get()};
  LargeMatmul large{256, {}, stream.get(), INT32_MAX};  // by the library alone
  double bytes_per_second = 0, flops = 0;               // what the GPU can do

  // Microseconds of one call; call(i) enqueues the i-th of `count`.
  double time(int count, const std::function<void(int)>& call) {
    for (int i = 0; i < count; ++i) call(i);  // sizes buffers, picks algorithms
    CUDA_CHECK(cudaStreamSynchronize(stream.get()));
    CUDA_CHECK(cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeThreadLocal));
    for (int i = 0; i < count; ++i) call(i);
    cudaGraph_t graph = nullptr;
    CUDA_CHECK(cudaStreamEndCapture(stream.get(), &graph));
    cudaGraphExec_t exec = nullptr;
    CUDA_CHECK(cudaGraphInstantiate(&exec, graph, 0));
    CUDA_CHECK(cudaGraphDestroy(graph));
    const GraphExec owned(exec);
    const Event begin = make_event(true), end = make_event(true);
    std::vector<float> times;
    for (int r = 0; r < kReplays + 2; ++r) {
      CUDA_CHECK(cudaEventRecord(begin.get(), stream.get()));
      CUDA_CHECK(cudaGraphLaunch(exec, stream.get()));
      CUDA_CHECK(cudaEventRecord(end.get(), stream.get()));
      CUDA_CHECK(cudaEventSynchronize(end.get()));
      float milliseconds = 0;
      CUDA_CHECK(cudaEventElapsedTime(&milliseconds, begin.get(), end.get()));
      if (r >= 2) times.push_back(milliseconds);
    }
    std::ranges::nth_element(times, times.begin() + kReplays / 2);
    return static_cast<double>(times[kReplays / 2]) * 1e3 / count;
  }

  void report(const char* what, const char* shape, int rows, double us, double bytes,
              double operations) const {
    std::printf("%-12s %-26s %5d %9.2f us %8.1f GB/s %5.1f%%", what, shape, rows, us, bytes / us * 1e-3,
                100 * bytes / (us * 1e-6) / bytes_per_second);
    if (operations > 0) {
      std::printf(" %7.1f TFLOP/s %5.1f%%", operations / us * 1e-6, 100 * operations / (us * 1e-6) / flops);
    }
    std::printf("\n");
    std::fflush(stdout);
  }
};

struct Shape {
  const char* name;
  int64_t rows, cols;
  bool swiglu;
  const char* two_planes = nullptr;  // the product's name where it reads rows in two planes; nullptr: never
};
constexpr Shape kShapes[] = {
    {"0.5B qkv", 1152, 896, false, "0.5B qkv, two planes"},
    {"0.5B out", 896, 896, false},
    {"0.5B gate_up", 9728, 896, true},
    {"0.5B down", 896, 4864, false},
    {"0.5B lm_head", 151936, 896, false, "0.5B lm_head, two planes"},
    {"7B qkv", 4608, 3584, false, "7B qkv, two planes"},
    {"7B out", 3584, 3584, false},
    {"7B gate_up", 37888, 3584, true},
    {"7B down", 3584, 18944, false},
};

// A matrix in `copies` places, together larger than the cache. Random words: times do not depend on values.
struct Weights {
  Weights(Bench& bench, DType dtype, const Shape& shape) {
    const RandomWeights random(dtype, 256, shape.cols, 1, 1);
    const size_t row_bytes = format_bytes(dtype, shape.cols);
    std::vector<std::byte> bytes(row_bytes * static_cast<size_t>(shape.rows));
    const size_t pool = row_bytes * 256;
    for (size_t at = 0; at < bytes.size(); at += pool) {
      std::memcpy(&bytes[at], random.matrix().data, std::min(pool, bytes.size() - at));
    }
    const HostMatrix host{"weights", bytes.data(), dtype, shape.rows, shape.cols, 1};
    const size_t copies = std::clamp<size_t>(kRotation / bytes.size(), 1, 64);
    for (size_t i = 0; i < copies; ++i) matrices.push_back(bench.uploader.upload({&host, 1}));
    bench.uploader.wait();
    for (const auto& matrix : matrices) matrix->read_row_norms(bench.stream.get());
  }
  const CudaMatrix& at(int i) const { return *matrices[static_cast<size_t>(i) % matrices.size()]; }
  int count() const { return std::max(8, static_cast<int>(matrices.size())); }
  std::vector<std::unique_ptr<CudaMatrix>> matrices;
};

struct Rows {
  Rows(int64_t num_rows, int64_t width)
      : plane(static_cast<size_t>(num_rows * padded_width(width))),
        half(DeviceBuffer<__half>::zeroed(2 * plane)),
        scale(DeviceBuffer<float>::zeroed(static_cast<size_t>(num_rows))),
        norm(DeviceBuffer<float>::zeroed(static_cast<size_t>(num_rows))),
        stride(padded_width(width)) {
    std::vector<__half> values(plane);
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = __float2half(static_cast<float>(i * 2654435761u % 2001) - 1000.0f);
    CUDA_CHECK(cudaMemcpy(half.data(), values.data(), plane * sizeof(__half), cudaMemcpyHostToDevice));
  }
  HalfRows in(bool two_planes = false) const {
    return {half.data(), scale.data(), stride, two_planes ? half.data() + plane : nullptr, norm.data()};
  }
  HalfRowsOut out() const { return {half.data(), scale.data(), stride}; }
  size_t plane;               // halves of one
  DeviceBuffer<__half> half;  // two planes, the low one zeros
  DeviceBuffer<float> scale, norm;
  int64_t stride;
};

void bench_matmul(Bench& bench, std::vector<int> row_counts) {
  for (const DType dtype : {DType::F16, DType::Q8_0, DType::Q4_K, DType::Q6_K, DType::Q5_0}) {
    for (const Shape& shape : kShapes) {
      if (format_info(dtype).block_elements == 256 && shape.cols % 256 != 0) continue;
      const Weights weights(bench, dtype, shape);
      const auto most = *std::ranges::max_element(row_counts);
      const Rows x(most, shape.cols);
      const DeviceBuffer<float> out(static_cast<size_t>(most * shape.rows));
      const DeviceBuffer<uint32_t> row_max = DeviceBuffer<uint32_t>::zeroed(static_cast<size_t>(most));
      const Epilogue epilogue = shape.swiglu ? Epilogue::SwiGlu : Epilogue::Store;
      const int64_t width = shape.swiglu ? shape.rows / 2 : shape.rows;
      const Rows gated(shape.swiglu ? most : 0, width);
      const MatmulOut to{out.data(), width, row_max.data(), gated.out()};
      for (const int rows : row_counts) {
        for (const bool two_planes : {false, true}) {
          if (two_planes && shape.two_planes == nullptr) continue;
          const HalfRows in = x.in(two_planes);
          const double us = bench.time(weights.count(), [&](int i) {
            matmul_skinny(weights.at(i), in, rows, epilogue, to, bench.stream.get());
          });
          const auto elements = static_cast<double>(shape.rows * shape.cols);
          const double planes = two_planes ? 2 : 1;
          const double bytes =
              static_cast<double>(format_bytes(dtype, shape.rows * shape.cols)) +
              rows * (planes * static_cast<double>(shape.cols * 2) + static_cast<double>(to.stride * 4));
          bench.report(format_info(dtype).name, two_planes ? shape.two_planes : shape.name, rows, us, bytes,
                       planes * 2 * elements * rows);
        }
      }
    }
  }
}

// A product of up to `most` rows: its weights, input and output.
struct ManyRows {
  ManyRows(Bench& bench, DType dtype, const Shape& shape, int most)
      : epilogue(shape.swiglu ? Epilogue::SwiGlu : Epilogue::Store),
        width(shape.swiglu ? shape.rows / 2 : shape.rows),
        weights(bench, dtype, shape),
        x(most, shape.cols),
        out(static_cast<size_t>(most * shape.rows)),
        gated(shape.swiglu ? most : 0, width),
        to{out.data(), width, nullptr, gated.out()} {}
  Epilogue epilogue;
  int64_t width;
  Weights weights;
  Rows x;
  DeviceBuffer<float> out;
  Rows gated;
  MatmulOut to;
};

// Wide products cut in every way, beside the library: microseconds a cut (tile and fewest stages a CTA), then
// what the plan makes of it.
void bench_wide(Bench& bench) {
  struct Cut {
    const char* name;
    WidePlan plan;
    int rows;  // tokens of a tile
  };
  constexpr Cut kCuts[] = {
      {"128x32", {WideTile::k128x32, 4}, 32},     {"256x32", {WideTile::k256x32, 4}, 32},
      {"128x64", {WideTile::k128x64, 4}, 64},     {"128x64/2", {WideTile::k128x64, 2}, 64},
      {"128x64/8", {WideTile::k128x64, 8}, 64},   {"256x64", {WideTile::k256x64, 4}, 64},
      {"128x128", {WideTile::k128x128, 4}, 128},  {"h128x64", {WideTile::h128x64, 4}, 64},
      {"h128x128", {WideTile::h128x128, 4}, 128}, {"h256x128", {WideTile::h256x128, 4}, 128}};
  std::printf("%-6s %-14s %5s", "", "", "rows");
  for (const Cut& cut : kCuts) std::printf(" %8s", cut.name);
  std::printf(" %8s | %8s\n", "library", "plan");
  for (const DType dtype : {DType::F16, DType::Q8_0, DType::Q4_K, DType::Q6_K, DType::Q5_0}) {
    for (const Shape& shape : kShapes) {
      if (format_info(dtype).block_elements == 256 && shape.cols % 256 != 0) continue;
      constexpr int kMost = 256;
      const ManyRows product(bench, dtype, shape, kMost);
      bench.large.reserve(shape.rows);
      const HalfRows in = product.x.in();
      for (const int rows : {32, 64, 128, 256}) {
        std::printf("%-6s %-14s %5d", format_info(dtype).name, shape.name, rows);
        const auto time = [&](std::optional<WidePlan> plan) {
          return bench.time(product.weights.count(), [&](int i) {
            bench.wide.run(product.weights.at(i), in, rows, product.epilogue, product.to, plan);
          });
        };
        for (const Cut& cut : kCuts) {
          const bool fits =
              bench.wide.has(cut.plan.tile) && cut.rows <= std::max(rows, 64) && cut.rows * 4 >= rows;
          fits ? std::printf(" %8.2f", time(cut.plan)) : std::printf(" %8s", "");
        }
        const double large = bench.time(product.weights.count(), [&](int i) {
          bench.large.run(product.weights.at(i), in, rows, product.epilogue, product.to);
        });
        const double planned = time({});
        const double bytes = static_cast<double>(format_bytes(dtype, shape.rows * shape.cols)) +
                             rows * static_cast<double>(shape.cols * 2 + product.width * 4);
        const double operations = 2.0 * static_cast<double>(shape.rows * shape.cols) * rows;
        std::printf(" %8.2f | %8.2f us %5.1f%% of bandwidth, %5.1f TFLOP/s\n", large, planned,
                    100 * bytes / (planned * 1e-6) / bench.bytes_per_second, operations / planned * 1e-6);
        std::fflush(stdout);
      }
    }
  }
}

// Products of prompts by the library: microseconds by MiB of scratch (expanded weights / sums), and boxed
// products and the wide kernels beside them.
void bench_large(Bench& bench) {
  struct Limit {
    const char* name;
    LargeMatmul::Scratch bytes;
  };
  constexpr size_t kMiB = size_t{1} << 20;
  constexpr Limit kLimits[] = {{"32/32", {32 * kMiB, 32 * kMiB}},
                               {"64/64", {64 * kMiB, 64 * kMiB}},
                               {"128/128", {128 * kMiB, 128 * kMiB}},
                               {"128/256", {128 * kMiB, 256 * kMiB}},
                               {"288/320", {288 * kMiB, 320 * kMiB}}};
  std::printf("%-6s %-24s %5s", "", "", "rows");
  for (const Limit& limit : kLimits) std::printf(" %8s", limit.name);
  std::printf(" %8s %8s | TFLOP/s: best of the library, boxed, wide\n", "boxed", "wide");
  for (const DType dtype : {DType::F16, DType::Q8_0, DType::Q4_K}) {
    for (const Shape& shape : kShapes) {
      if (shape.rows > 100000 || shape.cols % format_info(dtype).block_elements != 0) continue;
      constexpr int kMost = 2048;
      const ManyRows product(bench, dtype, shape, kMost);
      for (const bool two_planes : {false, true}) {
        if (two_planes && shape.two_planes == nullptr) continue;
        for (const int rows : {512, 1024, 2048}) {
          std::printf("%-6s %-24s %5d", format_info(dtype).name, two_planes ? shape.two_planes : shape.name,
                      rows);
          const HalfRows in = product.x.in(two_planes);
          double best = 1e30;
          const auto time = [&](const LargeMatmul::Scratch& scratch, int32_t least_boxed) {
            LargeMatmul large(kMost, scratch, bench.stream.get(), least_boxed);
            large.reserve(shape.rows);
            const double us = bench.time(product.weights.count(), [&](int i) {
              large.run(product.weights.at(i), in, rows, product.epilogue, product.to);
            });
            std::printf(" %8.2f", us);
            return us;
          };
          for (const Limit& limit : kLimits) best = std::min(best, time(limit.bytes, INT32_MAX));
          const double boxed = shape.swiglu ? time({}, 1) : best;
          if (!shape.swiglu) std::printf(" %8s", "");
          const double wide = bench.time(product.weights.count(), [&](int i) {
            bench.wide.run(product.weights.at(i), in, rows, product.epilogue, product.to);
          });
          const double operations =
              (two_planes ? 4.0 : 2.0) * static_cast<double>(shape.rows * shape.cols) * rows;
          std::printf(" %8.2f | %5.1f %5.1f %5.1f\n", wide, operations / best * 1e-6,
                      operations / boxed * 1e-6, operations / wide * 1e-6);
          std::fflush(stdout);
        }
      }
    }
  }
}

// One step's arrays for `seqs` sequences of `tokens` new tokens at the end of `context`.
struct StepArrays {
  StepArrays(int seqs, int num_tokens, int context, int block_size) {
    stride = (context + block_size - 1) / block_size;
    for (int s = 0; s < seqs; ++s) {
      for (int b = 0; b < stride; ++b) tables.push_back(s * stride + b);
      for (int t = context - num_tokens; t < context; ++t) {
        tokens.push_back(1), positions.push_back(t);
        slots.push_back((s * stride + t / block_size) * block_size + t % block_size);
      }
      cu.push_back(static_cast<int32_t>(positions.size()));
      contexts.push_back(context);
    }
  }
  StepInput input() const { return {tokens, positions, slots, cu, contexts, tables, stride, {}}; }
  std::vector<int32_t> tokens, positions, slots, cu{0}, contexts, tables;
  int32_t stride = 0;
};

// Queries, keys and values with all that follows them, and gate and up with SwiGLU, of decode steps and short
// prompts: boxed, and by the library with the kernels that finish its sums.
void bench_boxed_qkv(Bench& bench, const char* name, const AttentionShape& heads, int64_t cols,
                     std::span<const int> row_counts) {
  const int most = *std::ranges::max_element(row_counts);
  const int64_t width = int64_t{heads.num_heads + 2 * heads.num_kv_heads} * heads.head_dim;
  const ManyRows product(bench, DType::F16, {name, width, cols, false}, most);
  const DeviceBuffer<float> sums(static_cast<size_t>(2 * most * width));
  const auto q = DeviceBuffer<float>::zeroed(static_cast<size_t>(most * heads.num_heads * heads.head_dim));
  const auto bias = DeviceBuffer<float>::zeroed(static_cast<size_t>(width));
  RopeTable table;
  table.rotary_dim = heads.head_dim;
  table.inv_freq.assign(static_cast<size_t>(heads.head_dim / 2), 1.0);
  const auto rope = make_rope_table_on_device(table, 4096);
  for (const int rows : row_counts) {
    const StepArrays arrays(rows, 1, 16, 16);
    const CudaKvCache kv({1, rows, 16, heads.num_kv_heads, heads.head_dim, KvDType::F16});
    StepBuffers buffers(most);
    buffers.grow(arrays.input(), StepShape::of(arrays.input()));
    const DeviceStep step = buffers.upload(arrays.input(), StepShape::of(arrays.input()), bench.stream.get());
    const HalfRows in = product.x.in(true);
    QkvFinish op{.qkv = nullptr,
                 .scale = in.scale,
                 .bias = bias.data(),
                 .q_norm = nullptr,
                 .k_norm = nullptr,
                 .norm_eps = 1e-6f,
                 .rope = rope.data(),
                 .rotary_dim = heads.head_dim,
                 .shape = heads};
    const auto report = [&](const char* what, double us) {
      bench.report(what, name, rows, us, 2.0 * static_cast<double>(width * cols),
                   4.0 * static_cast<double>(width * cols) * rows);
    };
    LargeMatmul boxed(most, {}, bench.stream.get(), 1), library(most, {}, bench.stream.get(), INT32_MAX);
    if (has_boxed_products()) {
      report("boxed", bench.time(product.weights.count(), [&](int i) {
        const auto weights = boxed.boxed_rows(product.weights.at(i), rows);
        boxed_qkv(weights.value(), in.unscaled(), op, step, kv.layer(0), q.data(), bench.stream.get());
      }));
    }
    op.qkv = sums.data(), op.qkv_low = sums.data() + most * width;
    report("library", bench.time(product.weights.count(), [&](int i) {
      library.run(product.weights.at(i), in.unscaled(), rows, Epilogue::Store,
                  {.data = sums.data(), .stride = width, .low = sums.data() + most * width});
      finish_qkv(op, step, kv.layer(0), q.data(), bench.stream.get());
    }));
  }
}

void bench_boxed(Bench& bench) {
  constexpr int kRowCounts[] = {32, 64, 128, 256, 512, 1024, 2048};
  bench_boxed_qkv(bench, "0.5B qkv, two planes", {14, 2, 64}, 896, kRowCounts);
  bench_boxed_qkv(bench, "7B qkv, two planes", {28, 4, 128}, 3584, kRowCounts);
  for (const Shape& shape : kShapes) {
    if (!shape.swiglu) continue;
    const int most = *std::ranges::max_element(kRowCounts);
    const ManyRows product(bench, DType::F16, shape, most);
    for (const int rows : kRowCounts) {
      for (const auto& [what, least_boxed] : {std::pair{"boxed", 1}, {"library", INT32_MAX}}) {
        if (least_boxed == 1 && !has_boxed_products()) continue;
        LargeMatmul large(most, {}, bench.stream.get(), least_boxed);
        large.reserve(shape.rows);
        const double us = bench.time(product.weights.count(), [&](int i) {
          large.run(product.weights.at(i), product.x.in(), rows, product.epilogue, product.to);
        });
        const auto elements = static_cast<double>(shape.rows * shape.cols);
        bench.report(what, shape.name, rows, us, 2 * elements, 2 * elements * rows);
      }
    }
  }
}

void bench_attention(Bench& bench) {
  struct Case {
    const char* name;
    AttentionShape shape;
    int seqs, tokens, context;
    KvDType cache = KvDType::F16;
  };
  const AttentionShape small{14, 2, 64}, middle{28, 4, 128}, qwen3{32, 8, 128};
  const Case cases[] = {{"0.5B decode 1k", small, 1, 1, 1024},
                        {"0.5B decode 16k", small, 1, 1, 16384},
                        {"0.5B decode 64 x 1k", small, 64, 1, 1024},
                        {"0.5B decode 128 x 1k", small, 128, 1, 1024},
                        {"0.5B decode 256 x 1k", small, 256, 1, 1024},
                        {"7B decode 1k", middle, 1, 1, 1024},
                        {"7B decode 16k", middle, 1, 1, 16384},
                        {"7B decode 32 x 1k", middle, 32, 1, 1024},
                        {"7B decode 64 x 1k", middle, 64, 1, 1024},
                        {"7B decode 128 x 1k", middle, 128, 1, 1024},
                        {"8B decode 64 x 1k", qwen3, 64, 1, 1024},
                        {"0.5B prefill 512", small, 1, 512, 512},
                        {"0.5B prefill 2,048", small, 1, 2048, 2048},
                        {"7B prefill 2,048", middle, 1, 2048, 2048},
                        {"7B prefill 2,048 at 16k", middle, 1, 2048, 16384},
                        {"0.5B decode 64 x 1k, f32", small, 64, 1, 1024, KvDType::F32},
                        {"7B decode 64 x 1k, f32", middle, 64, 1, 1024, KvDType::F32},
                        {"7B prefill 2,048, f32", middle, 1, 2048, 2048, KvDType::F32}};
  for (const Case& c : cases) {
    const StepArrays arrays(c.seqs, c.tokens, c.context, 16);
    const KvCacheSpec spec{4, arrays.stride * c.seqs, 16, c.shape.num_kv_heads, c.shape.head_dim, c.cache};
    const CudaKvCache kv(spec);
    StepBuffers buffers(4096);
    buffers.grow(arrays.input(), StepShape::of(arrays.input()));
    const DeviceStep step = buffers.upload(arrays.input(), StepShape::of(arrays.input()), bench.stream.get());
    AttentionWorkspace workspace;
    workspace.reserve(c.seqs, c.shape);
    const int total = c.seqs * c.tokens;
    const int64_t width = int64_t{c.shape.num_heads} * c.shape.head_dim;
    const auto q = DeviceBuffer<float>::zeroed(static_cast<size_t>(total * width));
    const auto halves = DeviceBuffer<__half>::zeroed(static_cast<size_t>(total * width));
    const auto values = DeviceBuffer<float>::zeroed(static_cast<size_t>(total * width));
    const double us = bench.time(8, [&](int i) {
      attention(c.shape, step, kv.layer(i % 4), q.data(), workspace, {halves.data(), width, values.data()},
                bench.stream.get());
    });
    const double pairs = static_cast<double>(c.seqs) * c.tokens * (c.context - c.tokens / 2.0);
    const double bytes =
        static_cast<double>(c.seqs) * c.context * static_cast<double>(spec.bytes_per_token()) / 4;
    bench.report("attention", c.name, total, us, bytes, 4 * pairs * static_cast<double>(width));
  }
}

void bench_small(Bench& bench) {
  for (const auto& [width, rows] :
       {std::pair{896, 1}, {896, 2048}, {3584, 1}, {3584, 64}, {3584, 2048}, {18944, 1}, {18944, 2048}}) {
    const auto x = DeviceBuffer<float>::zeroed(static_cast<size_t>(width) * static_cast<size_t>(rows));
    const auto weight = DeviceBuffer<float>::zeroed(static_cast<size_t>(width));
    const Rows out(rows, width);
    const HalfRowsOut to{out.half.data(), out.scale.data(), out.stride};
    const double bytes = 6.0 * width * rows;
    const std::string shape = std::to_string(width);
    if (width <= 16384)
      bench.report("rms_norm", shape.c_str(), rows,
                   bench.time(16,
                              [&](int) {
                                rms_norm(x.data(), width, nullptr, rows, weight.data(), 1e-6f, to,
                                         bench.stream.get());
                              }),
                   bytes, 0);
    bench.report(
        "round_rows", shape.c_str(), rows,
        bench.time(16, [&](int) { round_rows(x.data(), width, rows, nullptr, to, bench.stream.get()); }),
        bytes, 0);
  }
}

// From the last kernel of a step to its draws, as in a step: settings have travelled meanwhile, the logits
// were just written, and whatever else the cache held is the model's.
void bench_sampler(Bench& bench) {
  constexpr int64_t kVocabulary = 151936;
  constexpr int kMaxRows = 256;
  constexpr int32_t kPadding = 271;  // tokens at the end that nobody draws
  const auto written = DeviceBuffer<float>::zeroed(static_cast<size_t>(kVocabulary * kMaxRows));
  const DeviceBuffer<float> logits(written.size());
  const DeviceBuffer<std::byte> model(size_t{1} << 30);  // long enough to write for launches to be ahead
  std::vector<float> values(logits.size());
  uint32_t state = 1;
  for (float& value : values) {  // a sum of four: bell-shaped, without ties to speak of
    value = 0.0f;
    for (int i = 0; i < 4; ++i)
      state = state * 1664525u + 1013904223u, value += static_cast<float>(state >> 8);
    value *= 0x1p-22f;
  }
  copy_to_device(written.data(), values.data(), written.bytes());
  DeviceSampler sampler(kMaxRows);
  sampler.reserve(kVocabulary);
  std::vector<int32_t> padding(kPadding), history(1000);
  for (int32_t i = 0; i < kPadding; ++i) padding[static_cast<size_t>(i)] = kVocabulary - kPadding + i;
  for (size_t i = 0; i < history.size(); ++i) history[i] = static_cast<int32_t>(i * 131);
  struct Case {
    const char* name;
    float temperature, top_p;
    int32_t top_k;
    float repetition_penalty = 1.0f;
  };
  for (const Case& c : {Case{"greedy", 0, 1, 0},
                        {"top_k 20, top_p 0.8", 0.7f, 0.8f, 20},
                        {"top_k 64, top_p 0.8", 0.7f, 0.8f, 64},
                        {"top_k 20, 1,000 penalised", 0.7f, 0.8f, 20, 1.1f},
                        {"top_p 0.95", 1, 0.95f, 0},
                        {"plain", 1, 1, 0}}) {
    for (const int rows : {1, 64, 256}) {
      std::vector<SamplingRow> wanted(static_cast<size_t>(rows));
      for (SamplingRow& row : wanted) {
        row.temperature = c.temperature, row.top_p = c.top_p, row.top_k = c.top_k;
        row.repetition_penalty = c.repetition_penalty;
        if (c.repetition_penalty != 1.0f) row.prompt_tokens = history;
        row.banned_tokens = padding;
      }
      const auto bytes = static_cast<size_t>(kVocabulary * rows) * sizeof(float);
      const cudaStream_t stream = bench.stream.get();
      const Event begin = make_event(true), end = make_event(true);
      std::vector<float> times;
      for (int r = 0; r < 25; ++r) {
        for (SamplingRow& row : wanted) row.position = r;
        CUDA_CHECK(cudaMemsetAsync(model.data(), r, model.bytes(), stream));
        CUDA_CHECK(cudaMemcpyAsync(logits.data(), written.data(), bytes, cudaMemcpyDeviceToDevice, stream));
        CUDA_CHECK(cudaEventRecord(begin.get(), stream));
        sampler.launch(logits.data(), kVocabulary, wanted, stream);
        CUDA_CHECK(cudaEventRecord(end.get(), stream));
        sampler.collect();
        CUDA_CHECK(cudaEventSynchronize(end.get()));
        float milliseconds = 0;
        CUDA_CHECK(cudaEventElapsedTime(&milliseconds, begin.get(), end.get()));
        if (r >= 5) times.push_back(milliseconds);
      }
      std::ranges::nth_element(times, times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2));
      bench.report("sampler", c.name, rows, static_cast<double>(times[times.size() / 2]) * 1e3,
                   static_cast<double>(bytes), 0);
    }
  }
}

int run(const std::vector<std::string>& wanted) {
  const auto asked = [&](const char* name) {
    return wanted.empty() || std::ranges::find(wanted, name) != wanted.end();
  };
  Bench bench;
  const Yardstick yardstick = measure_cuda(0);
  bench.bytes_per_second = yardstick.read_bandwidth;
  bench.flops = yardstick.gemm_flops.value_or(0);
  std::printf("read bandwidth %.0f GB/s, FP16 GEMM %.0f TFLOP/s\n", bench.bytes_per_second * 1e-9,
              bench.flops * 1e-12);
  if (asked("matmul")) bench_matmul(bench, {1, 8, 16});
  if (asked("wide")) bench_wide(bench);
  if (asked("large")) bench_large(bench);
  if (asked("boxed")) bench_boxed(bench);
  if (asked("attention")) bench_attention(bench);
  if (asked("small")) bench_small(bench);
  if (asked("sampler")) bench_sampler(bench);
  return 0;
}

}  // namespace
}  // namespace qwend::cuda

int main(int argc, char** argv) {
  try {
    return qwend::cuda::run({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_cuda_kernels: %s\n", error.what());
    return 1;
  }
}
