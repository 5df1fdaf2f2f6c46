#include "engine/verify/verify.h"

#include <algorithm>

#include "engine/verify/check_output.h"
#include "engine/verify/check_weights.h"
#include "engine/verify/forward.h"
#include "engine/verify/layer_check.h"
#include "kernels/check.h"

namespace qwend::verify {
namespace {

constexpr int32_t kLongestPrompt = 384, kOtherPrompt = 48;  // tokens; with the continuations below kMaxTokens
constexpr int32_t kSpareBlocks = 3;  // that no sequence owns: to see writes that go astray

struct Upload {
  const Settings& settings;
  static void report(void* context, uint64_t done, uint64_t total) {
    const auto& progress = static_cast<Upload*>(context)->settings.progress;
    if (progress) progress("loading", done, total);
  }
};

// The prompts, cut to what a step and the model's context hold.
std::vector<TestSequence> make_sequences(const Settings& settings, const ModelConfig& config,
                                         Report& report) {
  CHECK(!settings.prompts.empty());
  std::vector<TestSequence> sequences;
  int32_t left = kMaxTokens;
  for (const std::vector<int32_t>& prompt : settings.prompts) {
    const int32_t limit =
        std::min({sequences.empty() ? kLongestPrompt : kOtherPrompt,
                  config.context_length - settings.continuation, left - settings.continuation});
    if (limit < 1) break;
    TestSequence sequence{prompt, {}};
    if (sequence.size() > limit) {
      if (sequences.empty()) {
        report.notes.push_back("the first prompt's first " + std::to_string(limit) + " of " +
                               std::to_string(prompt.size()) + " tokens are used");
      }
      sequence.tokens.resize(static_cast<size_t>(limit));
    }
    CHECK(sequence.size() > 0);
    left -= sequence.size() + settings.continuation;
    sequences.push_back(std::move(sequence));
  }
  return sequences;
}

void make_steps(Subject& subject) {
  for (size_t s = 0; s < subject.sequences.size(); ++s) {
    const TestSequence& sequence = subject.sequences[s];
    const auto index = static_cast<int32_t>(s);
    subject.first_rows.push_back(subject.whole.batch.num_tokens());
    subject.whole.batch.add(sequence, index, 0, sequence.size());
    subject.last.batch.add(sequence, index, sequence.size() - 1, 1);
    subject.last.rows.push_back(subject.whole.batch.num_tokens() - 1);
  }
  const auto rows = subject.whole.batch.all_rows();
  subject.whole.rows.assign(rows.begin(), rows.end());
  subject.last.decode = true;
}

void describe(const Subject& subject, Report& report) {
  const ModelConfig& config = subject.config();
  report.model = subject.file.path();
  report.architecture = config.arch->name;
  report.device = subject.device.backend().device_name();
  report.numerics = subject.numerics;
  report.num_layers = config.num_layers;
  report.num_sequences = static_cast<int32_t>(subject.sequences.size());
  report.num_positions = subject.whole.batch.num_tokens();
  for (const TestSequence& s : subject.sequences)
    report.longest_sequence = std::max(report.longest_sequence, s.size());
}

// The reference's layers are loaded one after the other, so that only one is in memory as FP32.
void check_layers(Subject& subject, LayerCheck& check, Rows& x, const Settings& settings) {
  Rows own = x;
  WeightLoader load(subject.file, subject.reference.backend(), nullptr, nullptr);
  const auto layers = static_cast<uint64_t>(subject.config().num_layers);
  for (int32_t i = 0; i < subject.config().num_layers; ++i) {
    const LayerWeights weights = load_layer(load, *subject.config().arch, i);
    x = check.run(i, weights, x, own);
    if (settings.progress) settings.progress("layers", static_cast<uint64_t>(i) + 1, layers);
  }
}

}  // namespace

Report run(const gguf::File& file, Backend& device, const Settings& settings) {
  Report report;
  ModelConfig config = ModelConfig::from_gguf(file);
  std::vector<TestSequence> sequences = make_sequences(settings, config, report);
  std::vector<int32_t> prompt_lengths;
  int32_t blocks = kSpareBlocks;
  for (const TestSequence& sequence : sequences) {
    prompt_lengths.push_back(sequence.size());
    blocks += (sequence.size() + settings.continuation + kBlockSize - 1) / kBlockSize;
  }
  blocks +=
      (sequences[0].size() + settings.continuation) / kBlockSize + 1;  // sequence 0 in blocks of its own

  Upload upload{settings};
  QwenModel model(file, std::move(config), device, Upload::report, &upload);
  const auto reference_backend =
      make_cpu_backend(kMaxTokens, kMaxTokens, settings.threads, CpuProducts::Exact);
  Side tested(device, model.config(), model.config().num_layers, blocks, settings.kv_dtype);
  Side reference(*reference_backend, model.config(), 1, blocks, KvDType::F32);

  ScatteredBlocks pool(blocks);
  for (TestSequence& sequence : sequences)
    sequence.blocks = pool.take(sequence.size() + settings.continuation);
  generate(model, device, tested.kv(), sequences, settings.continuation);

  Subject subject{
      file, model, tested, reference, settings.numerics, std::move(sequences), std::move(prompt_lengths),
      {},   {},    {},     report};
  make_steps(subject);
  describe(subject, report);
  check_weights(subject, settings.all_weights, [&](uint64_t done, uint64_t total) {
    if (settings.progress) settings.progress("weights", done, total);
  });
  Rows x = check_embeddings(subject);
  LayerCheck layers(subject);
  check_layers(subject, layers, x, settings);
  check_behaviour(subject, check_output(subject, layers, x));
  return report;
}

}  // namespace qwend::verify
