// The same tokens in other company: alone, in chunks of several sizes, on blocks that have been computed
// before.
#include <algorithm>

#include "engine/verify/check_output.h"
#include "engine/verify/forward.h"
#include "kernels/check.h"

namespace qwend::verify {
namespace {

constexpr int32_t kSingleTokens = 16;  // at the end of a sequence that is computed token by token

class Behaviour {
 public:
  Behaviour(Subject& subject, const Rows& whole)
      : subject_(subject), whole_(whole), blocks_(subject.device.kv().spec().num_blocks) {}

  void different_prompts() {
    Worst worst{0.0, -1, -1};
    for (size_t s = 1; s < subject_.sequences.size(); ++s) {
      if (subject_.sequences[s].tokens == subject_.sequences[0].tokens) continue;
      if (std::ranges::equal(last_logits(0), last_logits(s))) worst = {1.0, last_row(s), 0};
    }
    const auto others = static_cast<int64_t>(subject_.sequences.size()) - 1;
    Outcome& outcome = subject_.record(Stage::Prompts, worst, others, &subject_.whole);
    if (!outcome.passed()) outcome.detail = "the same logits as after sequence 0";
  }

  void alone() {
    Comparison all;
    for (size_t s = 0; s < subject_.sequences.size(); ++s) {
      TestSequence sequence = fresh(s);
      compare(all, s, 0, run(sequence, {sequence.size()}), "alone");
    }
    record(Stage::Batch, all);
  }

  void cached_prefix() {
    TestSequence cold = fresh(0), warm = cold;
    run(cold, {cold.size()});
    const int32_t cached = (subject_.prompt_lengths[0] - 1) / kBlockSize;
    const std::vector<int32_t> own = blocks_.take(warm.size() - cached * kBlockSize);
    std::ranges::copy(own, warm.blocks.begin() + cached);
    Comparison all;
    const int32_t from = cached * kBlockSize;
    compare(all, 0, from, run(warm, {warm.size() - from}, from),
            "on a prefix of " + std::to_string(from) + " tokens");
    record(Stage::Prefix, all);
  }

  void chunks() {
    Comparison all;
    for (const int32_t size : {16, 33, 129}) {
      TestSequence sequence = fresh(0);
      const std::vector<int32_t> plan(static_cast<size_t>((sequence.size() + size - 1) / size), size);
      compare(all, 0, 0, run(sequence, plan), "in chunks of " + std::to_string(size));
    }
    TestSequence sequence = fresh(0);
    const int32_t single = std::min(kSingleTokens, sequence.size() - 1);
    std::vector<int32_t> plan(static_cast<size_t>(single) + 1, 1);
    plan.front() = sequence.size() - single;
    compare(all, 0, 0, run(sequence, plan), "the end token by token");
    record(Stage::Chunks, all);
  }

 private:
  struct Comparison {
    Worst worst;  // row: of the whole step
    int64_t compared = 0;
    std::string how;  // of the worst
  };

  // Sequence s in other blocks. Those of the sequence before may be used again: all is computed anew.
  TestSequence fresh(size_t s) {
    blocks_.reset();
    TestSequence sequence = subject_.sequences[s];
    sequence.blocks = blocks_.take(sequence.size());
    std::ranges::reverse(sequence.blocks);
    return sequence;
  }

  // Computes tokens from `begin` on in steps of the given sizes (the last may be short); all their logits.
  Rows run(const TestSequence& sequence, const std::vector<int32_t>& steps, int32_t begin = 0) {
    Rows all{subject_.config().vocab, {}};
    for (const int32_t size : steps) {
      Batch batch;
      batch.add(sequence, 0, begin, std::min(size, sequence.size() - begin));
      begin += batch.num_tokens();
      const Rows some =
          forward(subject_.model, subject_.device.backend(), subject_.device.kv(), batch, batch.all_rows());
      all.values.insert(all.values.end(), some.values.begin(), some.values.end());
    }
    CHECK(begin == sequence.size());
    return all;
  }

  // got: logits of sequence s from position `from` on.
  void compare(Comparison& all, size_t s, int32_t from, const Rows& got, const std::string& how) {
    std::vector<int32_t> rows;
    for (int32_t i = 0; i < got.count(); ++i) rows.push_back(subject_.first_rows[s] + from + i);
    const Worst worst = relative_error(got, whole_.select(rows), got.width);
    all.compared += got.count();
    if (worst.error <= all.worst.error) return;
    all.worst = {worst.error, rows[static_cast<size_t>(worst.row)], 0};
    all.how = how;
  }

  void record(Stage stage, const Comparison& all) {
    Outcome& outcome = subject_.record(stage, all.worst, all.compared, &subject_.whole);
    outcome.detail =
        all.worst.error > 0.0 ? all.how + ": other logits than all sequences in one step" : "equal bits";
  }

  int64_t last_row(size_t s) const { return subject_.first_rows[s] + subject_.sequences[s].size() - 1; }
  std::span<const float> last_logits(size_t s) const { return whole_.row(last_row(s)); }

  Subject& subject_;
  const Rows& whole_;
  ScatteredBlocks blocks_;
};

}  // namespace

void check_behaviour(Subject& subject, const Rows& whole) {
  Behaviour behaviour(subject, whole);
  behaviour.different_prompts();
  behaviour.alone();
  behaviour.cached_prefix();
  behaviour.chunks();
}

}  // namespace qwend::verify
