#include "engine/model/model_config.h"

#include <cmath>
#include <sstream>

#include "engine/gguf/printable.h"
#include "engine/model/tensor_table.h"

namespace qwend {

namespace {

// Upper bounds: beyond any model, and small enough that products of sizes fit 64 bits.
constexpr int64_t kMaxLayers = 1024, kMaxWidth = 1 << 20, kMaxHeads = 1024, kMaxHeadDim = 512;
constexpr int64_t kMaxVocab = 1 << 24, kMaxContext = 1 << 28, kMaxExperts = 4096;

// Reads keys of one architecture ("qwen2.block_count") and checks their range.
class Keys {
 public:
  Keys(const gguf::File& file, std::string_view arch) : file_(file), prefix_(std::string(arch) + ".") {}

  int32_t size(std::string_view key, int64_t max) const {
    return checked(key, file_.get_int(full(key)), 1, max);
  }
  int32_t size_or(std::string_view key, int64_t max, int64_t fallback) const {
    return checked(key, file_.find_int(full(key)).value_or(fallback), 1, max);
  }
  double positive_or(std::string_view key, double fallback, double max = 1e30) const {
    const double value = file_.find_float(full(key)).value_or(fallback);
    if (!(value > 0.0 && value <= max)) {  // also NaN
      std::ostringstream got;
      got << value << ", allowed: above 0, at most " << max;
      fail(key, got.str());
    }
    return value;
  }
  std::optional<std::string_view> text(std::string_view key) const { return file_.find_string(full(key)); }
  bool has(std::string_view key) const { return file_.has(full(key)); }
  [[noreturn]] void fail(std::string_view key, const std::string& what) const {
    throw LoadError(file_.path() + ": metadata " + full(key) + ": " + what);
  }

 private:
  std::string full(std::string_view key) const { return prefix_ + std::string(key); }
  int32_t checked(std::string_view key, int64_t value, int64_t min, int64_t max) const {
    if (value < min || value > max) {
      fail(key, std::to_string(value) + ", allowed: " + std::to_string(min) + " to " + std::to_string(max));
    }
    return static_cast<int32_t>(value);
  }

  const gguf::File& file_;
  const std::string prefix_;
};

void read_attention(const Keys& keys, ModelConfig& c) {
  c.num_heads = keys.size("attention.head_count", kMaxHeads);
  c.num_kv_heads = keys.size_or("attention.head_count_kv", kMaxHeads, c.num_heads);
  if (c.num_heads % c.num_kv_heads != 0) {
    keys.fail("attention.head_count_kv", std::to_string(c.num_kv_heads) +
                                             " does not divide attention.head_count " +
                                             std::to_string(c.num_heads));
  }
  if (!keys.has("attention.key_length") && c.embedding % c.num_heads != 0) {
    keys.fail("attention.head_count", std::to_string(c.num_heads) + " does not divide embedding_length " +
                                          std::to_string(c.embedding));
  }
  c.head_dim = keys.size_or("attention.key_length", kMaxHeadDim, c.embedding / c.num_heads);
  const int32_t value_length = keys.size_or("attention.value_length", kMaxHeadDim, c.head_dim);
  if (value_length != c.head_dim) {
    keys.fail("attention.value_length", std::to_string(value_length) + ", only attention.key_length (" +
                                            std::to_string(c.head_dim) + ") is supported");
  }
  c.norm_eps = static_cast<float>(keys.positive_or("attention.layer_norm_rms_epsilon", 1e-6, 1.0));
}

void read_rope(const Keys& keys, ModelConfig& c) {
  RopeConfig& rope = c.rope;
  rope.base = keys.positive_or("rope.freq_base", 10000.0);
  if (rope.base <= 1.0) keys.fail("rope.freq_base", "must be above 1");
  rope.rotary_dim = keys.size_or("rope.dimension_count", c.head_dim, c.head_dim);
  if (rope.rotary_dim % 2 != 0) {
    keys.fail("rope.dimension_count", std::to_string(rope.rotary_dim) + " is odd");
  }
  const bool legacy = keys.has("rope.scale_linear");
  const std::string_view scaling = keys.text("rope.scaling.type").value_or(legacy ? "linear" : "none");
  if (scaling == "linear")
    rope.scaling = RopeScaling::Linear;
  else if (scaling == "yarn")
    rope.scaling = RopeScaling::Yarn;
  else if (scaling != "none") {
    keys.fail("rope.scaling.type", gguf::quoted(scaling) + ", supported: none, linear, yarn");
  }
  rope.factor =
      keys.positive_or("rope.scaling.factor", legacy ? keys.positive_or("rope.scale_linear", 1.0) : 1.0, 1e6);
  rope.original_context = keys.size_or("rope.scaling.original_context_length", kMaxContext, c.context_length);
  rope.ext_factor = keys.positive_or("rope.scaling.yarn_ext_factor", 1.0, 1.0);
  rope.attn_factor =
      keys.positive_or("rope.scaling.yarn_attn_factor", keys.positive_or("rope.scaling.attn_factor", 1.0));
  rope.beta_fast = keys.positive_or("rope.scaling.yarn_beta_fast", 32.0);
  rope.beta_slow = keys.positive_or("rope.scaling.yarn_beta_slow", 1.0);
}

void read_experts(const Keys& keys, ModelConfig& c) {
  c.moe.num_experts = keys.size("expert_count", kMaxExperts);
  c.moe.num_used = keys.size("expert_used_count", kMaxExperts);
  if (c.moe.num_used > c.moe.num_experts) {
    keys.fail("expert_used_count", std::to_string(c.moe.num_used) + " of " +
                                       std::to_string(c.moe.num_experts) + " experts (expert_count)");
  }
  const int64_t dense = keys.size_or("feed_forward_length", kMaxWidth, c.embedding);
  c.moe.expert_ffn = keys.size_or("expert_feed_forward_length", kMaxWidth, dense / c.moe.num_used);
  c.moe.renormalise = c.arch->renormalise_experts;
  if (c.arch->shared_expert)
    c.shared_ffn = keys.size_or("expert_shared_feed_forward_length", kMaxWidth, dense);
}

void read_vocabulary(const gguf::File& file, ModelConfig& c) {
  const gguf::TensorInfo* embedding = file.find_tensor("token_embd.weight");
  if (embedding == nullptr) throw LoadError(file.path() + ": tensor token_embd.weight is missing");
  if (embedding->rows() > kMaxVocab) {
    throw LoadError(file.path() + ": tensor token_embd.weight: " + std::to_string(embedding->rows()) +
                    " rows, allowed: at most " + std::to_string(kMaxVocab));
  }
  const gguf::Entry* tokens = file.find_entry("tokenizer.ggml.tokens");
  if (tokens != nullptr && tokens->count != static_cast<uint64_t>(embedding->rows())) {
    throw LoadError(file.path() + ": metadata tokenizer.ggml.tokens: " + std::to_string(tokens->count) +
                    " tokens, but token_embd.weight has " + std::to_string(embedding->rows()) + " rows");
  }
  c.vocab = static_cast<int32_t>(embedding->rows());
  c.tied_output = file.find_tensor("output.weight") == nullptr;
}

}  // namespace

ModelConfig ModelConfig::from_metadata(const gguf::File& file) {
  const std::string_view name = file.get_string("general.architecture");
  ModelConfig c;
  c.arch = find_architecture(name);
  if (c.arch == nullptr) {
    throw LoadError(file.path() + ": metadata general.architecture: " + gguf::quoted(name) +
                    " is not supported; supported: " + supported_architectures());
  }
  const Keys keys(file, name);
  c.name = file.find_string("general.name").value_or(file.path().substr(file.path().find_last_of('/') + 1));
  c.num_layers = keys.size("block_count", kMaxLayers);
  c.context_length = keys.size("context_length", kMaxContext);
  c.embedding = keys.size("embedding_length", kMaxWidth);
  if (!c.arch->moe) c.ffn = keys.size("feed_forward_length", kMaxWidth);
  read_attention(keys, c);
  read_rope(keys, c);
  if (c.arch->moe) read_experts(keys, c);
  read_vocabulary(file, c);
  return c;
}

ModelConfig ModelConfig::from_gguf(const gguf::File& file) {
  ModelConfig c = from_metadata(file);
  const std::vector<std::string> problems = check_tensors(file, c);
  if (!problems.empty()) {
    constexpr size_t kShown = 20;
    std::string text = file.path() + ": tensors don't fit the metadata: ";
    for (size_t i = 0; i < problems.size() && i < kShown; ++i) text += (i ? "; " : "") + problems[i];
    if (problems.size() > kShown) text += "; and " + std::to_string(problems.size() - kShown) + " more";
    throw LoadError(text);
  }
  return c;
}

}  // namespace qwend
