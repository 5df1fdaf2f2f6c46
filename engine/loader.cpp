#include "engine/loader.h"

#include <algorithm>
#include <fstream>
#include <map>
#include <sstream>

#include "engine/model/qwen_model.h"
#include "kernels/quant/formats.h"

namespace qwend {
namespace {

constexpr int32_t kBlockSize = 16;
constexpr int32_t kDefaultContextLimit = 32768;

std::string megabytes(uint64_t bytes) { return std::to_string(bytes >> 20) + " MiB"; }

// The format that holds most of the weight bytes: what people call the file's quantisation.
std::string dominant_format(const gguf::File& file) {
  std::map<DType, uint64_t> bytes;
  for (const gguf::TensorInfo& tensor : file.tensors()) bytes[tensor.dtype] += tensor.bytes;
  const auto most = std::max_element(bytes.begin(), bytes.end(),
                                     [](const auto& a, const auto& b) { return a.second < b.second; });
  return most == bytes.end() ? "" : std::string(format_info(most->first).name);
}

std::string file_stem(const std::string& path) {
  std::string name = path.substr(path.find_last_of('/') + 1);
  if (name.ends_with(".gguf")) name.resize(name.size() - 5);
  return name;
}

ModelInfo describe(const gguf::File& file, const ModelConfig& config, const ChatTemplate& chat_template) {
  ModelInfo info;
  info.id = file_stem(file.path());
  info.path = file.path();
  info.architecture = config.arch->name;
  info.file_bytes = file.total_bytes();
  for (const gguf::TensorInfo& tensor : file.tensors()) info.num_params += tensor.elements();
  info.vocab_size = config.vocab;
  info.trained_context = config.context_length;
  info.quantisation = dominant_format(file);
  info.created =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch())
          .count();
  info.default_sampling = recommended_sampling(file, chat_template);
  return info;
}

std::optional<uint64_t> read_number(const char* path) {
  std::ifstream in(path);
  uint64_t value = 0;
  if (in >> value) return value;
  return std::nullopt;
}

// Enough for four full contexts, or for a few hundred tokens of every sequence that may run, whichever is
// more.
int64_t default_blocks(int64_t blocks_per_sequence, int32_t max_seqs) {
  constexpr int64_t kFullContexts = 4, kTokensPerSequence = 256;
  const int64_t short_ones =
      max_seqs * std::min<int64_t>(blocks_per_sequence, kTokensPerSequence / kBlockSize);
  return std::max(std::min<int64_t>(kFullContexts, max_seqs) * blocks_per_sequence, short_ones);
}

}  // namespace

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

MemoryPlan plan_memory(const ModelConfig& config, uint64_t weight_bytes, const LoadSettings& settings,
                       uint64_t free_bytes) {
  MemoryPlan plan;
  plan.weight_bytes = weight_bytes;
  plan.kv = {config.num_layers, 0,
             kBlockSize,        config.num_kv_heads,
             config.head_dim,   settings.kv_dtype.value_or(kDefaultKvDType)};
  const uint64_t block_bytes = plan.kv.bytes_per_token() * kBlockSize;
  const int32_t wanted =
      settings.ctx > 0 ? settings.ctx : std::min(config.context_length, kDefaultContextLimit);
  const int64_t blocks_per_sequence = (int64_t{wanted} + kBlockSize - 1) / kBlockSize;

  int64_t blocks = 0;
  if (settings.kv_cache_bytes > 0) {
    blocks = static_cast<int64_t>(settings.kv_cache_bytes / block_bytes);
  } else if (settings.kv_blocks > 0) {
    blocks = settings.kv_blocks;
  } else {
    const int64_t affordable = static_cast<int64_t>(free_bytes / 4 / block_bytes);
    blocks = std::min(affordable, default_blocks(blocks_per_sequence, settings.max_seqs));
  }
  blocks = std::min<int64_t>(blocks, (int64_t{1} << 31) / kBlockSize - 1);  // slots are int32

  plan.max_model_len = wanted;
  if (blocks < blocks_per_sequence) {
    const int64_t tokens = blocks * kBlockSize;
    if (settings.ctx > 0 || tokens < 256) {
      throw LoadError("memory: a context of " + std::to_string(wanted) + " tokens needs " +
                      megabytes(static_cast<uint64_t>(blocks_per_sequence) * block_bytes) +
                      " of KV cache, got " + megabytes(static_cast<uint64_t>(blocks) * block_bytes) +
                      "; lower --ctx or raise --kv-cache-gb");
    }
    plan.max_model_len = static_cast<int32_t>(tokens);
    plan.note = "context cut from " + std::to_string(wanted) + " to " + std::to_string(tokens) +
                " tokens to fit the KV cache";
  }
  plan.kv.num_blocks = static_cast<int32_t>(blocks);
  plan.kv_bytes = static_cast<uint64_t>(blocks) * block_bytes;
  return plan;
}

LoadedModel load_model(const gguf::File& file, const LoadSettings& settings, const LoadProgress& progress) {
  LoadedModel loaded{.info = {},
                     .config = ModelConfig::from_gguf(file),
                     .tokenizer = nullptr,
                     .chat_template = ChatTemplate::recognise(
                         file.find_string("tokenizer.chat_template").value_or(std::string_view{}),
                         file.get_string("general.architecture")),
                     .plan = {},
                     .engine_config = {},
                     .executor = nullptr};
  loaded.tokenizer = std::make_shared<const Tokenizer>(Vocabulary::from_gguf(file));
  loaded.info = describe(file, loaded.config, loaded.chat_template);
  loaded.plan = plan_memory(loaded.config, file.total_bytes(), settings, free_memory_bytes());
  loaded.info.max_model_len = loaded.plan.max_model_len;

  loaded.engine_config = {.max_model_len = loaded.plan.max_model_len,
                          .max_seqs = settings.max_seqs,
                          .max_batch_tokens = std::max(settings.max_batch_tokens, settings.max_seqs),
                          .num_kv_blocks = loaded.plan.kv.num_blocks,
                          .block_size = kBlockSize,
                          .max_queue = settings.max_queue,
                          .prefix_cache = settings.prefix_cache};
  auto backend = make_cpu_backend(loaded.engine_config.max_batch_tokens, loaded.engine_config.max_logit_rows(),
                                  settings.threads);
  const auto report = [](void* context, uint64_t done, uint64_t total) {
    const auto& callback = *static_cast<const LoadProgress*>(context);
    if (callback) callback(done, total);
  };
  auto model = std::make_unique<QwenModel>(file, loaded.config, *backend, report,
                                           const_cast<LoadProgress*>(&progress));
  auto kv = backend->allocate_kv(loaded.plan.kv);
  loaded.executor = make_model_runner(std::move(backend), std::move(model), std::move(kv));
  return loaded;
}

}  // namespace qwend
