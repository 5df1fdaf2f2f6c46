// The device's model as it serves: whole forward passes, logits out.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "engine/model/qwen_model.h"
#include "engine/verify/batch.h"
#include "engine/verify/rows.h"
#include "kernels/backend.h"

namespace qwend::verify {

// One step; logits of the given rows of the batch. [rows, V]
Rows forward(QwenModel& model, Backend& backend, DeviceKvCache& kv, Batch& batch,
             std::span<const int32_t> logit_rows);

// The largest logit's index: the lowest on a tie; NaN never wins.
int32_t argmax(std::span<const float> logits);

// Appends `count` greedy tokens to each sequence: all prompts in one step, then one token a sequence and
// step. Sequences need blocks for prompt and count tokens.
void generate(QwenModel& model, Backend& backend, DeviceKvCache& kv, std::vector<TestSequence>& sequences,
              int32_t count);

}  // namespace qwend::verify
