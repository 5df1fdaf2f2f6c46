#include "server/handlers/output_group.h"

#include <algorithm>

namespace qwend {
namespace {

double seconds(Clock::duration duration) { return std::chrono::duration<double>(duration).count(); }

// With several streams nothing wakes us for all of them at once, so the wait is cut into slices.
constexpr std::chrono::milliseconds kSlice{5};

}  // namespace

ApiError to_api_error(const SubmitError& error) {
  switch (error.kind) {
    case SubmitError::Kind::QueueFull: return overloaded("Too many requests are waiting; try again later.");
    case SubmitError::Kind::Draining: return draining();
    case SubmitError::Kind::Dead: return engine_dead();
    case SubmitError::Kind::PromptTooLong:
    case SubmitError::Kind::NeverFits:
      return {.status = 400, .message = error.message, .param = "", .code = "context_length_exceeded"};
    case SubmitError::Kind::Invalid: break;
  }
  return {.status = 400, .message = error.message, .param = "", .code = "invalid_value"};
}

Result<std::unique_ptr<OutputGroup>, ApiError> OutputGroup::submit(Engine& engine, Metrics& metrics,
                                                                   std::vector<GenerationRequest> requests) {
  CHECK(!requests.empty());
  std::unique_ptr<OutputGroup> group(new OutputGroup(engine, metrics, requests.front().n));
  for (GenerationRequest& request : requests) {
    auto stream = engine.submit(std::move(request));
    if (!stream) return to_api_error(stream.error());  // the group's end cancels those already in
    group->members_.push_back({std::move(stream).value(), false, {}});
    group->members_.back().last_token.resize(static_cast<size_t>(group->n_));
    ++group->open_;
  }
  return group;
}

OutputGroup::~OutputGroup() { cancel(); }

void OutputGroup::cancel() {
  for (Member& member : members_) {
    if (member.done) continue;
    engine_.cancel(member.stream->id());
    member.done = true;
    --open_;
  }
}

std::vector<OutputGroup::Item> OutputGroup::take(std::chrono::milliseconds timeout,
                                                 Clock::time_point collect_until) {
  constexpr std::chrono::milliseconds kNoWait{0};
  std::vector<Item> items;
  if (members_.size() == 1) {
    collect(0, timeout, collect_until, items);
    return items;
  }
  const auto end = Clock::now() + timeout;
  if (const auto begin = Clock::now(); collect_until > begin && !done()) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(collect_until - begin);
    collect(first_open(), std::min(left, timeout), collect_until, items);
  }
  while (!done()) {
    for (size_t i = 0; i < members_.size(); ++i) collect(i, kNoWait, {}, items);
    if (!items.empty() || done() || Clock::now() >= end) break;
    collect(first_open(), std::min(kSlice, timeout), {}, items);
  }
  return items;
}

size_t OutputGroup::first_open() const {
  return static_cast<size_t>(std::ranges::find(members_, false, &Member::done) - members_.begin());
}

void OutputGroup::collect(size_t prompt, std::chrono::milliseconds timeout, Clock::time_point collect_until,
                          std::vector<Item>& items) {
  Member& member = members_[prompt];
  if (member.done) return;
  for (OutputDelta& delta : member.stream->take_all(timeout, collect_until)) {
    record(member, delta);
    const int32_t choice = static_cast<int32_t>(prompt) * n_ + delta.index;
    items.push_back({choice, std::move(delta)});
  }
}

void OutputGroup::record(Member& member, const OutputDelta& delta) {
  if (!delta.tokens.empty()) {
    Clock::time_point& last = member.last_token[static_cast<size_t>(delta.index)];
    if (last != Clock::time_point()) metrics_.token_gap(seconds(delta.published_at - last));
    last = delta.published_at;
  }
  if (!delta.last) return;
  member.done = true;
  --open_;
  totals_.add(delta.usage, delta.timings);
  metrics_.request_finished(delta.usage, delta.timings, seconds(Clock::now() - begin_), delta.finish);
}

}  // namespace qwend
