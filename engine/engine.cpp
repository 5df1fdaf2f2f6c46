#include "engine/engine.h"

#include <atomic>
#include <future>
#include <mutex>
#include <random>
#include <thread>

#include "engine/run/engine_core.h"
#include "engine/run/mailbox.h"
#include "engine/run/validate_request.h"

namespace qwend {
namespace {

constexpr std::chrono::milliseconds kIdleWake{500};  // how often the heartbeat advances without work

EngineConfig checked(EngineConfig config) {
  const auto positive = [](int32_t value, const char* name) {
    if (value < 1) throw LoadError(std::string(name) + " must be > 0, got " + std::to_string(value));
  };
  positive(config.max_model_len, "max_model_len");
  positive(config.max_seqs, "max_seqs");
  positive(config.prompt_logit_rows, "prompt_logit_rows");
  positive(config.num_kv_blocks, "num_kv_blocks");
  positive(config.block_size, "block_size");
  positive(config.max_queue, "max_queue");
  if (config.max_batch_tokens < config.max_seqs) {
    throw LoadError("max_batch_tokens must be at least max_seqs (" + std::to_string(config.max_seqs) +
                    "), got " + std::to_string(config.max_batch_tokens));
  }
  if (int64_t{config.num_kv_blocks} * config.block_size > INT32_MAX) {
    throw LoadError("num_kv_blocks must be at most " + std::to_string(INT32_MAX / config.block_size) +
                    ", got " + std::to_string(config.num_kv_blocks));
  }
  return config;
}

// One draw of splitmix64 (Steele, Lea, Flood 2014): distinct, well spread seeds from consecutive numbers.
uint64_t spread(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

}  // namespace

struct Engine::Impl {
  Impl(EngineConfig config_, std::unique_ptr<StepExecutor> executor_,
       std::shared_ptr<const Tokenizer> tokenizer_)
      : config(checked(config_)),
        tokenizer(std::move(tokenizer_)),
        executor(std::move(executor_)),
        vocab_size(executor->vocab_size()),
        core(config, *executor, *tokenizer),
        stats(core.stats()) {}

  void loop();
  void apply(Mailbox::Mail& mail);
  void publish();
  void die(const char* what);

  const EngineConfig config;
  const std::shared_ptr<const Tokenizer> tokenizer;
  const std::unique_ptr<StepExecutor> executor;
  const int32_t vocab_size;
  const uint64_t seed_base = uint64_t{std::random_device{}()} << 32 | std::random_device{}();

  std::atomic<RequestId> last_id = 0;
  std::atomic<int32_t> queued = 0;     // accepted, not yet run
  std::atomic<int32_t> in_flight = 0;  // accepted, not yet ended
  std::atomic<bool> draining = false;
  std::atomic<bool> alive = true;
  std::atomic<Clock::time_point> heartbeat = Clock::now();
  Mailbox mailbox;

  EngineCore core;  // engine thread only; declared after the counters that its requests hold

  mutable std::mutex stats_mutex;  // held for a copy; guards both below
  EngineStats stats;
  std::string failure;

  std::thread thread;  // last: started when everything else is there
};

void Engine::Impl::loop() {
  for (bool stop = false; !stop;) {
    heartbeat = Clock::now();
    Mailbox::Mail mail = mailbox.take(core.idle() ? kIdleWake : std::chrono::milliseconds(0));
    stop = mail.stop;
    try {
      apply(mail);
      if (stop) core.end_all(FinishReason::Cancelled);  // what is in flight is collected below
      core.expire(Clock::now());
      if (!core.idle()) core.step();
    } catch (const std::exception& error) {
      die(error.what());
    }
    publish();
  }
}

void Engine::Impl::apply(Mailbox::Mail& mail) {
  for (auto& request : mail.requests) core.add(std::move(request));
  for (const RequestId id : mail.cancelled) core.cancel(id);
  for (const auto& inspect : mail.inspections) inspect();
}

// Every request accepted before the mailbox was closed is told. The loop goes on, for cancel() and the
// destructor.
void Engine::Impl::die(const char* what) {
  {
    const std::lock_guard lock(stats_mutex);
    if (failure.empty()) failure = what;
  }
  alive = false;
  mailbox.close();
  Mailbox::Mail mail = mailbox.take(std::chrono::milliseconds(0));
  apply(mail);
  core.fail(what);
}

void Engine::Impl::publish() {
  {
    const std::lock_guard lock(stats_mutex);
    stats = core.stats();
  }
  core.publish();
}

Engine::Engine(EngineConfig config, std::unique_ptr<StepExecutor> executor,
               std::shared_ptr<const Tokenizer> tokenizer)
    : impl_(std::make_unique<Impl>(config, std::move(executor), std::move(tokenizer))) {
  impl_->thread = std::thread([impl = impl_.get()] { impl->loop(); });
}

Engine::~Engine() {
  impl_->mailbox.stop();
  impl_->thread.join();
}

Result<std::shared_ptr<OutputStream>, SubmitError> Engine::submit(GenerationRequest request) {
  using Kind = SubmitError::Kind;
  Impl& impl = *impl_;
  if (!impl.alive) return SubmitError{Kind::Dead, "the engine has failed"};
  if (impl.draining) return SubmitError{Kind::Draining, "the server is shutting down"};
  if (auto refused = validate_request(request, impl.config, impl.vocab_size)) return *std::move(refused);

  Ticket queued(impl.queued);
  if (impl.queued > impl.config.max_queue) {
    return SubmitError{Kind::QueueFull,
                       std::to_string(impl.config.max_queue) + " requests are waiting already"};
  }
  const RequestId id = ++impl.last_id;
  const uint64_t seed = request.sampling.seed.value_or(spread(impl.seed_base + id));
  auto active = std::make_unique<ActiveRequest>(id, std::move(request), seed, *impl.tokenizer,
                                                impl.config.max_model_len, Clock::now());
  active->queued = std::move(queued);
  active->in_flight = Ticket(impl.in_flight);
  std::shared_ptr<OutputStream> stream = active->stream;
  if (!impl.mailbox.submit(std::move(active))) return SubmitError{Kind::Dead, "the engine has failed"};
  return stream;
}

void Engine::cancel(RequestId id) { impl_->mailbox.cancel(id); }

EngineStats Engine::stats() const {
  const std::lock_guard lock(impl_->stats_mutex);
  return impl_->stats;
}

const EngineConfig& Engine::config() const { return impl_->config; }
bool Engine::alive() const { return impl_->alive; }
std::string Engine::failure() const {
  const std::lock_guard lock(impl_->stats_mutex);
  return impl_->failure;
}
Clock::time_point Engine::last_heartbeat() const { return impl_->heartbeat; }
bool Engine::idle() const { return impl_->in_flight == 0; }
void Engine::drain() { impl_->draining = true; }

std::string Engine::check_invariants() {
  auto answer = std::make_shared<std::promise<std::string>>();  // outlives whichever thread is done first
  auto result = answer->get_future();
  impl_->mailbox.inspect([impl = impl_.get(), answer] { answer->set_value(impl->core.check()); });
  return result.get();
}

}  // namespace qwend
