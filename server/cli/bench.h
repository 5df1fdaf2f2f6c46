// `qwend bench`: the engine alone, by llama-bench's definitions, as shares of what the machine can do.
#pragma once
#include <string>
#include <vector>

namespace qwend::cli {

struct BenchOptions {
  std::string model;
  std::string device = "auto";
  int threads = 0;                 // of the CPU
  std::string kv_dtype = "auto";   // auto, f16, f32
  std::vector<int> prompt{512};    // pp: tokens of one prompt, computed in steps of --ubatch
  std::vector<int> generate{128};  // tg: single-token steps of one stream
  std::vector<int> batch{1};       // streams decoded together
  std::vector<int> mixed;  // lengths of prompts that come while `batch` streams decode; none: not measured
  int ctx = 0;             // tokens already in the context before tg and mixed
  int ubatch = 0;          // tokens of a step; 0: default_batch_tokens()
  int repetitions = 5;
  bool json = false;
};

// Returns an exit code. Throws LoadError, DeviceError.
int run_bench(const BenchOptions& options);

}  // namespace qwend::cli
