// What a step's SamplingRows point to, packed into one piece of memory that goes to the device in one copy.
// Host code without CUDA calls.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>
#include <stdexcept>
#include <vector>

#include "kernels/check.h"
#include "kernels/cpu/philox.h"
#include "kernels/cpu/sampler.h"
#include "kernels/cuda/sampler_few.h"
#include "kernels/sampling.h"

namespace qwend::cuda {

// Use: plan(rows), make room, write(rows, ...). Layout: DeviceRow of each row, indices of the rows with
// many edited scores and of those that need more than few candidates, lists and bitmaps; behind them, on the
// device only, scratch for edited scores.
//
// A mask, or a list of bans, that several rows share (the same memory, or equal ids) is packed once, as a
// bitmap. Token histories travel whole in each step, but only those of rows with penalties: 4 bytes a token.
class StepStaging {
 public:
  // Entries of lists of bias and penalties that all blocks of a row go through, 16 a thread.
  static constexpr size_t kMostInParts = 4096;

  explicit StepStaging(int64_t vocab)
      : vocab_(static_cast<int32_t>(vocab)),
        words_(static_cast<size_t>((vocab + kGroup - 1) / kGroup * kGroupWords)) {
    CHECK(vocab > 0 && vocab <= kMaxVocab);
  }

  void plan(std::span<const SamplingRow> rows) {
    bitmaps_.clear();
    edited_.clear();
    wide_.clear();
    row_bitmaps_.clear();
    num_tops_ = 0;
    size_t lists = 0, edited_tokens = 0;
    for (size_t i = 0; i < rows.size(); ++i) {
      const SamplingRow& row = rows[i];
      row_bitmaps_.push_back({mask_index(row), bans_index(row)});
      num_tops_ += num_tops_of(row);
      lists += padded(logprob_tokens_of(row).size_bytes());
      if (!needs_few(row)) wide_.push_back(static_cast<int32_t>(i));
      if (!edits_scores(row)) continue;
      const History history = penalised_history(row);
      const size_t tokens = history.prompt.size() + history.output.size();
      lists += padded(row.logit_bias.size() * sizeof(BiasEntry)) + padded(tokens * sizeof(int32_t)) +
               padded(row.bias_after.size_bytes());
      edited_tokens += num_edited_tokens(row, history);
      if (!in_parts(row, history)) edited_.push_back(static_cast<int32_t>(i));
    }
    upload_bytes_ = padded(rows.size() * sizeof(DeviceRow)) + padded(edited_.size() * sizeof(int32_t)) +
                    padded(wide_.size() * sizeof(int32_t)) + lists +
                    bitmaps_.size() * padded(words_ * sizeof(uint32_t));
    device_bytes_ = upload_bytes_ + edited_tokens * (sizeof(float) + sizeof(uint32_t));
  }

  size_t upload_bytes() const { return upload_bytes_; }
  size_t device_bytes() const { return device_bytes_; }  // with the scratch
  size_t num_tops() const { return num_tops_; }          // TokenLogprob entries that the rows ask for
  // Rows whose edits are built whole, by a kernel of their own.
  int32_t num_edited() const { return static_cast<int32_t>(edited_.size()); }
  size_t edited_offset() const { return edited_offset_; }  // of their indices
  int32_t num_wide() const { return static_cast<int32_t>(wide_.size()); }
  size_t wide_offset() const { return wide_offset_; }  // of the indices of rows that need many candidates

  // host: [upload_bytes]. device: where that will lie, [device_bytes]; not touched here.
  // edit_bits, edit_ranks: a bitmap and its ranks (RowEdits) for each row, on the device.
  void write(std::span<const SamplingRow> rows, std::byte* host, std::byte* device, uint32_t* edit_bits,
             int32_t* edit_ranks) {
    host_ = host;
    device_ = device;
    used_ = 0;
    auto* out = take<DeviceRow>(rows.size()).host;
    edited_offset_ = used_;
    std::copy(edited_.begin(), edited_.end(), take<int32_t>(edited_.size()).host);
    wide_offset_ = used_;
    std::copy(wide_.begin(), wide_.end(), take<int32_t>(wide_.size()).host);
    for (Bitmap& bitmap : bitmaps_) write_bitmap(bitmap);
    scratch_used_ = upload_bytes_;
    int32_t first_top = 0;
    for (size_t i = 0; i < rows.size(); ++i) {
      out[i] = settings(rows[i]);
      out[i].first_top = first_top;
      first_top += static_cast<int32_t>(num_tops_of(rows[i]));
      const std::span<const int32_t> asked = logprob_tokens_of(rows[i]);
      const auto place = take<int32_t>(asked.size());
      copy_tokens(asked, place.host);
      out[i].logprob_tokens = place.device;
      out[i].num_logprob_tokens = static_cast<int32_t>(asked.size());
      if (row_bitmaps_[i].mask >= 0)
        out[i].allowed = bitmaps_[static_cast<size_t>(row_bitmaps_[i].mask)].device;
      if (row_bitmaps_[i].bans >= 0)
        out[i].banned = bitmaps_[static_cast<size_t>(row_bitmaps_[i].bans)].device;
      if (!edits_scores(rows[i])) continue;
      out[i].edits = write_edits(rows[i]);
      out[i].edits.bits = edit_bits + i * words_;
      out[i].edits.ranks = edit_ranks + i * (words_ / kGroupWords);
    }
    CHECK(used_ == upload_bytes_ && scratch_used_ == device_bytes_);
  }

 private:
  struct Bitmap {
    const SamplingRow* row = nullptr;  // the first with it
    bool is_mask = false;
    const uint32_t* device = nullptr;
  };
  struct RowBitmaps {
    int32_t mask, bans;  // in bitmaps_, -1: none
  };
  struct History {
    std::span<const int32_t> prompt, output;
    bool any = false;
  };
  template <class T>
  struct Place {
    T* host;
    T* device;
  };

  static size_t padded(size_t bytes) { return (bytes + 15) / 16 * 16; }
  template <class T>
  Place<T> take(size_t count) {
    const Place<T> place{reinterpret_cast<T*>(host_ + used_), reinterpret_cast<T*>(device_ + used_)};
    used_ += padded(count * sizeof(T));
    return place;
  }
  template <class T>
  T* take_scratch(size_t count) {
    T* place = reinterpret_cast<T*>(device_ + scratch_used_);
    scratch_used_ += count * sizeof(T);
    return place;
  }

  static std::span<const int32_t> logprob_tokens_of(const SamplingRow& row) {
    return row.num_logprobs >= 0 ? row.logprob_tokens : std::span<const int32_t>();
  }
  size_t num_tops_of(const SamplingRow& row) const {
    return static_cast<size_t>(std::clamp(row.num_logprobs, 0, vocab_)) + logprob_tokens_of(row).size();
  }
  static History penalised_history(const SamplingRow& row) {
    const bool repetition = row.repetition_penalty != 1.0f;
    if (!repetition && row.presence_penalty == 0.0f && row.frequency_penalty == 0.0f) return {};
    History history{{}, row.output_tokens, true};
    if (repetition) history.prompt = row.prompt_tokens;
    return history;
  }
  static bool edits_scores(const SamplingRow& row) {
    CHECK(row.bias_after.empty() || row.previous_row >= 0);
    if (!row.logit_bias.empty() || !row.bias_after.empty()) return true;
    const History history = penalised_history(row);
    return history.any && (!history.prompt.empty() || !history.output.empty() || row.previous_row >= 0);
  }

  // Whether the blocks that look at the row build its edits: each goes through the whole lists.
  static bool in_parts(const SamplingRow& row, const History& history) {
    return num_edited_tokens(row, history) <= kMostInParts;
  }
  // At most; the one more is what the step before drew.
  static size_t num_edited_tokens(const SamplingRow& row, const History& history) {
    return row.logit_bias.size() + row.bias_after.size() + history.prompt.size() + history.output.size() + 1;
  }

  int32_t mask_index(const SamplingRow& row) {
    if (row.allowed_mask.empty()) return -1;
    return bitmap_index(row, true, [&](const SamplingRow& other) {
      return other.allowed_mask.data() == row.allowed_mask.data() &&
             other.allowed_mask.size() == row.allowed_mask.size();
    });
  }
  int32_t bans_index(const SamplingRow& row) {
    const std::span<const int32_t> ids = row.banned_tokens;
    if (ids.empty()) return -1;
    return bitmap_index(row, false, [&](const SamplingRow& other) {
      return other.banned_tokens.size() == ids.size() &&
             (other.banned_tokens.data() == ids.data() ||
              std::equal(ids.begin(), ids.end(), other.banned_tokens.begin()));
    });
  }
  template <class Same>
  int32_t bitmap_index(const SamplingRow& row, bool is_mask, Same same) {
    const auto found = std::find_if(bitmaps_.begin(), bitmaps_.end(), [&](const Bitmap& bitmap) {
      return bitmap.is_mask == is_mask && same(*bitmap.row);
    });
    if (found != bitmaps_.end()) return static_cast<int32_t>(found - bitmaps_.begin());
    bitmaps_.push_back({&row, is_mask, nullptr});
    return static_cast<int32_t>(bitmaps_.size()) - 1;
  }
  void write_bitmap(Bitmap& bitmap) {
    const auto place = take<uint32_t>(words_);
    bitmap.device = place.device;
    std::fill_n(place.host, words_, 0);
    if (bitmap.is_mask) {
      const std::span<const uint64_t> mask = bitmap.row->allowed_mask;
      std::memcpy(place.host, mask.data(), std::min(mask.size_bytes(), words_ * sizeof(uint32_t)));
      // no token lies past the vocabulary
      if (vocab_ % 32 != 0) place.host[vocab_ / 32] &= (1u << (vocab_ % 32)) - 1u;
      std::fill(place.host + (vocab_ + 31) / 32, place.host + words_, 0);
      return;
    }
    for (const int32_t token : bitmap.row->banned_tokens) {
      CHECK(token >= 0 && token < vocab_);
      place.host[token / 32] |= 1u << (token % 32);
    }
  }

  DeviceRow settings(const SamplingRow& row) const {
    DeviceRow out;
    out.greedy = cpu::is_greedy(row);
    out.scale = out.greedy ? 1.0f : 1.0f / row.temperature;
    out.top_k = row.top_k > 0 && row.top_k < vocab_ ? row.top_k : 0;
    out.top_p = row.top_p;
    out.min_p = row.min_p;
    out.typical_p = row.typical_p;
    if (cpu::excludes_top_choices(row)) out.xtc_threshold = cpu::top_choice_share(row);
    out.uniform = uniform_at(row.seed, row.position);
    out.num_logprobs = std::min(row.num_logprobs, vocab_);
    out.few = needs_few(row);
    return out;
  }
  bool needs_few(const SamplingRow& row) const {
    return row.num_logprobs < 0 &&
           (cpu::is_greedy(row) || (row.top_k > 0 && row.top_k < vocab_ && row.top_k <= kMostFew));
  }

  RowEdits write_edits(const SamplingRow& row) {
    const History history = penalised_history(row);
    RowEdits edits;
    edits.num_bias = static_cast<int32_t>(row.logit_bias.size());
    edits.num_prompt = static_cast<int32_t>(history.prompt.size());
    edits.num_output = static_cast<int32_t>(history.output.size());
    const auto bias = take<BiasEntry>(row.logit_bias.size());
    edits.bias = bias.device;
    for (size_t i = 0; i < row.logit_bias.size(); ++i) {
      bias.host[i] = {row.logit_bias[i].first, row.logit_bias[i].second};
      CHECK(bias.host[i].token >= 0 && bias.host[i].token < vocab_);
    }
    const auto by_token = [](const BiasEntry& a, const BiasEntry& b) { return a.token < b.token; };
    if (!std::is_sorted(bias.host, bias.host + edits.num_bias, by_token)) {
      std::stable_sort(bias.host, bias.host + edits.num_bias, by_token);
    }
    const auto tokens = take<int32_t>(history.prompt.size() + history.output.size());
    edits.prompt = tokens.device;
    edits.output = tokens.device + edits.num_prompt;
    copy_tokens(history.prompt, tokens.host);
    copy_tokens(history.output, tokens.host + edits.num_prompt);
    const auto after = take<ConditionalBias>(row.bias_after.size());
    edits.after = after.device;
    edits.num_after = static_cast<int32_t>(row.bias_after.size());
    std::copy(row.bias_after.begin(), row.bias_after.end(), after.host);
    for (const ConditionalBias& entry : row.bias_after) CHECK(entry.token >= 0 && entry.token < vocab_);
    if (history.any || edits.num_after > 0) edits.previous_row = row.previous_row;
    if (history.any) {
      edits.repetition = row.repetition_penalty;
      edits.presence = row.presence_penalty;
      edits.frequency = row.frequency_penalty;
    }
    const size_t edited = num_edited_tokens(row, history);
    edits.in_parts = in_parts(row, history);
    edits.values = take_scratch<float>(edited);
    edits.counts = take_scratch<uint32_t>(edited);
    return edits;
  }
  void copy_tokens(std::span<const int32_t> from, int32_t* to) const {
    uint32_t largest = 0;
    for (size_t i = 0; i < from.size(); ++i) {
      to[i] = from[i];
      largest = std::max(largest, static_cast<uint32_t>(from[i]));
    }
    CHECK(from.empty() || largest < static_cast<uint32_t>(vocab_));
  }

  int32_t vocab_;
  size_t words_;  // of a bitmap
  std::vector<Bitmap> bitmaps_;
  std::vector<RowBitmaps> row_bitmaps_;
  std::vector<int32_t> edited_, wide_;
  size_t upload_bytes_ = 0, device_bytes_ = 0, num_tops_ = 0, edited_offset_ = 0, wide_offset_ = 0;
  std::byte* host_ = nullptr;
  std::byte* device_ = nullptr;
  size_t used_ = 0, scratch_used_ = 0;
};

// What a row drew, as the caller wants it. tops: all rows' largest logits. Throws std::runtime_error where
// nothing could be drawn.
inline SampledToken sampled_token(const DeviceRow& row, const DrawnRow& drawn, const TokenLogprob* tops) {
  if (drawn.status == DrawStatus::NoFiniteLogit) {
    throw std::runtime_error("the model's logits hold no finite number");
  }
  if (drawn.status == DrawStatus::EmptyMask) throw std::runtime_error("the mask of allowed tokens is empty");
  SampledToken result;
  result.token = drawn.token;
  if (row.num_logprobs < 0) return result;
  result.logprob = drawn.logit - drawn.log_sum;
  result.top.assign(tops + row.first_top, tops + row.first_top + drawn.num_top);
  std::sort(result.top.begin(), result.top.end(), [](const TokenLogprob& a, const TokenLogprob& b) {
    return a.logprob != b.logprob ? a.logprob > b.logprob : a.token < b.token;
  });
  for (int32_t i = 0; i < row.num_logprob_tokens; ++i) {
    const TokenLogprob& asked = tops[row.first_top + drawn.num_top + i];
    const auto is_asked = [&](const TokenLogprob& top) { return top.token == asked.token; };
    if (std::none_of(result.top.begin(), result.top.begin() + drawn.num_top, is_asked)) {
      result.top.push_back(asked);
    }
  }
  for (TokenLogprob& top : result.top) top.logprob -= drawn.log_sum;
  return result;
}

}  // namespace qwend::cuda
