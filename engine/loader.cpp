#include "engine/loader.h"

#include <algorithm>
#include <chrono>
#include <map>

#include "engine/model/qwen_model.h"
#include "engine/pooling.h"
#include "kernels/quant/formats.h"

namespace qwend {
namespace {

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
  info.embedding_width = config.embedding;
  info.trained_context = config.context_length;
  info.quantisation = dominant_format(file);
  info.created =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch())
          .count();
  info.default_sampling = recommended_sampling(file, chat_template);
  return info;
}

// Before minutes of copying.
void refuse_too_large(const gguf::File& file, const Backend& backend) {
  const DeviceMemory memory = backend.memory();
  const uint64_t needed = predicted_gpu_weights(file);
  if (memory.total == 0 || needed <= memory.free) return;
  throw DeviceError(file.path() + ": the weights take " + gigabytes(needed) + " on the GPU, where " +
                    gigabytes(memory.free) + " of " + gigabytes(memory.total) +
                    " are free; a smaller quantisation or --device cpu fits");
}

// What is taken and what is free, once backend and weights are there.
MemoryUse measure(const Device& device, const Backend& backend, const LoadedModel& loaded,
                  const QwenModel& model) {
  if (!device.is_cuda()) {
    return {.free = free_memory_bytes(),
            .weights = model.weight_bytes(),
            .workspace = predicted_workspace(loaded.config, loaded.engine_config.max_batch_tokens,
                                             loaded.engine_config.max_logit_rows(), false)};
  }
  const DeviceMemory memory = backend.memory();
  const uint64_t taken = device.cuda->free_bytes - std::min(device.cuda->free_bytes, memory.free);
  return {.gpu = true,
          .total = memory.total,
          .free = memory.free,
          .weights = model.weight_bytes(),
          .workspace = taken - std::min(taken, model.weight_bytes() + model.half_copy_bytes()),
          .half_copies = model.half_copy_bytes()};
}

// One decode step whose key and value go nowhere: a device prepares in its first steps what later ones run
// on, and requests should find that done, with the same results from the first one on.
void warm_up(QwenModel& model, Backend& backend, DeviceKvCache& kv) {
  constexpr int32_t kToken[] = {0}, kPosition[] = {0}, kSlot[] = {-1}, kSeqlens[] = {0, 1}, kContext[] = {1},
                    kTable[] = {0}, kRow[] = {0};
  const StepInput step{kToken, kPosition, kSlot, kSeqlens, kContext, kTable, 1, kRow};
  for (int i = 0; i < 2; ++i) {
    model.forward(step, kv);
    backend.sample({});
  }
}

}  // namespace

LoadedModel load_model(const gguf::File& file, const LoadSettings& settings, const LoadProgress& progress) {
  LoadedModel loaded{.info = {},
                     .config = ModelConfig::from_gguf(file),
                     .tokenizer = nullptr,
                     .chat_template = ChatTemplate::recognise(
                         file.find_string("tokenizer.chat_template").value_or(std::string_view{}),
                         file.get_string("general.architecture")),
                     .device = find_device(settings.device),
                     .device_name = {},
                     .plan = {},
                     .engine_config = {},
                     .executor = nullptr};
  loaded.tokenizer = std::make_shared<const Tokenizer>(Vocabulary::from_gguf(file));
  loaded.info = describe(file, loaded.config, loaded.chat_template);
  loaded.info.task = find_task(file, loaded.config.arch->name);
  if (loaded.info.task == ModelTask::Rerank) {
    loaded.info.rerank_row = rerank_row(file, *loaded.tokenizer);
    loaded.info.rerank_template = file.find_string("tokenizer.chat_template.rerank").value_or("");
  }
  EngineConfig& engine = loaded.engine_config;
  engine.max_seqs = settings.memory.max_seqs;
  engine.max_batch_tokens = settings.max_batch_tokens > 0 ? settings.max_batch_tokens
                                                          : default_batch_tokens(loaded.device.is_cuda());
  engine.max_batch_tokens = std::max(engine.max_batch_tokens, engine.max_seqs);
  engine.max_queue = settings.max_queue;
  engine.prefix_cache = settings.prefix_cache;

  auto backend =
      make_backend(loaded.device, {engine.max_batch_tokens, engine.max_logit_rows(), settings.threads});
  loaded.device_name = backend->device_name();
  refuse_too_large(file, *backend);
  const auto report = [](void* context, uint64_t done, uint64_t total) {
    const auto& callback = *static_cast<const LoadProgress*>(context);
    if (callback) callback(done, total);
  };
  const auto start = std::chrono::steady_clock::now();
  const bool quantised = has_quantised_weights(file);
  const uint64_t leave_free =
      free_beside_copies(loaded.config, settings.memory, quantised, backend->memory().total);
  auto model = std::make_unique<QwenModel>(file, loaded.config, *backend, report,
                                           const_cast<LoadProgress*>(&progress), leave_free);
  loaded.upload_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();

  MemoryUse use = measure(loaded.device, *backend, loaded, *model);
  use.quantised = quantised;
  loaded.plan = plan_memory(loaded.config, settings.memory, use);
  loaded.info.max_model_len = engine.max_model_len = loaded.plan.max_model_len;
  engine.num_kv_blocks = loaded.plan.kv.num_blocks;
  engine.block_size = kBlockSize;
  auto kv = backend->allocate_kv(loaded.plan.kv);
  if (loaded.device.is_cuda() && loaded.info.task == ModelTask::Generate) warm_up(*model, *backend, *kv);
  loaded.executor = make_model_runner(std::move(backend), std::move(model), std::move(kv));
  return loaded;
}

}  // namespace qwend
