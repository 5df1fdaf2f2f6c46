#include "server/handlers/deliver.h"

#include "server/handlers/handlers.h"
#include "server/handlers/write_pace.h"

namespace qwend {
namespace {

// How often the connection is looked at while there is nothing to write.
constexpr std::chrono::milliseconds kPoll{100};
// The engine enforces deadlines itself; this much later it must be stuck.
constexpr std::chrono::seconds kGrace{10};

class Delivery {
 public:
  Delivery(App& app, http::Responder& responder, OutputGroup& outputs, Answer& answer, bool stream)
      : app_(app),
        responder_(responder),
        outputs_(outputs),
        answer_(answer),
        stream_(stream),
        give_up_(Clock::now() + std::chrono::milliseconds(app.request_timeout_ms) + kGrace) {}

  void run() {
    if (!collect()) return outputs_.cancel();
    if (!stream_) return reply_json(responder_, answer_.whole(outputs_.totals()));
    answer_.end_events(outputs_.totals(), events_);
    if (flush()) responder_.end_stream();
  }

  // All output has been pushed; what is left in events_ goes out with the end.
  bool collect() {
    while (!outputs_.done()) {
      if (!consume(outputs_.take(kPoll, collect_until()))) return false;
      if (answer_.cancelled()) outputs_.cancel();
      if (outputs_.done()) break;
      if (!flush() || !keep_going()) return false;
    }
    const Usage& usage = outputs_.totals().usage;
    responder_.add_tokens({usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens});
    return true;
  }

 private:
  // False when the request has failed; the client has been told.
  bool consume(std::vector<OutputGroup::Item> items) {
    for (size_t i = 0; i < items.size(); ++i) {
      const OutputDelta& delta = items[i].delta;
      if (const Problem problem = failure(delta)) return fail(*problem);
      const bool last = outputs_.done() && i + 1 == items.size();
      answer_.push(items[i].choice, delta, last ? &outputs_.totals() : nullptr, stream_ ? &events_ : nullptr);
    }
    return true;
  }

  static Problem failure(const OutputDelta& delta) {
    switch (delta.finish) {
      case FinishReason::QueueTimeout: return queue_timeout();
      case FinishReason::Error: return engine_failed(delta.error);
      case FinishReason::Cancelled: return draining();  // not by us: we stop reading when we cancel
      default: return std::nullopt;
    }
  }

  bool fail(const ApiError& error) {
    if (!started_) {
      reply_error(app_, responder_, error, answer_.error_body(error));
    } else if (answer_.error_events(error, events_); flush()) {
      responder_.end_stream();
    }
    return false;
  }

  // Until when to collect tokens before they are looked at. A whole answer needs the end only; a stream's
  // first token goes out at once.
  Clock::time_point collect_until() const {
    const auto now = Clock::now();
    if (!stream_) return now + kPoll;
    return started_ ? next_write(now, app_.engine.stats().running) : now;
  }

  // Writes what is due. The 200 is sent with the first event, so that failures before it have a status of
  // their own. False when the client is gone.
  bool flush() {
    if (events_.empty()) return true;
    if (!started_) responder_.start_stream("text/event-stream");
    started_ = true;
    last_write_ = Clock::now();
    const bool written = responder_.write(events_);
    events_.clear();
    return written;
  }

  // Looks after the connection, at most once every kPoll. False: stop.
  bool keep_going() {
    const auto now = Clock::now();
    if (now - last_look_ < kPoll) return true;
    last_look_ = now;
    if (responder_.client_gone()) return false;
    if (responder_.shutting_down()) return fail(draining());
    if (now > give_up_) return fail(engine_failed("no answer within the time limit"));
    if (!stream_ || now - last_write_ < std::chrono::milliseconds(app_.sse_ping_ms)) return true;
    events_ = ": ping\n\n";  // keeps proxies from closing a silent connection
    return flush();
  }

  App& app_;
  http::Responder& responder_;
  OutputGroup& outputs_;
  Answer& answer_;
  const bool stream_;
  const Clock::time_point give_up_;
  bool started_ = false;
  std::string events_;
  Clock::time_point last_write_ = Clock::now(), last_look_ = Clock::now();
};

}  // namespace

void deliver(App& app, http::Responder& responder, OutputGroup& outputs, Answer& answer, bool stream) {
  Delivery(app, responder, outputs, answer, stream).run();
}

bool collect(App& app, http::Responder& responder, OutputGroup& outputs, Answer& answer) {
  const bool complete = Delivery(app, responder, outputs, answer, false).collect();
  if (!complete) outputs.cancel();
  return complete;
}

}  // namespace qwend
