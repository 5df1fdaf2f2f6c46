// Prompts among decoding streams, by the whole engine: what one costs the other.
#pragma once
#include <optional>
#include <vector>

#include "engine/device.h"
#include "engine/engine.h"
#include "engine/gguf/gguf.h"

namespace qwend::cli {

struct MixedFigure {
  int streams = 0, context = 0, prompt = 0;  // tokens of a stream when it starts, and of the prompts
  // Tokens a second of all streams together, and the longest time between two tokens of one stream, in
  // seconds: before any prompt has come, and from a prompt's arrival to its first token.
  double alone = 0, alone_gap = 0;
  double beside = 0, beside_gap = 0;
  double prompt_rate = 0;  // prompt tokens a second, waiting included
};

// Loads the model once more, with a KV cache for its largest case. One thread.
class MixedBench {
 public:
  struct Cases {
    std::vector<int> streams, prompts;  // every number of streams with every prompt length
    int context = 0, repetitions = 1;
    int batch_tokens = 0;                  // of a step
    int threads = 0;                       // of the CPU; 0: one a core
    std::optional<KvDType> kv_dtype = {};  // none: default_kv_dtype()
  };
  // Throws LoadError, DeviceError.
  MixedBench(const gguf::File& file, const Device& device, Cases cases);
  // `streams` are decoding when prompts of `prompt` tokens come, one after the other, `repetitions` times.
  // Throws std::runtime_error when the engine fails.
  MixedFigure run(int streams, int prompt);

 private:
  GenerationRequest request(int prompt_tokens, int output_tokens);
  int stream_tokens(int streams, int prompt) const;

  const Cases cases_;
  int vocab_ = 0;
  uint32_t random_ = 1;
  std::unique_ptr<Engine> engine_;
};

}  // namespace qwend::cli
