#include "engine/verify/forward.h"

namespace qwend::verify {

Rows forward(QwenModel& model, Backend& backend, DeviceKvCache& kv, Batch& batch,
             std::span<const int32_t> logit_rows) {
  Rows logits{model.config().vocab, {}};
  model.forward(batch.input(logit_rows), kv);
  logits.values.reserve(logit_rows.size() * static_cast<size_t>(logits.width));
  for (size_t i = 0; i < logit_rows.size(); ++i) {
    const std::vector<float> row = backend.read_logits(static_cast<int32_t>(i));
    logits.values.insert(logits.values.end(), row.begin(), row.end());
  }
  backend.sample({});
  return logits;
}

int32_t argmax(std::span<const float> logits) {
  size_t best = 0;
  for (size_t i = 1; i < logits.size(); ++i) {
    if (logits[i] > logits[best] || !(logits[best] == logits[best])) best = i;
  }
  return static_cast<int32_t>(best);
}

void generate(QwenModel& model, Backend& backend, DeviceKvCache& kv, std::vector<TestSequence>& sequences,
              int32_t count) {
  std::vector<int32_t> computed(sequences.size(), 0);
  for (int32_t i = 0; i < count; ++i) {
    Batch batch;
    std::vector<int32_t> ends;
    for (size_t s = 0; s < sequences.size(); ++s) {
      batch.add(sequences[s], static_cast<int32_t>(s), computed[s], sequences[s].size() - computed[s]);
      computed[s] = sequences[s].size();
      ends.push_back(batch.num_tokens() - 1);
    }
    const Rows logits = forward(model, backend, kv, batch, ends);
    for (size_t s = 0; s < sequences.size(); ++s) {
      sequences[s].tokens.push_back(argmax(logits.row(static_cast<int64_t>(s))));
    }
  }
}

}  // namespace qwend::verify
