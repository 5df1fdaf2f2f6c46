#include "engine/memory_plan.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <optional>
#include <sstream>

#include "engine/model/layer_weights.h"
#include "kernels/quant/formats.h"

namespace qwend {
namespace {

constexpr int32_t kDefaultContextLimit = 32768;
constexpr int64_t kTileRows = 16, kTileCols = 64;  // of weights on a GPU

std::optional<uint64_t> read_number(const char* path) {
  std::ifstream in(path);
  uint64_t value = 0;
  if (in >> value) return value;
  return std::nullopt;
}

int64_t round_up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

// Keys and values that would be used if there were room.
int64_t wanted_blocks(const MemoryUse& use, int64_t blocks_per_sequence, int32_t max_seqs) {
  if (use.gpu) return max_seqs * blocks_per_sequence;
  constexpr int64_t kFullContexts = 4, kTokensPerSequence = 256;
  const int64_t short_ones =
      max_seqs * std::min<int64_t>(blocks_per_sequence, kTokensPerSequence / kBlockSize);
  return std::max(std::min<int64_t>(kFullContexts, max_seqs) * blocks_per_sequence, short_ones);
}

// What may be taken of the free memory without having been asked for.
uint64_t default_room(const MemoryUse& use, double gpu_memory_fraction) {
  if (!use.gpu) return use.free / 4;
  const auto budget = static_cast<uint64_t>(static_cast<double>(use.total) * gpu_memory_fraction);
  const uint64_t taken = use.total - std::min(use.total, use.free);
  return budget - std::min(budget, taken);
}

// A cache of the model's shape, without blocks yet.
KvCacheSpec empty_cache(const ModelConfig& config, const MemorySettings& settings, bool gpu, bool quantised) {
  return kv_cache_spec(config, 0, kBlockSize, settings.kv_dtype.value_or(default_kv_dtype(gpu, quantised)));
}
uint64_t bytes_per_block(const KvCacheSpec& kv) { return kv.bytes_per_token() * kBlockSize; }

int32_t wanted_context(const ModelConfig& config, const MemorySettings& settings) {
  return settings.ctx > 0 ? settings.ctx : std::min(config.context_length, kDefaultContextLimit);
}
int64_t blocks_of(int32_t tokens) { return round_up(tokens, kBlockSize) / kBlockSize; }

// Blocks that were asked for, by number or by bytes.
std::optional<int64_t> asked_blocks(const MemorySettings& settings, uint64_t block_bytes) {
  if (settings.kv_cache_bytes > 0) return static_cast<int64_t>(settings.kv_cache_bytes / block_bytes);
  if (settings.kv_blocks > 0) return settings.kv_blocks;
  return std::nullopt;
}

[[noreturn]] void refuse_context(int32_t context, uint64_t needed, uint64_t got, const MemoryUse& use) {
  std::string text = "memory: a context of " + std::to_string(context) + " tokens needs " +
                     gigabytes(needed) + " of KV cache, got " + gigabytes(got);
  if (use.gpu) {
    text += " (weights " + gigabytes(use.weights) + ", workspace " + gigabytes(use.workspace) + ", free " +
            gigabytes(use.free) + " of " + gigabytes(use.total) +
            "); lower --ctx, or raise --kv-cache-gb or --gpu-memory-fraction";
  } else {
    text += "; lower --ctx or raise --kv-cache-gb";
  }
  throw LoadError(text);
}

}  // namespace

std::string gigabytes(uint64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f GB", static_cast<double>(bytes) / 1e9);
  return text;
}

uint64_t free_memory_bytes() {
  uint64_t available = UINT64_MAX;
  std::ifstream meminfo("/proc/meminfo");
  for (std::string line; std::getline(meminfo, line);) {
    if (!line.starts_with("MemAvailable:")) continue;
    std::istringstream fields(line.substr(13));
    uint64_t kib = 0;
    if (fields >> kib) available = kib << 10;
  }
  const auto limit = read_number("/sys/fs/cgroup/memory.max");  // "max" when there is none
  const auto used = read_number("/sys/fs/cgroup/memory.current");
  if (limit && used && *limit > *used) available = std::min(available, *limit - *used);
  return available;
}

uint64_t free_beside_copies(const ModelConfig& config, const MemorySettings& settings, bool quantised,
                            uint64_t total) {
  const uint64_t block_bytes = bytes_per_block(empty_cache(config, settings, true, quantised));
  const auto asked = asked_blocks(settings, block_bytes);
  const int64_t least = std::max(asked.value_or(0), blocks_of(wanted_context(config, settings)));
  const uint64_t others =
      asked ? 0 : static_cast<uint64_t>(static_cast<double>(total) * (1.0 - settings.gpu_memory_fraction));
  return static_cast<uint64_t>(least) * block_bytes + others;
}

MemoryPlan plan_memory(const ModelConfig& config, const MemorySettings& settings, const MemoryUse& use) {
  MemoryPlan plan;
  plan.use = use;
  plan.kv = empty_cache(config, settings, use.gpu, use.quantised);
  const uint64_t block_bytes = bytes_per_block(plan.kv);
  const int32_t context = wanted_context(config, settings);
  const int64_t blocks_per_sequence = blocks_of(context);

  const auto asked = asked_blocks(settings, block_bytes);
  int64_t blocks =
      asked ? *asked
            : std::min(static_cast<int64_t>(default_room(use, settings.gpu_memory_fraction) / block_bytes),
                       wanted_blocks(use, blocks_per_sequence, settings.max_seqs));
  blocks = std::min<int64_t>(blocks, (int64_t{1} << 31) / kBlockSize - 1);  // slots are int32
  plan.kv_bytes = static_cast<uint64_t>(blocks) * block_bytes;
  if (use.gpu && plan.kv_bytes > use.free) {
    throw LoadError("memory: a KV cache of " + gigabytes(plan.kv_bytes) + " was asked for, " +
                    gigabytes(use.free) + " of the GPU's " + gigabytes(use.total) +
                    " are free; lower --kv-cache-gb or --kv-blocks");
  }

  plan.max_model_len = context;
  if (blocks < blocks_per_sequence) {
    const int64_t tokens = blocks * kBlockSize;
    if (settings.ctx > 0 || tokens < 256)
      refuse_context(context, static_cast<uint64_t>(blocks_per_sequence) * block_bytes, plan.kv_bytes, use);
    plan.max_model_len = static_cast<int32_t>(tokens);
    plan.note = "context cut from " + std::to_string(context) + " to " + std::to_string(tokens) +
                " tokens to fit the KV cache";
  }
  plan.kv.num_blocks = static_cast<int32_t>(blocks);
  plan.left = use.free - std::min(use.free, plan.kv_bytes);
  return plan;
}

bool has_quantised_weights(const gguf::File& file) {
  return std::ranges::any_of(file.tensors(), [](const gguf::TensorInfo& tensor) {
    return tensor.dtype != DType::F32 && tensor.dtype != DType::F16 && tensor.dtype != DType::BF16;
  });
}

uint64_t predicted_gpu_weights(const gguf::File& file) {
  uint64_t bytes = 0;
  for (const gguf::TensorInfo& tensor : file.tensors()) {
    const bool matrix = tensor.shape.size() > 1;
    if (!matrix || tensor.dtype == DType::F32) {
      bytes += static_cast<uint64_t>(tensor.elements()) * sizeof(float);
    } else if (tensor.dtype == DType::F16 || tensor.dtype == DType::BF16) {
      bytes += tensor.bytes;
    } else {
      // Width padded in proportion: a tile holds 64 columns of whatever the format costs.
      const int64_t padded = round_up(tensor.rows(), kTileRows) * round_up(tensor.cols(), kTileCols);
      const double grown = static_cast<double>(padded) / static_cast<double>(tensor.rows() * tensor.cols());
      bytes += static_cast<uint64_t>(static_cast<double>(tensor.bytes) * grown);
    }
  }
  return bytes;
}

uint64_t predicted_half_copies(const gguf::File& file, const ModelConfig& config) {
  std::vector<std::string_view> names;  // without "blk.i."
  for (const LayerWeightRule& rule : layer_weight_rules(*config.arch, TensorLayout::of(file))) {
    const bool experts =
        config.arch->moe && (rule.matrix == &LayerWeights::gate_up || rule.matrix == &LayerWeights::down);
    if (!experts && std::ranges::find(kStepMatrices, rule.matrix) != std::end(kStepMatrices))
      names.insert(names.end(), rule.tensors.begin(), rule.tensors.end());
  }
  uint64_t bytes = 0;
  for (const gguf::TensorInfo& tensor : file.tensors()) {
    const std::string_view name = tensor.name;
    const size_t dot = name.starts_with("blk.") ? name.find('.', 4) : std::string_view::npos;
    if (dot == std::string_view::npos || std::ranges::find(names, name.substr(dot + 1)) == names.end())
      continue;
    if (tensor.shape.size() != 2 || tensor.dtype == DType::F16 || tensor.dtype == DType::BF16) continue;
    bytes += static_cast<uint64_t>(tensor.rows() * round_up(tensor.cols(), kTileCols)) * 2;
  }
  return bytes;
}

uint64_t predicted_workspace(const ModelConfig& config, int32_t batch_tokens, int32_t logit_rows, bool gpu) {
  // FP32 rows of a step: residual stream, queries, attention output, feed-forward.
  const uint64_t queries = uint64_t{1} * config.num_heads * config.head_dim;
  uint64_t row = (2 * queries + config.embedding + config.ffn) * sizeof(float);
  if (!gpu) return row * batch_tokens;
  // The GPU keeps all logits, the products' inputs in F16 (normalised rows twice), the projections' outputs
  // (twice), and scratch: 320 MiB for expanded weights, what products share, split attention and sampling;
  // sums of the feed-forward's products.
  const uint64_t widest = std::max<uint64_t>(
      {queries, static_cast<uint64_t>(config.embedding), static_cast<uint64_t>(config.ffn)});
  row += (widest + config.embedding) * 2 +
         2 * (queries + uint64_t{2} * config.num_kv_heads * config.head_dim) * sizeof(float);
  const uint64_t logits = uint64_t{1} * logit_rows * config.vocab * sizeof(float);
  const uint64_t sums = uint64_t{1} * batch_tokens * 2 * config.ffn * sizeof(float);
  const uint64_t scratch = (uint64_t{320} << 20) + std::min(sums, uint64_t{320} << 20);
  return row * batch_tokens + logits + scratch;
}

}  // namespace qwend
