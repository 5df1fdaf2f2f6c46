// `qwend bench`: the engine alone, by llama-bench's definitions, as shares of what the machine can do.
#pragma once
#include <string>
#include <vector>

namespace qwend::cli {

struct BenchOptions {
  std::string model;
  int threads = 0;
  std::vector<int> prompt{512};    // pp: tokens of one prompt, computed in steps of --ubatch
  std::vector<int> generate{128};  // tg: single-token steps of one stream
  std::vector<int> batch{1};       // streams decoded together
  int ctx = 0;                     // tokens already in the context before tg
  int ubatch = 512;
  int repetitions = 5;
  bool json = false;
};

// Returns an exit code. Throws LoadError.
int run_bench(const BenchOptions& options);

}  // namespace qwend::cli
