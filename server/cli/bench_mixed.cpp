#include "server/cli/bench_mixed.h"

#include <algorithm>
#include <stdexcept>
#include <thread>

#include "engine/loader.h"

namespace qwend::cli {
namespace {

constexpr int kSettle = 8, kAlone = 64;  // tokens of each stream before, and while it is measured alone
// Tokens of a stream beyond those that are measured: steps that pass while the host looks on, and until all
// are cancelled.
constexpr int kSlack = 256;

double seconds(Clock::duration d) { return std::chrono::duration<double>(d).count(); }
int steps_of(int tokens, int step) { return (tokens + step - 1) / step; }
int blocks_of(int tokens) { return steps_of(tokens, kBlockSize); }

// When each token of a request was handed out.
struct Follower {
  std::shared_ptr<OutputStream> stream;
  std::vector<Clock::time_point> tokens = {};

  void poll() {
    for (const OutputDelta& delta : stream->take_all(std::chrono::milliseconds(0))) {
      if (!delta.error.empty()) throw std::runtime_error("bench: " + delta.error);
      tokens.insert(tokens.end(), delta.tokens.size(), delta.published_at);
    }
  }
};

// Tokens of all streams in some stretches of time, and the longest gap that ends in one.
struct Traffic {
  double time = 0, tokens = 0, gap = 0;

  void add(const std::vector<Follower>& streams, Clock::time_point begin, Clock::time_point end) {
    time += seconds(end - begin);
    for (const Follower& stream : streams) {
      for (size_t i = 1; i < stream.tokens.size(); ++i) {
        if (stream.tokens[i] <= begin || stream.tokens[i] > end) continue;
        tokens += 1;
        gap = std::max(gap, seconds(stream.tokens[i] - stream.tokens[i - 1]));
      }
    }
  }
};

// Ends the streams whatever happens.
class Running {
 public:
  explicit Running(Engine& engine) : engine_(engine) {}
  ~Running() {
    for (const Follower& stream : streams) engine_.cancel(stream.stream->id());
    while (!engine_.idle() && engine_.alive()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  Follower submit(GenerationRequest request) {
    auto stream = engine_.submit(std::move(request));
    if (!stream.ok()) throw std::runtime_error("bench: " + stream.error().message);
    return {stream.value()};
  }
  // Looks at what has come, often enough that no two deltas of a stream are joined, until done().
  template <class Done>
  void poll_until(const Done& done) {
    for (;;) {
      for (Follower& stream : streams) stream.poll();
      if (done()) return;
      if (!engine_.alive()) throw std::runtime_error("bench: " + engine_.failure());
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
  size_t fewest_tokens() const {
    return std::ranges::min_element(streams, {}, [](const Follower& s) { return s.tokens.size(); })
        ->tokens.size();
  }

  std::vector<Follower> streams;

 private:
  Engine& engine_;
};

}  // namespace

MixedBench::MixedBench(const gguf::File& file, const Device& device, Cases cases) : cases_(std::move(cases)) {
  const int streams = *std::ranges::max_element(cases_.streams);
  const int prompt = *std::ranges::max_element(cases_.prompts);
  const int context = cases_.context + stream_tokens(streams, prompt);
  LoadSettings settings;
  settings.device.kind = device.is_cuda() ? DeviceChoice::Kind::Cuda : DeviceChoice::Kind::Cpu;
  if (device.is_cuda()) settings.device.index = device.cuda->index;
  settings.threads = cases_.threads;
  settings.max_batch_tokens = cases_.batch_tokens;
  settings.max_queue = streams + 1;
  settings.prefix_cache = false;
  settings.memory.max_seqs = streams + 1;
  settings.memory.kv_dtype = cases_.kv_dtype;
  settings.memory.ctx = std::max(prompt + 1, context);
  settings.memory.kv_blocks = streams * (blocks_of(context) + 1) + blocks_of(prompt + 1) + 1;
  LoadedModel model = load_model(file, settings);
  vocab_ = model.config.vocab;
  engine_ = std::make_unique<Engine>(model.engine_config, std::move(model.executor), model.tokenizer);
}

// What a stream generates at most: while the others' contexts are computed, alone, and beside the prompts.
int MixedBench::stream_tokens(int streams, int prompt) const {
  const int room = std::max(1, cases_.batch_tokens - streams);  // that the streams' own tokens leave
  return steps_of(streams * std::max(1, cases_.context), room) + kSettle + kAlone +
         cases_.repetitions * (steps_of(prompt, room) + 2) + kSlack;
}

GenerationRequest MixedBench::request(int prompt_tokens, int output_tokens) {
  GenerationRequest request;
  for (int i = 0; i < prompt_tokens; ++i) {
    random_ = random_ * 1664525u + 1013904223u;
    request.prompt.push_back(static_cast<int32_t>((random_ >> 8) % static_cast<uint32_t>(vocab_)));
  }
  request.sampling.temperature = 0.7f, request.sampling.top_k = 20, request.sampling.top_p = 0.8f;
  request.sampling.seed = random_;
  request.stop.max_tokens = output_tokens;
  request.stop.ignore_eos = true;
  return request;
}

MixedFigure MixedBench::run(int streams, int prompt) {
  const int output = stream_tokens(streams, prompt);
  Running running(*engine_);
  for (int s = 0; s < streams; ++s)
    running.streams.push_back(running.submit(request(std::max(1, cases_.context), output)));

  const auto all_have = [&](size_t tokens) {
    running.poll_until([&] { return running.fewest_tokens() >= tokens; });
    return Clock::now();
  };
  Traffic alone, beside;
  const auto begin = all_have(kSettle);
  const size_t settled = running.fewest_tokens();
  alone.add(running.streams, begin, all_have(settled + kAlone));
  for (int i = 0; i < cases_.repetitions; ++i) {
    const auto arrival = Clock::now();
    Follower newcomer = running.submit(request(prompt, 1));
    running.poll_until([&] {
      newcomer.poll();
      return !newcomer.tokens.empty();
    });
    beside.add(running.streams, arrival, newcomer.tokens.front());
  }
  for (const Follower& stream : running.streams) {
    if (stream.tokens.size() >= static_cast<size_t>(output))
      throw std::runtime_error("bench: a stream ended before the last prompt had its first token");
  }
  return {.streams = streams,
          .context = cases_.context,
          .prompt = prompt,
          .alone = alone.tokens / alone.time,
          .alone_gap = alone.gap,
          .beside = beside.tokens / beside.time,
          .beside_gap = beside.gap,
          .prompt_rate = cases_.repetitions * prompt / beside.time};
}

}  // namespace qwend::cli
