// Stages 4 and 5: what comes out of the model, and how it behaves.
#pragma once
#include "engine/verify/layer_check.h"
#include "engine/verify/subject.h"

namespace qwend::verify {

// Final norm, logits, divergence and greedy tokens. x: the reference's residual after the last layer [T, D].
// Returns the device's logits of the whole step, from its own forward pass. [T, V]
Rows check_output(Subject& subject, LayerCheck& layers, const Rows& x);

// The same tokens in other company: alone, in chunks, on a cached prefix. whole: the device's logits of all
// tokens in one step.
void check_behaviour(Subject& subject, const Rows& whole);

}  // namespace qwend::verify
