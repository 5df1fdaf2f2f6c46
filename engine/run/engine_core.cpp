#include "engine/run/engine_core.h"

#include <algorithm>
#include <iterator>
#include <stdexcept>

#include "kernels/check.h"

namespace qwend {
namespace {

// Rows of the vocabulary that are padding: no text belongs to them.
std::vector<int32_t> padding_tokens(const Tokenizer& tokenizer, int32_t vocab_size) {
  std::vector<int32_t> padding;
  for (int32_t token = 0; token < vocab_size; ++token) {
    if (token >= tokenizer.size() || tokenizer.type(token) == TokenType::Unused) padding.push_back(token);
  }
  return padding;
}

double seconds(Clock::duration duration) { return std::chrono::duration<double>(duration).count(); }

}  // namespace

EngineCore::EngineCore(const EngineConfig& config, StepExecutor& executor, const Tokenizer& tokenizer)
    : executor_(executor),
      tokenizer_(tokenizer),
      vocab_size_(executor.vocab_size()),
      never_drawn_(padding_tokens(tokenizer, vocab_size_)),
      prefix_cache_(config.prefix_cache),
      max_in_flight_(std::clamp(executor.max_in_flight(), 1, 2)),  // rows can refer to one step before theirs
      blocks_(config.num_kv_blocks, config.block_size, executor.copies_blocks()),
      scheduler_({config.max_seqs, config.max_batch_tokens, config.prompt_logit_rows}, blocks_,
                 [this](Sequence& sequence) { recall_prompt_logprobs(sequence); }),
      batch_(config.block_size, never_drawn_) {}

void EngineCore::add(std::unique_ptr<ActiveRequest> request) {
  ActiveRequest& r = *request;
  note_bans(r);
  if (!prefix_cache_) {
    for (Sequence& sequence : r.sequences) sequence.domain.private_to = r.id;
  }
  requests_.emplace(r.id, std::move(request));
  scheduler_.add(r.sequences.front());  // the others follow once the prompt they share has been computed
}

void EngineCore::note_bans(ActiveRequest& r) {
  for (const std::vector<int32_t>& word : r.params.sampling.bad_words) {
    if (word.size() != 1) continue;
    if (r.banned.empty()) r.banned = never_drawn_;
    r.banned.push_back(word.front());
  }
  const StopCriteria& stop = r.params.stop;
  if (stop.min_tokens == 0) return;
  r.banned_below_min = r.banned.empty() ? never_drawn_ : r.banned;
  auto ban = [&](auto tokens) {
    r.banned_below_min.insert(r.banned_below_min.end(), tokens.begin(), tokens.end());
  };
  if (!stop.ignore_eos) ban(tokenizer_.stop_tokens());
  ban(std::span(stop.stop_token_ids));
}

void EngineCore::cancel(RequestId id) {
  const auto found = requests_.find(id);
  if (found == requests_.end()) return;
  ActiveRequest& request = *found->second;
  ++(!request.started()           ? counters_.cancelled_queued
     : !request.prompt_computed() ? counters_.cancelled_prefill
                                  : counters_.cancelled_decode);
  end(request, FinishReason::Cancelled);
}

void EngineCore::expire(Clock::time_point now) {
  const auto passed = [now](const std::optional<Clock::time_point>& deadline) {
    return deadline && *deadline <= now;
  };
  std::vector<ActiveRequest*> expired;  // ending one changes requests_
  for (const auto& [id, request] : requests_) {
    const bool in_queue = !request->started() && passed(request->params.queue_deadline);
    if (in_queue || passed(request->params.deadline)) expired.push_back(request.get());
  }
  for (ActiveRequest* r : expired)
    end(*r, r->started() ? FinishReason::Deadline : FinishReason::QueueTimeout);
}

void EngineCore::end_all(FinishReason reason) {
  while (!requests_.empty()) end(*requests_.begin()->second, reason);
}

void EngineCore::fail(const std::string& error) {
  in_flight_.clear();
  while (!requests_.empty()) end(*requests_.begin()->second, FinishReason::Error, error);
}

void EngineCore::step() {
  const bool launched = launch();
  CHECK(launched || !in_flight_.empty());
  const size_t may_stay = !launched || in_flight_.back().needs_sync ? 0 : max_in_flight_ - 1;
  while (in_flight_.size() > may_stay) commit_oldest();
}

bool EngineCore::launch() {
  const Clock::time_point begin = Clock::now();
  Schedule schedule = scheduler_.schedule();
  counters_.preemptions += schedule.num_preempted;
  if (schedule.chunks.empty()) return false;
  note_start(schedule, begin);
  batch_.build(schedule);
  counters_.schedule_seconds += seconds(Clock::now() - begin);
  executor_.launch(batch_.input(), batch_.rows());
  read_hidden(schedule);

  const auto targets = batch_.targets();
  Step& step = in_flight_.emplace_back(
      Step{std::move(schedule), {targets.begin(), targets.end()}, /*needs_sync=*/false, begin});
  for (const ScheduledChunk& chunk : step.schedule.chunks) scheduler_.launched(chunk);
  note_targets(step);
  return true;
}

// Activations last until the next launch, so pooled requests are served at once, waiting for the step.
void EngineCore::read_hidden(const Schedule& schedule) {
  int32_t row = -1;
  for (const ScheduledChunk& chunk : schedule.chunks) {
    row += chunk.num_tokens;
    ActiveRequest& request = *chunk.sequence->request;
    const bool complete = chunk.end() == chunk.sequence->num_prompt_tokens();
    if (request.params.pooled && complete) request.hidden = executor_.hidden(row);
  }
}

// From now on the sequences count what the step's rows will bring.
void EngineCore::note_targets(Step& step) {
  for (size_t row = 0; row < step.targets.size(); ++row) {
    const auto& [sequence, position, is_prompt_logprob] = step.targets[row];
    if (is_prompt_logprob) {
      sequence->num_prompt_logits = position + 1;
    } else {
      step.needs_sync |= needs_sync(*sequence);
      ++sequence->num_pending_tokens;
      sequence->pending_row = static_cast<int32_t>(row);
    }
  }
}

// Whether the row after the one that is about to be drawn depends on what is drawn.
bool EngineCore::needs_sync(const Sequence& sequence) {
  const auto i = static_cast<size_t>(sequence.index);
  const auto& thinking = sequence.request->thinking;
  const auto& openings = sequence.request->openings;
  return sequence.needs_sync || (!openings.empty() && !openings[i].done()) ||
         (!thinking.empty() && thinking[i].decides(sequence.num_pending_tokens));
}

void EngineCore::note_start(const Schedule& schedule, Clock::time_point now) {
  for (const ScheduledChunk& chunk : schedule.chunks) {
    ActiveRequest& request = *chunk.sequence->request;
    if (request.started()) continue;
    request.started_at = now;
    request.queued.release();
    request.usage.cached_tokens = chunk.begin;
    counters_.prefix_queries += request.usage.prompt_tokens;
    counters_.prefix_hits += request.usage.cached_tokens;
  }
}

void EngineCore::commit_oldest() {
  const Step step = std::move(in_flight_.front());
  in_flight_.pop_front();
  std::vector<SampledToken> sampled = executor_.collect();
  const Clock::time_point collected = Clock::now();
  commit(step, std::move(sampled));

  counters_.last_step_seconds = seconds(collected - std::max(step.begin, last_collected_));
  counters_.step_seconds.add(counters_.last_step_seconds);
  counters_.commit_seconds += seconds(Clock::now() - collected);
  counters_.last_step_tokens = step.schedule.num_tokens;
  ++counters_.steps;
  last_collected_ = collected;
}

// Sequences that have ended since the launch are passed over.
void EngineCore::commit(const Step& step, std::vector<SampledToken> sampled) {
  if (sampled.size() != step.targets.size())
    throw std::runtime_error("the executor returned the wrong number of tokens");
  const auto ended = [](const Sequence& s) { return s.state == Sequence::State::Finished; };
  for (const ScheduledChunk& chunk : step.schedule.chunks) {
    ActiveRequest& request = *chunk.sequence->request;
    const bool done = chunk.end() >= chunk.sequence->num_prompt_tokens();
    if (done && !ended(*chunk.sequence) && !request.prompt_computed()) prompt_computed(request);
  }
  for (size_t row = 0; row < step.targets.size(); ++row) {
    const auto& [sequence, position, is_prompt_logprob] = step.targets[row];
    if (ended(*sequence)) continue;
    if (is_prompt_logprob) {
      sequence->request->prompt_logprobs.push_back(
          {sampled[row].token, sampled[row].logprob, std::move(sampled[row].top)});
      keep_prompt_logprobs(*sequence);
    } else {
      add_token(*sequence, std::move(sampled[row]));
    }
  }
  for (const ScheduledChunk& chunk : step.schedule.chunks) {  // nothing to generate: the prompt was all
    ActiveRequest& request = *chunk.sequence->request;
    const bool prompt_only = request.params.stop.max_tokens == 0 && request.prompt_computed();
    if (prompt_only && !ended(*chunk.sequence)) end(request, FinishReason::Length);
  }
}

// The siblings find the prompt's full blocks through the prefix index, and compute its tail themselves.
void EngineCore::prompt_computed(ActiveRequest& request) {
  request.prompt_done_at = Clock::now();
  counters_.prompt_tokens += request.usage.prompt_tokens;
  if (request.params.stop.max_tokens == 0) return;
  for (size_t i = 1; i < request.sequences.size(); ++i) scheduler_.add(request.sequences[i]);
}

// What is known of the prompt's beginning need not be computed: the sequence starts at the first unknown one.
void EngineCore::recall_prompt_logprobs(Sequence& sequence) {
  ActiveRequest& request = *sequence.request;
  if (request.started()) return;  // preempted: it has what it had
  std::vector<TokenOutput>& known = request.prompt_logprobs;
  const int32_t num_top = request.params.prompt_logprobs;
  known.resize(1);
  for (const uint64_t content : blocks_.known_contents(sequence)) {
    const std::vector<TokenOutput>* tokens = prompt_logprobs_.find(content, num_top);
    if (tokens == nullptr) break;
    const bool first = known.size() == 1;  // the first token of all has none
    for (size_t i = first ? 1 : 0; i < tokens->size(); ++i) {
      TokenOutput& token = known.emplace_back((*tokens)[i]);
      if (token.top.size() > static_cast<size_t>(num_top)) token.top.resize(static_cast<size_t>(num_top));
    }
  }
  sequence.num_prompt_logits = static_cast<int32_t>(known.size()) - 1;
}

// Once all are there; the prompt's full blocks have been sealed by then, but perhaps the last.
void EngineCore::keep_prompt_logprobs(const Sequence& sequence) {
  const ActiveRequest& request = *sequence.request;
  const std::span<const TokenOutput> tokens = request.prompt_logprobs;
  if (tokens.size() != sequence.prompt.size() || sequence.domain.private_to != 0) return;
  const auto size = static_cast<size_t>(blocks_.block_size());
  for (size_t i = 0; (i + 1) * size <= tokens.size() && i < sequence.block_table.size(); ++i) {
    const uint64_t content = blocks_.content_of(sequence.block_table[i]);
    if (content == 0) break;
    prompt_logprobs_.store(content, request.params.prompt_logprobs, tokens.subspan(i * size, size));
  }
}

void EngineCore::add_token(Sequence& sequence, SampledToken sampled) {
  if (sampled.token < 0 || sampled.token >= std::min(vocab_size_, tokenizer_.size())) {
    throw std::runtime_error("the executor drew a token without text");
  }
  ActiveRequest& request = *sequence.request;
  if (request.first_token_at == Clock::time_point{}) request.first_token_at = Clock::now();
  const int32_t token = sampled.token;
  ++request.usage.completion_tokens;
  ++counters_.generation_tokens;
  if (!request.thinking.empty()) request.thinking[sequence.index].push(token);
  if (!request.openings.empty()) request.openings[sequence.index].push(token);
  OutputDelta delta = request.outputs[sequence.index].push(std::move(sampled));
  if (delta.finish == FinishReason::None) {
    scheduler_.append(sequence, token);
  } else {
    end_sequence(sequence, delta.finish);
  }
  emit(request, sequence.index, std::move(delta));
}

// Ends what is left of a request. Each sequence gets its own last delta; an error, and a request that never
// ran, is told once.
void EngineCore::end(ActiveRequest& request, FinishReason reason, const std::string& error) {
  const bool told_once = reason == FinishReason::Error || reason == FinishReason::QueueTimeout;
  for (Sequence& sequence : request.sequences) {
    if (sequence.state == Sequence::State::Finished) continue;
    OutputDelta delta;
    if (!told_once) delta = request.outputs[sequence.index].finish(reason);
    delta.finish = reason;
    delta.error = error;
    end_sequence(sequence, reason);
    if (!told_once || request.num_unfinished == 0) emit(request, sequence.index, std::move(delta));
  }
}

void EngineCore::end_sequence(Sequence& sequence, FinishReason reason) {
  scheduler_.remove(sequence);
  --sequence.request->num_unfinished;
  switch (reason) {
    case FinishReason::Stop: ++counters_.finished_stop; break;
    case FinishReason::Length: ++counters_.finished_length; break;
    case FinishReason::Cancelled: ++counters_.finished_cancelled; break;
    case FinishReason::Deadline:
    case FinishReason::QueueTimeout: ++counters_.finished_deadline; break;
    case FinishReason::Error: ++counters_.finished_error; break;
    case FinishReason::None: CHECK(false);
  }
}

void EngineCore::emit(ActiveRequest& request, int32_t index, OutputDelta delta) {
  delta.index = index;
  if (index == 0 && request.prompt_computed())
    delta.prompt_logprobs = std::exchange(request.prompt_logprobs, {});
  if (request.prompt_computed()) delta.hidden = std::move(request.hidden);
  delta.last = request.num_unfinished == 0;
  delta.usage = request.usage;
  delta.timings = request.timings(Clock::now());
  outbox_.emplace_back(request.stream, std::move(delta));
  if (request.num_unfinished > 0) return;
  const auto found = requests_.find(request.id);
  ended_.push_back(std::move(found->second));
  requests_.erase(found);
}

void EngineCore::publish() {
  // First: whoever reads the last delta finds the engine without the request.
  for (auto& request : ended_) request->release_tickets();
  if (!in_flight_.empty()) std::ranges::move(ended_, std::back_inserter(in_flight_.back().ended));
  ended_.clear();
  const Clock::time_point now = Clock::now();
  for (auto& [stream, delta] : outbox_) {
    delta.published_at = now;
    stream->push(std::move(delta));
  }
  outbox_.clear();
}

EngineStats EngineCore::stats() const {
  EngineStats stats = counters_;
  stats.running = scheduler_.num_running();
  stats.waiting = scheduler_.num_waiting();
  stats.blocks_total = blocks_.num_blocks();
  stats.blocks_used = blocks_.num_used();
  stats.blocks_cached = blocks_.num_cached();
  stats.blocks_free = blocks_.num_free();
  return stats;
}

std::string EngineCore::check() const {
  std::unordered_map<const Sequence*, int32_t> pending;
  for (const Step& step : in_flight_) {
    for (const auto& target : step.targets) pending[target.sequence] += !target.is_prompt_logprob;
  }
  std::vector<const Sequence*> sequences;
  int32_t waiting = 0, running = 0;
  for (const auto& [id, request] : requests_) {
    int32_t unfinished = 0;
    for (const Sequence& sequence : request->sequences) {
      sequences.push_back(&sequence);
      if (sequence.state == Sequence::State::Finished) continue;
      ++unfinished;
      if (sequence.num_pending_tokens != pending[&sequence]) return "a sequence miscounts its pending tokens";
      waiting += sequence.state == Sequence::State::Waiting;
      running += sequence.state == Sequence::State::Running;
    }
    if (unfinished != request->num_unfinished || unfinished == 0) return "a request miscounts its sequences";
  }
  if (waiting != scheduler_.num_waiting()) return "waiting sequences belong to no request";
  if (running != scheduler_.num_running()) return "running sequences belong to no request";
  const std::string scheduler = scheduler_.check();
  return !scheduler.empty() ? scheduler : blocks_.check(sequences);
}

}  // namespace qwend
