#include "engine/verify/subject.h"

#include <cstdio>

namespace qwend::verify {
namespace {
constexpr double kMoved = 1.0;  // relative error of a token whose experts differ
}  // namespace

// FP16 activations send some tokens to other experts than FP32 does, wherever two experts are nearly tied:
// that moves such a token, and a little those that attend to it, by up to its own size, and neither side is
// wrong.
double Subject::tolerance(Stage stage) const {
  const bool added_up = stage == Stage::Cumulative || stage == Stage::ForwardLogits ||
                        stage == Stage::Batch || stage == Stage::Prefix || stage == Stage::Chunks;
  const bool moved = added_up && numerics == Numerics::Half && config().arch->moe;
  return moved ? kMoved : info(stage).tolerance(numerics);
}

Outcome& Subject::record(Stage stage, const Worst& worst, int64_t compared, const StepShape* shape,
                         int32_t layer, std::string tensor, bool heads) {
  Outcome outcome{.stage = stage,
                  .error = std::max(worst.error, 0.0),
                  .tolerance = tolerance(stage),
                  .compared = compared,
                  .place = {},
                  .detail = {}};
  outcome.place.layer = layer;
  outcome.place.tensor = layer >= 0 && !tensor.empty() ? layer_tensor(layer, tensor) : std::move(tensor);
  if (heads) outcome.place.head = static_cast<int32_t>(worst.part);
  if (shape != nullptr && worst.row >= 0) {
    outcome.place.sequence = shape->batch.sequence(worst.row);
    outcome.place.position = shape->batch.position(worst.row);
    if (shape->decode) outcome.detail = "in a step of one token a sequence: ";
  }
  return report.outcomes.emplace_back(std::move(outcome));
}

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", value);
  return text;
}

std::string values_text(std::span<const float> got, std::span<const float> want) {
  const auto i = static_cast<size_t>(worst_element(got, want));
  return "device " + number(got[i]) + ", reference " + number(want[i]) + " at element " + std::to_string(i);
}

}  // namespace qwend::verify
