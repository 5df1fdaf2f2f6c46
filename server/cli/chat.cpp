#include "server/cli/chat.h"

#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <iostream>

#include "engine/engine.h"
#include "server/cli/progress.h"
#include "server/embedded_model.h"

namespace qwend::cli {
namespace {

volatile std::sig_atomic_t g_interrupted =
    0;  // Ctrl-C ends the answer, a second one at the prompt the program
void on_interrupt(int) { g_interrupted = 1; }

class Conversation {
 public:
  Conversation(const ChatOptions& options, const LoadedModel& model, Engine& engine)
      : options_(options), model_(model), engine_(engine) {
    reset();
  }

  void reset() {
    messages_.clear();
    if (!options_.system.empty()) add("system", options_.system);
  }

  // Prints the answer as it comes. False when the model can't go on (context full).
  bool ask(const std::string& text) {
    add("user", text);
    auto prompt = model_.chat_template.render(messages_, {}, {});
    if (!prompt.ok()) return fail(prompt.error());
    GenerationRequest request;
    request.prompt = model_.tokenizer->encode(prompt.value());
    const int room = model_.info.max_model_len - static_cast<int>(request.prompt.size());
    if (room < 1) return fail("the conversation no longer fits the context; /reset starts a new one");
    request.stop.max_tokens = options_.max_tokens > 0 ? std::min(options_.max_tokens, room) : room;
    request.sampling = model_.info.default_sampling;
    if (options_.temperature >= 0) request.sampling.temperature = static_cast<float>(options_.temperature);
    if (options_.seed >= 0) request.sampling.seed = static_cast<uint64_t>(options_.seed);
    auto stream = engine_.submit(std::move(request));
    if (!stream.ok()) return fail(stream.error().message);
    add("assistant", follow(*stream.value()));
    return true;
  }

 private:
  void add(const char* role, std::string content) {
    messages_.push_back(
        {.role = role, .content = std::move(content), .reasoning = {}, .tool_calls = {}, .tool_call_id = {}});
  }

  bool fail(const std::string& message) {
    messages_.pop_back();
    std::cerr << "qwend: " << message << "\n";
    return false;
  }

  std::string follow(OutputStream& stream) {
    std::string answer;
    for (bool last = false; !last;) {
      if (g_interrupted) engine_.cancel(stream.id());
      for (const OutputDelta& delta : stream.take_all(std::chrono::milliseconds(100))) {
        answer += delta.text;
        std::cout << delta.text << std::flush;
        if (!delta.error.empty()) std::cerr << "\nqwend: " << delta.error;
        last = last || delta.last;
        if (delta.last) report(delta);
      }
    }
    return answer;
  }

  void report(const OutputDelta& delta) const {
    std::cout << "\n";
    if (!isatty(STDOUT_FILENO)) return;
    const double seconds = delta.timings.predicted_ms / 1000;
    const double rate = seconds > 0 ? delta.usage.completion_tokens / seconds : 0;
    std::fprintf(
        stdout,
        "\033[2m[%d tokens, %.0f tokens/s, first after %.0f ms, %d of %d prompt tokens cached]\033[0m\n",
        delta.usage.completion_tokens, rate, delta.timings.ttft_ms, delta.usage.cached_tokens,
        delta.usage.prompt_tokens);
  }

  const ChatOptions& options_;
  const LoadedModel& model_;
  Engine& engine_;
  std::vector<ChatMessage> messages_;
};

void repl(Conversation& conversation, const ModelInfo& info) {
  const bool terminal = isatty(STDIN_FILENO) != 0;
  if (terminal) {
    std::cout << info.id << ", context " << info.max_model_len
              << " tokens. Ctrl-C stops an answer, /reset forgets, /exit leaves.\n";
  }
  for (std::string line;;) {
    g_interrupted = 0;
    if (terminal) std::cout << "\n> " << std::flush;
    if (!std::getline(std::cin, line) || line == "/exit") return;
    if (line.empty()) continue;
    if (line == "/reset") {
      conversation.reset();
    } else {
      conversation.ask(line);
    }
  }
}

}  // namespace

void add_chat_options(OptionTable& table, ChatOptions& o) {
  o.model.max_seqs = 1;
  add_model_options(table, o.model);
  table.add("system", o.system, "system message");
  table.add("prompt", o.prompt, "answer this one message and leave");
  table.add("temperature", o.temperature, "0 for greedy; negative for the model's recommendation");
  table.add("max-tokens", o.max_tokens, "longest answer, 0 for what the context allows")
      ->check(CLI::NonNegativeNumber);
  table.add("seed", o.seed, "seed of the random draws, negative for a new one each time");
}

int run_chat(const ChatOptions& options) {
  const gguf::File file = open_model(options.model.model);
  LoadedModel model = [&] {
    ProgressBar bar("loading");
    return load_model(file, options.model.load_settings(),
                      [&](uint64_t done, uint64_t total) { bar.update(done, total); });
  }();
  if (!model.chat_template.warning().empty()) std::cerr << "qwend: " << model.chat_template.warning() << "\n";
  Engine engine(model.engine_config, std::move(model.executor), model.tokenizer);
  struct sigaction action = {};
  action.sa_handler = on_interrupt;  // no SA_RESTART: a read at the prompt ends, and with it the program
  sigaction(SIGINT, &action, nullptr);
  Conversation conversation(options, model, engine);
  if (!options.prompt.empty()) return conversation.ask(options.prompt) ? 0 : 64;
  repl(conversation, model.info);
  return 0;
}

}  // namespace qwend::cli
