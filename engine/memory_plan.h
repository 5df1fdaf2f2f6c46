// How the memory of a device is divided: weights, workspace, and keys and values for the rest.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "engine/gguf/gguf.h"
#include "engine/model/model_config.h"
#include "kernels/backend.h"

namespace qwend {

// Of keys and values. F16 moves log-probabilities by up to 1.3e-2 on the reference models, the CPU's products
// of quantised weights by up to 3e-3. With those it is worth it: half the memory and traffic (64 streams of
// the demo model: 17% faster). With unquantised ones the CPU computes in FP32 (5e-4) and keeps what it
// computed. A GPU keeps F32 as two halves, for tensor cores, at twice the room and traffic.
inline constexpr KvDType default_kv_dtype(bool gpu, bool quantised) {
  return gpu || quantised ? KvDType::F16 : KvDType::F32;
}
bool has_quantised_weights(const gguf::File& file);  // any of them
// Tokens of a step: as many as keep running streams steady while prompts are computed at near full speed.
inline constexpr int32_t default_batch_tokens(bool gpu) { return gpu ? 2048 : 512; }
inline constexpr int32_t kBlockSize = 16;  // tokens of a KV block

struct MemorySettings {
  int32_t ctx = 0;              // longest prompt + output in tokens; 0: the trained length, at most 32,768
  int32_t max_seqs = 256;       // running at once
  uint64_t kv_cache_bytes = 0;  // 0: kv_blocks, or by free memory
  int32_t kv_blocks = 0;        // 0: kv_cache_bytes, or by free memory
  std::optional<KvDType> kv_dtype = {};  // none: default_kv_dtype()
  double gpu_memory_fraction = 0.9;  // of the GPU's memory: what all its uses together may take by default
};

// What is taken before the KV cache, and what is there.
struct MemoryUse {
  bool gpu = false;
  bool quantised = false;    // has_quantised_weights()
  uint64_t total = 0;        // of the GPU; 0: not known or not asked
  uint64_t free = 0;         // for the KV cache, now
  uint64_t weights = 0;      // on the device
  uint64_t workspace = 0;    // activations, logits, scratch
  uint64_t half_copies = 0;  // of weights in block formats, see kHalfCopiesShare
};

// Printed at start.
struct MemoryPlan {
  MemoryUse use;
  uint64_t kv_bytes = 0;
  uint64_t left = 0;  // free once the KV cache has been taken
  KvCacheSpec kv;
  int32_t max_model_len = 0;
  std::string note;  // e.g. that the context was cut to fit; empty when all is as asked
};

// Of a GPU's memory, what FP16 copies of weights (kHalfCopiesShare) leave free: the KV cache that was asked
// for, or one sequence of the whole context and what gpu_memory_fraction keeps from all uses.
uint64_t free_beside_copies(const ModelConfig& config, const MemorySettings& settings, bool quantised,
                            uint64_t total);

// Decides the KV pool. Without --kv-cache-gb or --kv-blocks:
//   GPU: what gpu_memory_fraction leaves, at most max_seqs sequences of the whole context;
//   CPU: four full contexts or 256 tokens of every sequence, whichever is more, at most a quarter of what is
//   free.
// Throws LoadError when not even one sequence of the asked length fits, or a setting can't be met.
MemoryPlan plan_memory(const ModelConfig& config, const MemorySettings& settings, const MemoryUse& use);

// From the file alone: what the weights will take on a GPU (F16 as in the file, BF16 the same, F32 4 bytes;
// block formats in tiles of 16 x 64), what FP16 copies of them will where they are kept (kHalfCopiesShare),
// and what the workspace of steps of `batch_tokens` will, roughly.
uint64_t predicted_gpu_weights(const gguf::File& file);
uint64_t predicted_half_copies(const gguf::File& file, const ModelConfig& config);
uint64_t predicted_workspace(const ModelConfig& config, int32_t batch_tokens, int32_t logit_rows, bool gpu);

std::string gigabytes(uint64_t bytes);  // "1.50 GB"
uint64_t free_memory_bytes();  // of the host: MemAvailable, or the cgroup's limit where that is lower

}  // namespace qwend
