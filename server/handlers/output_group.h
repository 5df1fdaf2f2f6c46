// The engine's side of one HTTP request: one stream a prompt, seen as one.
#pragma once
#include <chrono>
#include <memory>
#include <vector>

#include "engine/engine.h"
#include "server/metrics.h"
#include "server/openai/errors.h"
#include "server/openai/usage.h"

namespace qwend {

ApiError to_api_error(const SubmitError& error);

// One thread at a time. Whatever hasn't finished when it is destroyed is cancelled: a handler that returns
// early, for whatever reason, leaves nothing running.
class OutputGroup {
 public:
  // Submits all or none. Choices are numbered by prompt, then by n (the same for all). Keeps references to
  // engine and metrics.
  static Result<std::unique_ptr<OutputGroup>, ApiError> submit(Engine& engine, Metrics& metrics,
                                                               std::vector<GenerationRequest> requests);
  ~OutputGroup();
  OutputGroup(const OutputGroup&) = delete;
  OutputGroup& operator=(const OutputGroup&) = delete;

  struct Item {
    int32_t choice = 0;
    OutputDelta delta;
  };
  // What has come, in order within each choice; waits up to `timeout` for something. Before `collect_until`
  // only the end of a prompt's output returns, or the timeout.
  std::vector<Item> take(std::chrono::milliseconds timeout, Clock::time_point collect_until = {});
  bool done() const { return open_ == 0; }
  const Totals& totals() const { return totals_; }  // complete once done
  void cancel();

 private:
  struct Member {
    std::shared_ptr<OutputStream> stream;
    bool done = false;
    std::vector<Clock::time_point> last_token;  // of each of the n sequences; epoch: none yet
  };
  OutputGroup(Engine& engine, Metrics& metrics, int32_t n) : engine_(engine), metrics_(metrics), n_(n) {}
  void collect(size_t prompt, std::chrono::milliseconds timeout, Clock::time_point collect_until,
               std::vector<Item>& items);
  size_t first_open() const;  // precondition: not done()
  void record(Member& member, const OutputDelta& delta);

  Engine& engine_;
  Metrics& metrics_;
  const int32_t n_;
  const Clock::time_point begin_ = Clock::now();
  std::vector<Member> members_;
  size_t open_ = 0;  // members not done
  Totals totals_;
};

}  // namespace qwend
