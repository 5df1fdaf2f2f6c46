// The API over a real engine whose model says what the test wants; no sockets.
#pragma once
#include <atomic>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "server/app.h"
#include "server/handlers/handlers.h"
#include "server/metrics.h"
#include "tests/support/catch2.h"
#include "tests/support/fake_executor.h"
#include "tests/support/test_vocabulary.h"

namespace qwend::test {

using Json = nlohmann::ordered_json;

// Records an answer; can play a client that goes away.
class FakeResponder final : public http::Responder {
 public:
  void reply(int reply_status, std::string_view type, std::string reply_body, http::Headers extra) override {
    CHECK(status == 0);
    status = reply_status;
    content_type = type;
    body = std::move(reply_body);
    headers = std::move(extra);
  }
  void start_stream(std::string_view type, http::Headers extra) override {
    CHECK(status == 0);
    status = 200;
    content_type = type;
    headers = std::move(extra);
  }
  bool write(std::string_view bytes) override {
    if (writes == fail_write) return false;
    if (writes++ == 0) first_write = bytes;
    if (on_write) on_write();
    body += bytes;
    return true;
  }
  void end_stream() override {
    CHECK_FALSE(ended);
    ended = true;
  }
  void add_tokens(const http::TokenCounts& counts) override {
    tokens.prompt += counts.prompt;
    tokens.cached += counts.cached;
    tokens.completion += counts.completion;
  }
  bool client_gone() override { return gone_after >= 0 && polls++ >= gone_after; }
  bool shutting_down() override { return shutdown; }

  Json json() const { return Json::parse(body); }
  // The JSON of each event, less [DONE]; comments are skipped.
  std::vector<Json> events() const {
    std::vector<Json> list;
    for (const std::string& data : data_lines())
      if (data != "[DONE]") list.push_back(Json::parse(data));
    return list;
  }
  bool done() const { return body.ends_with("data: [DONE]\n\n"); }
  const std::string* header(std::string_view name) const {
    for (const auto& [key, value] : headers)
      if (key == name) return &value;
    return nullptr;
  }

  int status = 0;
  std::string content_type, body, first_write;
  http::Headers headers;
  http::TokenCounts tokens;
  std::function<void()> on_write;  // after each write
  int writes = 0, polls = 0;
  bool ended = false;
  int fail_write = -1;  // this write fails
  int gone_after = -1;  // polls of the connection that still see it
  bool shutdown = false;

 private:
  std::vector<std::string> data_lines() const {
    std::vector<std::string> lines;
    for (size_t begin = 0; begin < body.size();) {
      const size_t end = body.find("\n\n", begin);
      REQUIRE(end != std::string::npos);
      const std::string event = body.substr(begin, end - begin);
      if (event.starts_with("data: ")) lines.push_back(event.substr(6));
      begin = end + 2;
    }
    return lines;
  }
};

// Template texts reduced to what their family is recognised by.
inline constexpr char kQwen3Template[] =
    "<|im_start|> You may call one or more functions to assist with the user query. return a json object "
    "with function "
    "name and arguments within <tool_call></tool_call> XML tags </think> last_query enable_thinking";
inline constexpr char kQwen25Template[] =
    "<|im_start|> You may call one or more functions to assist with the user query. return a json object "
    "with function "
    "name and arguments within <tool_call></tool_call> XML tags";
inline constexpr char kCoderTemplate[] = "<|im_start|> <function= <parameter=";
inline constexpr char kQwen35Template[] = "<|im_start|> <function= <parameter= </think>";
inline constexpr char kChatMlTemplate[] = "<|im_start|> message <|im_end|>";

class ApiFixture {
 public:
  explicit ApiFixture(const char* template_text = kQwen25Template, EngineConfig config = small_config(),
                      std::shared_ptr<const Tokenizer> with_tokenizer = small_tokenizer())
      : tokenizer(std::move(with_tokenizer)) {
    auto owned = std::make_unique<FakeExecutor>(tokenizer->size(), config.num_kv_blocks, config.block_size);
    executor = owned.get();
    engine = std::make_unique<Engine>(config, std::move(owned), tokenizer);
    app.reset(new App{.engine = *engine,
                      .tokenizer = tokenizer,
                      .chat_template = ChatTemplate::recognise(template_text, "qwen2"),
                      .model = model_info(config),
                      .metrics = metrics,
                      .system_fingerprint = "qwend-test"});
  }

  static EngineConfig small_config() {
    EngineConfig config;
    config.max_model_len = 2048;
    config.max_seqs = 8;
    config.num_kv_blocks = 256;
    config.max_queue = 300;
    return config;
  }

  // From now on the model answers every prompt with this, then ends. Call while nothing runs.
  void say(const std::string& text) {
    const std::vector<int32_t> script = tokenizer->encode(text, Specials::UserDefined);
    auto prompts = std::make_shared<std::vector<std::vector<int32_t>>>();
    executor->logits_of = [script, prompts, vocab = tokenizer->size(),
                           eos = tokenizer->eos()](std::span<const int32_t> context) {
      const size_t said = context.size() - prompt_size(*prompts, context);
      std::vector<float> logits = fake_logits(context, vocab);
      logits[static_cast<size_t>(said < script.size() ? script[said] : eos)] = 60.0f;
      return logits;
    };
  }

  // For a stream within which the model fails: from the first write on.
  FakeResponder failing_once_begun() {
    const auto begun = std::make_shared<std::atomic<bool>>(false);
    executor->on_step = [begun](const StepInput&) {
      if (*begun) throw std::runtime_error("device lost");
    };
    FakeResponder responder;
    responder.on_write = [begun] { *begun = true; };
    return responder;
  }

  using Endpoint = void (*)(App&, const http::Request&, http::Responder&);
  FakeResponder call(Endpoint endpoint, const std::string& body, FakeResponder responder = {}) {
    http::Request request;
    request.body = body;
    request.request_id = "req-" + std::to_string(++calls);
    endpoint(*app, request, responder);
    return responder;
  }
  FakeResponder chat(const Json& body) { return call(handle_chat_completions, body.dump()); }
  FakeResponder complete(const Json& body) { return call(handle_completions, body.dump()); }

  // Everything has been freed, soon.
  bool settles() {
    for (int i = 0; i < 200 && !engine->idle(); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return engine->idle() && engine->check_invariants().empty();
  }

  std::shared_ptr<const Tokenizer> tokenizer;
  FakeExecutor* executor = nullptr;
  Metrics metrics;
  std::unique_ptr<Engine> engine;
  std::unique_ptr<App> app;
  int calls = 0;

 private:
  ModelInfo model_info(const EngineConfig& config) const {
    ModelInfo info;
    info.id = "org/tiny";
    info.architecture = "qwen2";
    info.num_params = 1234;
    info.file_bytes = 5678;
    info.vocab_size = tokenizer->size();
    info.max_model_len = config.max_model_len;
    info.trained_context = 4096;
    info.quantisation = "Q8_0";
    info.created = 1700000000;
    info.default_sampling.temperature = 0.0f;
    return info;
  }

  // Logits are first asked for at the end of a prompt: a context that continues none seen so far is a prompt.
  static size_t prompt_size(std::vector<std::vector<int32_t>>& prompts, std::span<const int32_t> context) {
    for (const auto& prompt : prompts)
      if (prompt.size() <= context.size() && std::equal(prompt.begin(), prompt.end(), context.begin()))
        return prompt.size();
    prompts.emplace_back(context.begin(), context.end());
    return context.size();
  }
};

inline Json user(const std::string& text) { return {{"messages", {{{"role", "user"}, {"content", text}}}}}; }
inline Json with(Json body, const Json& more) {
  body.update(more);
  return body;
}

}  // namespace qwend::test
