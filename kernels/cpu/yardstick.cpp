#include "kernels/yardstick.h"

#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <random>
#include <thread>
#include <vector>

namespace qwend {
namespace {

using Seconds = std::chrono::duration<double>;
using SteadyClock = std::chrono::steady_clock;

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__SANITIZE_THREAD__) && \
    !defined(__SANITIZE_ADDRESS__)
#define QWEND_WIDE __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define QWEND_WIDE
#endif

// Independent sums keep enough loads in flight.
QWEND_WIDE uint64_t sum(const uint64_t* words, size_t count) {
  uint64_t total[64] = {};
  for (size_t i = 0; i + 64 <= count; i += 64) {
    for (size_t j = 0; j < 64; ++j) total[j] += words[i + j];
  }
  uint64_t all = 0;
  for (const uint64_t t : total) all += t;
  return all;
}

template <class Work>
double best_seconds(int repetitions, Work&& work) {
  double best = 1e30;
  for (int i = 0; i < repetitions; ++i) {
    const auto start = SteadyClock::now();
    work();
    best = std::min(best, Seconds(SteadyClock::now() - start).count());
  }
  return best;
}

double measure_read_bandwidth(int threads) {
  constexpr size_t kBytes = size_t{1} << 30;
  const size_t words = kBytes / sizeof(uint64_t) / static_cast<size_t>(threads) / 64 * 64;
  std::vector<uint64_t> data(words * static_cast<size_t>(threads));
  for (size_t i = 0; i < data.size(); ++i) data[i] = i * 0x9e3779b97f4a7c15ull;  // touched, and not zero
  std::vector<uint64_t> sums(static_cast<size_t>(threads));
  const double seconds = best_seconds(5, [&] {
    std::vector<std::thread> pool;
    for (int t = 0; t < threads; ++t) {
      pool.emplace_back([&, t] {
        sums[static_cast<size_t>(t)] = sum(data.data() + words * static_cast<size_t>(t), words);
      });
    }
    for (std::thread& thread : pool) thread.join();
  });
  volatile uint64_t sink = 0;
  for (const uint64_t s : sums) sink = sink + s;
  return static_cast<double>(data.size() * sizeof(uint64_t)) / seconds;
}

std::optional<double> measure_sgemm(int threads) {
  // Loaded at run time: the yardstick is optional, the product does not depend on it.
  std::unique_ptr<void, int (*)(void*)> library(dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL), dlclose);
  if (!library) return std::nullopt;
  using Sgemm = void (*)(int order, int transa, int transb, int m, int n, int k, float alpha, const float* a,
                         int lda, const float* b, int ldb, float beta, float* c, int ldc);
  using SetThreads = void (*)(int);
  const auto sgemm = reinterpret_cast<Sgemm>(dlsym(library.get(), "cblas_sgemm"));
  const auto set_threads = reinterpret_cast<SetThreads>(dlsym(library.get(), "openblas_set_num_threads"));
  if (sgemm == nullptr || set_threads == nullptr) return std::nullopt;
  set_threads(threads);

  constexpr int kRowMajor = 101, kNoTrans = 111, kTrans = 112;
  constexpr int m = 512, n = 4864, k = 896;  // the largest product of a 0.5B model's prefill
  std::mt19937 random(1);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<float> a(size_t{m} * k), b(size_t{n} * k), c(size_t{m} * n);
  for (float& x : a) x = uniform(random);
  for (float& x : b) x = uniform(random);
  const auto multiply = [&] {
    sgemm(kRowMajor, kNoTrans, kTrans, m, n, k, 1.0f, a.data(), k, b.data(), k, 0.0f, c.data(), n);
  };
  multiply();
  const double seconds = best_seconds(10, multiply);
  (void)library.release();  // OpenBLAS keeps threads: unloading it would pull their code away
  return 2.0 * m * n * k / seconds;
}

}  // namespace

Yardstick measure_cpu(int32_t threads) {
  return {measure_read_bandwidth(threads), measure_sgemm(threads), "OpenBLAS sgemm 512 x 4864 x 896"};
}

}  // namespace qwend
