// What the self-check found, stage by stage. Plain data: the command line makes a table or JSON of it.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace qwend::verify {

// In the order in which a token passes them; of each layer those from AttnNorm to Cumulative.
enum class Stage : uint8_t {
  Weights,
  Vectors,
  Embeddings,
  AttnNorm,
  KvSlots,
  QueryUnrotated,
  KeyUnrotated,
  Value,
  Query,
  Key,
  KvReadBack,
  Beyond,
  AttnWeights,
  RowSums,
  AttnOutput,
  Projection,
  FfnNorm,
  Router,
  FfnHidden,
  FfnOutput,
  Residual,
  Cumulative,
  FinalNorm,
  Logits,
  ForwardLogits,
  Divergence,
  Top1,
  Greedy,
  Diverse,
  Prompts,
  Batch,
  Prefix,
  Chunks,
};

// How the device computes: which errors are rounding and which are faults.
enum class Numerics : uint8_t {
  Exact,  // FP32 throughout: only the order of sums differs
  Fast,   // the CPU's products: activations of 15 bits with a scale for 32 values, keys and values in FP32
  Half,   // tensor cores: activations, keys and values of 11 bits (FP16), sums in FP32
};

// What a stage measures, and how far off each kind of device may be.
struct StageInfo {
  Stage stage;
  const char* id;     // "key_before_rope"
  const char* title;  // "K before RoPE"
  const char* unit;   // "relative", "absolute", "count"
  double exact, fast, half;
  double tolerance(Numerics numerics) const {
    return numerics == Numerics::Exact ? exact : numerics == Numerics::Fast ? fast : half;
  }
};
std::span<const StageInfo> stages();  // all, in order
const StageInfo& info(Stage stage);

// Where a difference is; -1 or empty where that says nothing.
struct Place {
  std::string tensor;
  int32_t layer = -1;
  int32_t head = -1;
  int32_t sequence = -1;
  int32_t position = -1;
};
std::string text(const Place& place);  // "layer 1, head 0, sequence 0, position 17 (blk.1.attn_k)"

// One comparison: its largest error, and where that is.
struct Outcome {
  Stage stage = Stage::Weights;
  double error = 0.0, tolerance = 0.0;
  int64_t compared = 0;  // rows, heads, positions...
  Place place;
  std::string detail;  // what is there, what should be, and a cause where one is recognised
  bool passed() const { return error <= tolerance; }
};

struct Report {
  std::string model, device, architecture;
  Numerics numerics = Numerics::Exact;
  int32_t num_layers = 0, num_sequences = 0, num_positions = 0, longest_sequence = 0;
  std::vector<std::string> notes;
  std::vector<Outcome> outcomes;  // in order: the first that failed is the first difference

  const Outcome* first_failure() const;  // nullptr: none
  bool passed() const { return first_failure() == nullptr; }
};

}  // namespace qwend::verify
