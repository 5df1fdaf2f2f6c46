// What a request must produce, computed from its definition without engine, cache or batch.
#pragma once
#include <string>
#include <vector>

#include "engine/text/detokenizer.h"
#include "engine/types.h"
#include "tests/support/fake_executor.h"
#include "tests/support/reference_limits.h"

namespace qwend::test {

struct ReferenceOutput {
  std::vector<int32_t> tokens;  // as shown: without the stop token unless included
  std::string text;
  FinishReason finish = FinishReason::None;
  int32_t num_generated = 0;
};

// Sequence `index` of a request on the model of FakeExecutor. Text and stop strings must be such that stop
// strings are found in the tokens' bytes (any ASCII stop string is). min_tokens with stop strings is not
// covered.
inline ReferenceOutput reference_output(const GenerationRequest& request, int32_t index,
                                        const Tokenizer& tokenizer, int32_t vocab, int32_t max_model_len) {
  const StopCriteria& stop = request.stop;
  const SamplingParams& p = request.sampling;
  ReferenceOutput out;
  std::vector<int32_t> context = request.prompt, drawn, never, early;
  for (int32_t t = 0; t < vocab; ++t) {
    if (t >= tokenizer.size() || tokenizer.type(t) == TokenType::Unused) never.push_back(t);
  }
  early = never;
  for (const int32_t t : stop.stop_token_ids) early.push_back(t);
  if (!stop.ignore_eos)
    early.insert(early.end(), tokenizer.stop_tokens().begin(), tokenizer.stop_tokens().end());
  std::string bytes;
  while (out.finish == FinishReason::None) {
    SamplingRow row;
    row.temperature = p.temperature;
    row.repetition_penalty = p.repetition_penalty;
    row.presence_penalty = p.presence_penalty;
    row.frequency_penalty = p.frequency_penalty;
    row.seed = p.seed.value_or(0) + index;
    row.position = static_cast<int64_t>(context.size());
    std::vector<std::pair<int32_t, float>> bias = p.logit_bias;
    for (const auto& [token, penalty] : dry_penalties(context, p.dry, tokenizer))
      bias.emplace_back(token, penalty);
    row.logit_bias = bias;
    const auto opening = opening_tokens(drawn, request.openings, tokenizer);
    const std::vector<int32_t> allowed = opening.value_or(p.allowed_tokens);
    std::vector<uint64_t> mask(allowed.empty() ? 0 : static_cast<size_t>(vocab) / 64 + 1);
    for (const int32_t t : allowed) mask[t / 64] |= uint64_t{1} << (t % 64);
    row.allowed_mask = mask;
    row.prompt_tokens = request.prompt;
    row.output_tokens = drawn;
    std::vector<int32_t> banned = static_cast<int32_t>(drawn.size()) < stop.min_tokens ? early : never;
    for (const int32_t bad : bad_tokens(drawn, p)) banned.push_back(bad);
    row.banned_tokens = opening ? never : banned;
    int32_t token = fake_sample(fake_logits(context, vocab), row).token;
    if (request.thinking) token = forced_token(drawn, *request.thinking).value_or(token);
    context.push_back(token);
    drawn.push_back(token);
    bool ends = !stop.ignore_eos && tokenizer.is_stop(token);
    for (const int32_t t : stop.stop_token_ids) ends |= t == token;
    ends &= static_cast<int32_t>(drawn.size()) > stop.min_tokens;  // an opening may well draw one earlier
    if (!ends || stop.include_stop_in_output) {
      out.tokens.push_back(token);
      const bool hidden = tokenizer.type(token) == TokenType::Control && !request.keep_control_tokens;
      if (!hidden) bytes += tokenizer.bytes(token);
    }
    size_t cut = std::string::npos, cut_end = std::string::npos;
    for (const std::string& s : stop.stop) {  // the first to complete, the longest of several
      const size_t at = bytes.find(s);
      if (at == std::string::npos) continue;
      if (at + s.size() < cut_end || (at + s.size() == cut_end && at < cut))
        cut = at, cut_end = at + s.size();
    }
    if (cut != std::string::npos) {
      bytes.resize(stop.include_stop_in_output ? cut_end : cut);
      ends = true;
    }
    ends |= repeats(drawn, stop.repetition);
    const bool full = static_cast<int32_t>(drawn.size()) >= stop.max_tokens ||
                      static_cast<int32_t>(context.size()) >= max_model_len;
    if (ends) {
      out.finish = FinishReason::Stop;
    } else if (full) {
      out.finish = FinishReason::Length;
    }
  }
  out.num_generated = static_cast<int32_t>(drawn.size());
  out.text = sanitize_utf8(bytes);
  return out;
}

}  // namespace qwend::test
