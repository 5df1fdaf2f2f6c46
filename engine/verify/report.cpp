#include "engine/verify/report.h"

#include <iterator>

#include "kernels/check.h"

namespace qwend::verify {
namespace {

// Tolerances. Each op is given the reference's own inputs, so an error is that of one op.
//   Relative errors are of a row's or a head's Euclidean length. A fault (a wrong weight, head, position,
//   eps) moves them by 1e-2 to 1. Exact: FP32 sums in another order, 1e-6 for the widths of these models; ten
//   times that. Fast: values of 15 bits with a scale for 32 of them err by 2^-16 of the largest of the 32 at
//   most, so a product by some 3e-5 of its length. Ops without a product (RoPE, norms, softmax) are FP32.
//   Half: values of 11 bits err by 2^-12 of themselves at most, a product by some 2e-4 of its length; where
//   values of both signs cancel, several times that.
//   Attention weights are probabilities; a score's rounding grows with the score, so their error, and that of
//   the output, is divided by 1 + |q||k| / (10 sqrt(head_dim)). Cumulative errors, logits and what follows
//   from them add up the errors of all layers, as serving does.
// The reference's keys and values are rounded as the device's cache rounds them before attention is compared.
constexpr double kNever = 0.0;  // bits must be equal, or a count must be zero
constexpr StageInfo kStages[] = {
    {Stage::Weights, "weights", "weights", "relative", 1e-6, 1e-6, 1e-3},
    {Stage::Vectors, "vectors", "norms and biases", "relative", kNever, kNever, kNever},
    {Stage::Embeddings, "embeddings", "embeddings", "relative", 1e-6, 1e-6, 1e-3},
    {Stage::AttnNorm, "attention_norm", "attention norm", "relative", 1e-5, 1e-5, 1e-3},
    {Stage::KvSlots, "kv_slots", "KV slots written", "count", kNever, kNever, kNever},
    {Stage::QueryUnrotated, "query_before_rope", "Q before RoPE", "relative", 2e-5, 1e-3, 5e-3},
    {Stage::KeyUnrotated, "key_before_rope", "K before RoPE", "relative", 2e-5, 1e-3, 5e-3},
    {Stage::Value, "value", "V", "relative", 2e-5, 1e-3, 5e-3},
    {Stage::Query, "query_after_rope", "Q after RoPE", "relative", 3e-5, 1e-3, 5e-3},
    {Stage::Key, "key_after_rope", "K after RoPE", "relative", 3e-5, 1e-3, 5e-3},
    {Stage::KvReadBack, "kv_read_back", "KV read back", "relative", 5e-4, 5e-4, 5e-4},
    {Stage::Beyond, "beyond_position", "nothing beyond position", "absolute", kNever, kNever, kNever},
    {Stage::AttnWeights, "attention_weights", "attention weights", "absolute", 1e-5, 1e-5, 4e-3},
    {Stage::RowSums, "attention_row_sums", "attention rows sum to 1", "absolute", 1e-5, 1e-5, 2e-3},
    {Stage::AttnOutput, "attention_output", "attention output", "relative", 2e-5, 2e-5, 5e-3},
    {Stage::Projection, "attention_projection", "attention projection", "relative", 2e-5, 1e-3, 5e-3},
    {Stage::FfnNorm, "ffn_norm", "FFN norm", "relative", 2e-5, 2e-5, 2e-3},
    {Stage::Router, "router", "router", "relative", 2e-5, 1e-3, 5e-3},
    {Stage::FfnHidden, "ffn_hidden", "FFN gate and up", "relative", 5e-5, 2e-3, 1e-2},
    {Stage::FfnOutput, "ffn_output", "FFN output", "relative", 5e-5, 2e-3, 1e-2},
    {Stage::Residual, "residual", "residual", "relative", 2e-5, 1e-3, 5e-3},
    {Stage::Cumulative, "residual_unforced", "residual, errors added up", "relative", 2e-3, 2e-2, 0.1},
    {Stage::FinalNorm, "final_norm", "final hidden state", "relative", 1e-5, 1e-5, 1e-3},
    {Stage::Logits, "logits", "logits", "relative", 2e-5, 1e-3, 5e-3},
    {Stage::ForwardLogits, "logits_unforced", "logits, errors added up", "relative", 2e-3, 2e-2, 0.1},
    {Stage::Divergence, "kl_divergence", "KL divergence, mean", "absolute", 1e-5, 1e-4, 1e-2},
    {Stage::Top1, "top1", "top-1 disagreements", "count", kNever, kNever, kNever},
    {Stage::Greedy, "greedy", "greedy continuation", "count", kNever, kNever, kNever},
    {Stage::Diverse, "diverse_tokens", "diverse tokens", "count", kNever, kNever, kNever},
    {Stage::Prompts, "different_prompts", "different prompts differ", "count", kNever, kNever, kNever},
    {Stage::Batch, "batch", "batch 1 = batch N", "relative", kNever, kNever, 2e-2},
    {Stage::Prefix, "prefix_cache", "prefix-cached = cold", "relative", kNever, kNever, 2e-2},
    {Stage::Chunks, "chunks", "chunked = whole", "relative", kNever, kNever, 2e-2},
};

constexpr bool in_order() {
  for (size_t i = 0; i < std::size(kStages); ++i) {
    if (kStages[i].stage != static_cast<Stage>(i)) return false;
  }
  return true;
}
static_assert(in_order());

}  // namespace

std::span<const StageInfo> stages() { return kStages; }
const StageInfo& info(Stage stage) { return kStages[static_cast<size_t>(stage)]; }

std::string text(const Place& place) {
  std::string result;
  const auto add = [&](const char* name, int32_t value) {
    if (value >= 0) result += (result.empty() ? "" : ", ") + std::string(name) + " " + std::to_string(value);
  };
  add("layer", place.layer);
  add("head", place.head);
  add("sequence", place.sequence);
  add("position", place.position);
  if (!place.tensor.empty()) result += (result.empty() ? "" : " ") + ("(" + place.tensor + ")");
  return result;
}

const Outcome* Report::first_failure() const {
  for (const Outcome& outcome : outcomes) {
    if (!outcome.passed()) return &outcome;
  }
  return nullptr;
}

}  // namespace qwend::verify
