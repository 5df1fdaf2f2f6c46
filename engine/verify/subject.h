// What all checks of the self-check share: the two sides, the tokens, and where findings go.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "engine/gguf/gguf.h"
#include "engine/model/qwen_model.h"
#include "engine/verify/batch.h"
#include "engine/verify/report.h"
#include "engine/verify/rows.h"
#include "engine/verify/side.h"

namespace qwend::verify {

// A step that each op is run in, and its rows among those of all tokens.
struct StepShape {
  Batch batch;
  std::vector<int32_t> rows;
  bool decode = false;
  Rows of(const Rows& all) const { return all.select(rows); }
};

struct Subject {
  const gguf::File& file;
  QwenModel& model;  // on the device
  Side& device;
  Side& reference;  // one layer of cache
  Numerics numerics;
  std::vector<TestSequence> sequences;  // prompts, each with what the device generated after it
  std::vector<int32_t> prompt_lengths;  // of each sequence
  StepShape whole;                      // every token of every sequence, in order
  StepShape last;                       // the last token of each, as in decoding
  std::vector<int32_t> first_rows;      // [sequences] row of each one's position 0 in `whole`
  Report& report;

  const ModelConfig& config() const { return model.config(); }

  double tolerance(Stage stage) const;
  // Adds an outcome. shape: the step whose row worst.row is, or none. heads: worst.part is a head.
  Outcome& record(Stage stage, const Worst& worst, int64_t compared, const StepShape* shape = nullptr,
                  int32_t layer = -1, std::string tensor = {}, bool heads = false);
};

// "device 0.25, reference 0.5 at element 3"
std::string values_text(std::span<const float> got, std::span<const float> want);
std::string number(double value);  // 4 significant digits

}  // namespace qwend::verify
