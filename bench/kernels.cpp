// Speed of the CPU matrix products on the exact shapes of Qwen2.5-0.5B, against what the machine can do.
//
//   bench_kernels [threads]        0 or nothing: one a core
//
// Decode is compared with the read bandwidth, prefill with OpenBLAS's sgemm, both measured here with the same
// threads. A pass multiplies all 24 layers and the output matrix in model order, so weights come from memory
// as they do in use. Every figure is the best of the repetitions: other programs can only slow a pass down.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "kernels/cpu/matmul.h"
#include "tests/kernels/random_weights.h"
#ifdef QWEND_OPENBLAS
#include <cblas.h>
#endif

namespace qwend::cpu {
namespace {

constexpr int64_t kHidden = 896, kKeyValue = 128, kFfn = 4864, kVocabulary = 151936, kLayers = 24;
constexpr int kPrefill = 512;
constexpr double kSecondsPerFigure = 3.0;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Repeats body for a while; body returns seconds. At least 3 times.
double best_of(const std::function<double()>& body) {
  double best = 1e30;
  const double end = now() + kSecondsPerFigure;
  for (int i = 0; i < 3 || now() < end; ++i) best = std::min(best, body());
  return best;
}

// ---- yardsticks

// Bytes/s over 1 GiB, the best of each 64 MiB: whole passes would rarely be free of other programs.
double read_bandwidth(ThreadPool& pool) {
  constexpr size_t kBytes = size_t{1} << 30, kSegments = 16;
  const PageMemory memory(kBytes);
  std::memset(memory.data(), 1, kBytes);
  const auto* words = reinterpret_cast<const uint64_t*>(memory.data());
  constexpr int64_t kWords = kBytes / sizeof(uint64_t) / kSegments, kPiece = int64_t{1} << 16;
  std::vector<uint64_t> sinks(static_cast<size_t>(pool.size()) * 8);
  std::vector<double> best(kSegments, 1e30);
  auto read_segment = [&](size_t segment) {
    const double start = now();
    pool.parallel_for(kWords, kPiece, [&](int worker, int64_t begin, int64_t end) {
      const uint64_t* from = words + kWords * static_cast<int64_t>(segment);
      uint64_t sum[16] = {};
      for (int64_t i = begin; i < end; i += 16) {
        __builtin_prefetch(from + i + 256);
        __builtin_prefetch(from + i + 264);
        for (int j = 0; j < 16; ++j) sum[j] += from[i + j];
      }
      for (uint64_t part : sum) sinks[static_cast<size_t>(worker) * 8] += part;
    });
    best[segment] = std::min(best[segment], now() - start);
  };
  best_of([&] {
    for (size_t i = 0; i < kSegments; ++i) read_segment(i);
    return 0.0;
  });
  if (std::accumulate(sinks.begin(), sinks.end(), uint64_t{0}) == 0) std::abort();  // keeps the reads alive
  return kBytes / std::accumulate(best.begin(), best.end(), 0.0);
}

double sgemm_rate([[maybe_unused]] int threads) {  // FLOP/s, 0 without OpenBLAS
#ifdef QWEND_OPENBLAS
  openblas_set_num_threads(threads);
  constexpr int m = kPrefill, n = kFfn / 2, k = kHidden;
  std::vector<float> a(m * k, 0.5f), b(n * k, 0.25f), c(m * n);
  const double seconds = best_of([&] {
    const double start = now();
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, n, k, 1.0f, a.data(), k, b.data(), k, 0.0f,
                c.data(), n);
    return now() - start;
  });
  return 2.0 * m * n * k / seconds;
#else
  return 0.0;
#endif
}

// ---- the model's products

struct Mix {
  const char* name;
  DType hidden;           // matrices that read the hidden state (896 wide)
  DType value;            // attn_v
  DType output;           // the vocabulary
  DType down, down_more;  // ffn_down: 4864 wide; half the layers each
};

struct Op {
  const char* name;
  PackedMatrix w;
  Epilogue epilogue;
  double best_seconds = 1e30;
  double weights() const { return static_cast<double>(w.rows() * w.cols()); }
};

struct Model {
  std::vector<Op> layers;  // in order of execution
  Op output;
};

PackedMatrix random_matrix(std::vector<std::pair<DType, int64_t>> formats_and_rows, int64_t cols,
                           ThreadPool& pool) {
  std::vector<RandomWeights> parts;
  std::vector<HostMatrix> views;
  for (auto [format, rows] : formats_and_rows) parts.emplace_back(format, rows, cols, 1, 1);
  for (const RandomWeights& part : parts) views.push_back(part.matrix());
  return PackedMatrix::pack(views, pool);
}

Model make_model(const Mix& mix, ThreadPool& pool) {
  Model model{{}, {"output", random_matrix({{mix.output, kVocabulary}}, kHidden, pool), Epilogue::Store}};
  for (int64_t layer = 0; layer < kLayers; ++layer) {
    const DType down = layer % 2 ? mix.down : mix.down_more;
    auto add = [&](const char* name, PackedMatrix w, Epilogue epilogue) {
      model.layers.push_back({name, std::move(w), epilogue});
    };
    add("qkv",
        random_matrix({{mix.hidden, kHidden}, {mix.hidden, kKeyValue}, {mix.value, kKeyValue}}, kHidden,
                      pool),
        Epilogue::Store);
    add("attn out", random_matrix({{mix.hidden, kHidden}}, kHidden, pool), Epilogue::Add);
    add("gate up", random_matrix({{mix.hidden, kFfn}, {mix.hidden, kFfn}}, kHidden, pool), Epilogue::SwiGlu);
    add("down", random_matrix({{down, kHidden}}, kFfn, pool), Epilogue::Add);
  }
  return model;
}

// One pass over the model, in seconds; keeps the best time of each product.
double run_pass(Matmul& matmul, Model& model, int tokens) {
  static std::vector<float> x(static_cast<size_t>(kPrefill) * kFfn, 0.37f),
      y(static_cast<size_t>(kPrefill) * 2 * kFfn), logits(kVocabulary);
  auto run = [&](Op& op, int count, float* out) {
    const double start = now();
    matmul.run(op.w, {x.data(), op.w.cols(), count}, {out, op.w.rows()}, op.epilogue);
    const double seconds = now() - start;
    op.best_seconds = std::min(op.best_seconds, seconds);
    return seconds;
  };
  double seconds = 0;
  for (Op& op : model.layers) seconds += run(op, tokens, y.data());
  return seconds + run(model.output, 1, logits.data());  // a prompt wants the logits of its last token
}

struct Yardsticks {
  double bandwidth, sgemm;
};

void print_row(const Mix& mix, const char* name, int tokens, double seconds, double bytes, double flops,
               const Yardsticks& yard) {
  std::printf("%-7s %-9s T=%-4d %8.2f ms %7.1f GB/s %4.0f%%  %7.0f GFLOP/s", mix.name, name, tokens,
              seconds * 1e3, bytes / seconds * 1e-9, 100 * bytes / seconds / yard.bandwidth,
              flops / seconds * 1e-9);
  if (yard.sgemm > 0) std::printf(" %5.2fx", flops / seconds / yard.sgemm);
}

// A line for each kind of product: the sum over layers of each one's best time. Then the best whole pass.
void report(const Mix& mix, ThreadPool& pool, const Yardsticks& yard) {
  Model model = make_model(mix, pool);
  Matmul matmul(pool);
  for (int tokens : {1, 8, kPrefill}) {
    for (Op& op : model.layers) op.best_seconds = 1e30;
    model.output.best_seconds = 1e30;
    const double pass = best_of([&] { return run_pass(matmul, model, tokens); });
    double all_bytes = 0, all_flops = 0;
    for (const char* name : {"qkv", "attn out", "gate up", "down", "output"}) {
      double seconds = 0, bytes = 0, flops = 0;
      auto add = [&](const Op& op, int count) {
        if (op.name != std::string(name)) return;
        seconds += op.best_seconds;
        bytes += static_cast<double>(op.w.bytes());
        flops += 2.0 * op.weights() * count;
      };
      for (const Op& op : model.layers) add(op, tokens);
      add(model.output, 1);
      print_row(mix, name, tokens, seconds, bytes, flops, yard);
      std::printf("\n");
      all_bytes += bytes;
      all_flops += flops;
    }
    print_row(mix, "pass", tokens, pass, all_bytes, all_flops, yard);
    std::printf("  %7.1f tok/s\n", tokens / pass);
    std::fflush(stdout);
  }
}

int main_of(int argc, char** argv) {
  ThreadPool pool(argc > 1 ? std::atoi(argv[1]) : 0);
  const Yardsticks yard{read_bandwidth(pool), sgemm_rate(pool.size())};
  std::printf("%s, %d threads; read %.1f GB/s; OpenBLAS sgemm %.0f GFLOP/s\n", name_of(best_isa()),
              pool.size(), yard.bandwidth * 1e-9, yard.sgemm * 1e-9);
  std::printf("matrix products of one pass of Qwen2.5-0.5B; %% of the read bandwidth; x of sgemm\n");
  const Mix mixes[] = {
      {"Q8_0", DType::Q8_0, DType::Q8_0, DType::Q8_0, DType::Q8_0, DType::Q8_0},
      {"Q4_K_M", DType::Q5_0, DType::Q8_0, DType::Q8_0, DType::Q4_K, DType::Q6_K},
      {"F16", DType::F16, DType::F16, DType::F16, DType::F16, DType::F16},
  };
  for (const Mix& mix : mixes) {
    if (argc > 2 && mix.name != std::string(argv[2])) continue;
    report(mix, pool, yard);
  }
  return 0;
}

}  // namespace
}  // namespace qwend::cpu

int main(int argc, char** argv) { return qwend::cpu::main_of(argc, argv); }
