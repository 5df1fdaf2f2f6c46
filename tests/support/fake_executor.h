// A model without a model: its logits are a function of the tokens that it finds in the KV cache.
#pragma once
#include <algorithm>
#include <cmath>
#include <deque>
#include <functional>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "engine/run/step_executor.h"

namespace qwend::test {

inline uint64_t scramble(uint64_t x) {
  x = (x ^ (x >> 31)) * 0x7fb5d329728ea185u;
  x = (x ^ (x >> 27)) * 0x81dadef4bc2dd44du;
  return x ^ (x >> 33);
}
inline float uniform(uint64_t x) { return static_cast<float>((scramble(x) >> 40) + 1) / 16777217.0f; }

// Tokens 0..vocab-1; lower-case letters and blanks are likelier, so that the text looks like text.
inline std::vector<float> fake_logits(std::span<const int32_t> context, int32_t vocab) {
  uint64_t h = 1;
  for (const int32_t token : context) h = scramble(h ^ static_cast<uint64_t>(token + 1));
  std::vector<float> logits(vocab);
  for (int32_t t = 0; t < vocab; ++t) {
    const bool likely = (t >= 'a' && t <= 'z') || t == ' ' || t >= 256;
    logits[t] = 8.0f * uniform(h + t) + (likely ? 1.0f : 0.0f);
  }
  return logits;
}

// The part of the sampler's contract that the engine's tests depend on: bias, bans, mask, penalties,
// temperature. previous: the token that row.previous_row stands for; -1: none.
inline SampledToken fake_sample(const std::vector<float>& logits, const SamplingRow& row,
                                int32_t previous = -1) {
  std::vector<float> x = logits;
  for (const auto& [token, bias] : row.logit_bias) x[token] += bias;
  for (const ConditionalBias& entry : row.bias_after) {
    if (entry.previous == previous) x[entry.token] += entry.bias;
  }
  std::map<int32_t, int32_t> counts;
  for (const int32_t token : row.output_tokens) ++counts[token];
  if (previous >= 0) ++counts[previous];
  std::set<int32_t> seen(row.prompt_tokens.begin(), row.prompt_tokens.end());
  for (const auto& [token, count] : counts) {
    seen.insert(token);
    x[token] -= row.presence_penalty + row.frequency_penalty * static_cast<float>(count);
  }
  for (const int32_t token : seen) {
    x[token] = x[token] > 0 ? x[token] / row.repetition_penalty : x[token] * row.repetition_penalty;
  }
  for (const int32_t token : row.banned_tokens) x[token] = -INFINITY;
  for (size_t t = 0; t < x.size() && !row.allowed_mask.empty(); ++t) {
    if (t / 64 >= row.allowed_mask.size() || (row.allowed_mask[t / 64] >> (t % 64) & 1) == 0)
      x[t] = -INFINITY;
  }
  if (row.temperature > 0) {  // Gumbel-max
    for (size_t t = 0; t < x.size(); ++t) {
      const float u = uniform(scramble(row.seed) ^ scramble(row.position * 7919 + t));
      x[t] = x[t] / row.temperature - std::log(-std::log(u));
    }
  }
  SampledToken result;
  result.token = static_cast<int32_t>(std::ranges::max_element(x) - x.begin());
  if (row.num_logprobs < 0) return result;
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit);
  const auto logprob = [&](int32_t t) { return static_cast<float>(logits[t] - std::log(sum)); };
  result.logprob = logprob(result.token);
  for (int32_t t = 0; t < static_cast<int32_t>(logits.size()); ++t) result.top.push_back({t, logprob(t)});
  std::ranges::stable_sort(result.top, [](auto& a, auto& b) { return a.logprob > b.logprob; });
  result.top.resize(std::min<size_t>(result.top.size(), row.num_logprobs));
  for (const int32_t t : row.logprob_tokens) {
    if (std::ranges::find(result.top, t, &TokenLogprob::token) == result.top.end())
      result.top.push_back({t, logprob(t)});
  }
  return result;
}

// Keeps a KV array of (token, position) and reads each context back through the block tables: a wrong slot, a
// block reused too early or a falsely shared prefix changes the output or throws. Steps take effect in the
// order of their launch, as on a device; what they draw is kept until collected. Throws std::logic_error on a
// malformed step. Used by one thread at a time.
class FakeExecutor : public StepExecutor {
 public:
  using Logits = std::function<std::vector<float>(std::span<const int32_t> context)>;

  FakeExecutor(int32_t vocab, int32_t num_blocks, int32_t block_size, int32_t max_in_flight = 1,
               bool copies_blocks = false)
      : vocab_(vocab),
        block_size_(block_size),
        max_in_flight_(max_in_flight),
        copies_blocks_(copies_blocks),
        kv_(static_cast<size_t>(num_blocks) * block_size) {
    logits_of = [vocab](std::span<const int32_t> context) { return fake_logits(context, vocab); };
  }

  Logits logits_of;                               // replaceable
  std::function<void(const StepInput&)> on_step;  // called first; may wait or throw
  int64_t num_steps = 0, num_tokens = 0;
  int32_t max_rows = 0, max_tokens = 0;  // of a step, seen so far
  int64_t num_overlapped = 0;            // steps launched while another one was in flight
  int64_t num_copies = 0;                // of blocks

  int32_t vocab_size() const override { return vocab_; }

  int32_t num_in_flight() const { return static_cast<int32_t>(in_flight_.size()); }
  int32_t max_in_flight() const override { return max_in_flight_; }
  bool copies_blocks() const override { return copies_blocks_; }
  void launch(const StepInput& input, std::span<const SamplingRow> rows) override {
    if (on_step) on_step(input);
    require(num_in_flight() < max_in_flight_, "not more steps in flight than allowed");
    num_overlapped += num_in_flight() > 0;
    check_shapes(input, rows.size());
    copy(input);
    write(input);
    ++num_steps;
    num_tokens += input.num_tokens();
    max_rows = std::max(max_rows, static_cast<int32_t>(rows.size()));
    max_tokens = std::max(max_tokens, input.num_tokens());
    std::vector<SampledToken> sampled;
    for (size_t i = 0; i < rows.size(); ++i) {
      const int32_t previous = rows[i].previous_row < 0 ? -1 : drawn_before(rows[i].previous_row);
      sampled.push_back(fake_sample(logits_of(context(input, input.logit_rows[i])), rows[i], previous));
    }
    drawn_.clear();
    for (const SampledToken& token : sampled) drawn_.push_back(token.token);
    in_flight_.push_back(std::move(sampled));
    last_.keep(input);
  }
  // A function of the context, as logits are.
  static constexpr int32_t kHidden = 8;
  static std::vector<float> hidden_of(std::span<const int32_t> context) {
    std::vector<float> state = fake_logits(context, kHidden);
    for (float& x : state) x -= 5.0f;
    return state;
  }
  std::vector<float> hidden(int32_t t) override {
    require(t >= 0 && t < last_.input.num_tokens(), "the step launched last has the token");
    return hidden_of(context(last_.input, t));
  }
  std::vector<SampledToken> collect() override {
    require(num_in_flight() > 0, "there is a step to collect");
    std::vector<SampledToken> sampled = std::move(in_flight_.front());
    in_flight_.pop_front();
    return sampled;
  }

 private:
  struct Cell {
    int32_t token = -1, position = -1;
  };

  // What context() reads of a step, beyond the step's launch.
  struct LastStep {
    std::vector<int32_t> tokens, positions, cu_seqlens, block_tables;
    StepInput input;
    void keep(const StepInput& in) {
      tokens.assign(in.tokens.begin(), in.tokens.end());
      positions.assign(in.positions.begin(), in.positions.end());
      cu_seqlens.assign(in.cu_seqlens.begin(), in.cu_seqlens.end());
      block_tables.assign(in.block_tables.begin(), in.block_tables.end());
      input = {};
      input.tokens = tokens;
      input.positions = positions;
      input.cu_seqlens = cu_seqlens;
      input.block_tables = block_tables;
      input.block_table_stride = in.block_table_stride;
    }
  };

  static void require(bool condition, const char* what) {
    if (!condition) throw std::logic_error(std::string("malformed step: ") + what);
  }

  void check_shapes(const StepInput& in, size_t num_rows) const {
    const size_t T = in.tokens.size(), S = in.context_lens.size();
    require(T > 0 && in.positions.size() == T && in.slot_mapping.size() == T, "token arrays");
    require(in.cu_seqlens.size() == S + 1 && in.cu_seqlens[0] == 0, "cu_seqlens");
    require(in.cu_seqlens[S] == static_cast<int32_t>(T), "cu_seqlens' end");
    require(in.block_tables.size() == S * in.block_table_stride, "block tables");
    require(in.logit_rows.size() == num_rows, "one sampling row for each logit row");
    require(in.token_rows.empty() || in.token_rows.size() == T, "token rows");
    for (size_t i = 0; i < num_rows; ++i) {
      require(in.logit_rows[i] >= 0 && in.logit_rows[i] < static_cast<int32_t>(T), "logit row in range");
      require(i == 0 || in.logit_rows[i - 1] < in.logit_rows[i], "logit rows ascend");
    }
    for (size_t s = 0; s < S; ++s) {
      const int32_t first = in.cu_seqlens[s], end = in.cu_seqlens[s + 1];
      require(first < end, "every sequence has tokens");
      require(in.positions[end - 1] + 1 == in.context_lens[s], "context length");
      require(in.context_lens[s] <= in.block_table_stride * block_size_, "block table long enough");
      for (int32_t t = first; t < end; ++t) {
        require(t == first || in.positions[t] == in.positions[t - 1] + 1, "positions follow each other");
        require(slot(in, static_cast<int32_t>(s), in.positions[t]) == in.slot_mapping[t], "slot mapping");
      }
    }
  }

  int32_t slot(const StepInput& in, int32_t s, int32_t position) const {
    const int32_t block = in.block_tables[s * in.block_table_stride + position / block_size_];
    const int32_t slot = block * block_size_ + position % block_size_;
    require(slot >= 0 && slot < static_cast<int32_t>(kv_.size()), "slot in range");
    return slot;
  }

  void copy(const StepInput& in) {
    require(copies_blocks_ || in.block_copies.empty(), "copies are made here");
    for (const BlockCopy& copy : in.block_copies) {
      std::copy_n(kv_.begin() + copy.from * block_size_, block_size_, kv_.begin() + copy.to * block_size_);
      ++num_copies;
    }
  }

  void write(const StepInput& in) {
    std::set<int32_t> written;
    for (int32_t t = 0; t < in.num_tokens(); ++t) {
      require(written.insert(in.slot_mapping[t]).second, "a slot is written once");
      const int32_t row = in.token_rows.empty() ? -1 : in.token_rows[t];
      kv_[in.slot_mapping[t]] = {row < 0 ? in.tokens[t] : drawn_before(row), in.positions[t]};
    }
  }

  int32_t drawn_before(int32_t row) const {
    require(num_in_flight() > 0, "the host has not seen what it refers to");
    require(row < static_cast<int32_t>(drawn_.size()), "the step before has the row");
    return drawn_[row];
  }

  // The tokens that attention sees from a row of the step.
  std::vector<int32_t> context(const StepInput& in, int32_t row) const {
    const auto after = std::ranges::upper_bound(in.cu_seqlens, row);
    const int32_t s = static_cast<int32_t>(after - in.cu_seqlens.begin()) - 1;
    std::vector<int32_t> tokens;
    for (int32_t p = 0; p <= in.positions[row]; ++p) {
      const Cell& cell = kv_[slot(in, s, p)];
      require(cell.position == p, "the cache holds the position that attention reads");
      tokens.push_back(cell.token);
    }
    return tokens;
  }

  const int32_t vocab_, block_size_, max_in_flight_;
  const bool copies_blocks_;
  std::vector<Cell> kv_;                             // [num_blocks * block_size]
  std::deque<std::vector<SampledToken>> in_flight_;  // launched, not yet collected
  LastStep last_;
  std::vector<int32_t> drawn_;  // by the step launched last
};

}  // namespace qwend::test
