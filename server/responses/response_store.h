// Responses that clients asked to keep ("store": true): in memory, a bounded number, gone with the process.
#pragma once
#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/text/chat_template.h"

namespace qwend {

// One response, from its admission on. Thread-safe: the thread that answers writes, others read and may ask
// for its end.
class StoredResponse {
 public:
  // conversation: all that the answer continues, without instructions.
  StoredResponse(std::string id, std::string key_name, std::vector<ChatMessage> conversation);
  const std::string& id() const { return id_; }
  const std::string& key_name() const { return key_name_; }

  void update(std::string json);                      // the response as it is now
  void finish(std::string json, ChatMessage answer);  // its end; the answer joins the conversation
  void fail(std::string json);                        // its end; nothing can continue it
  void request_cancel();
  bool cancel_requested() const;

  std::string json() const;
  // Waits for the end, up to `timeout`; then as json().
  std::string json_at_end(std::chrono::milliseconds timeout);
  // Nothing while it runs, and after a failure.
  std::optional<std::vector<ChatMessage>> conversation() const;
  size_t bytes() const;  // about

 private:
  enum class State { Running, Finished, Failed };
  void set(State state, std::string json);

  const std::string id_, key_name_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  State state_ = State::Running;
  bool cancel_ = false;
  std::string json_;
  std::vector<ChatMessage> conversation_;
};

// Thread-safe. The oldest go first when there are too many, or when they take too much memory.
class ResponseStore {
 public:
  static constexpr size_t kMaxResponses = 1000, kMaxBytes = 64 << 20;
  explicit ResponseStore(size_t max_responses = kMaxResponses, size_t max_bytes = kMaxBytes)
      : max_responses_(max_responses), max_bytes_(max_bytes) {}

  void put(std::shared_ptr<StoredResponse> response);
  // Responses belong to the API key that made them: another key finds nothing.
  std::shared_ptr<StoredResponse> find(std::string_view id, std::string_view key_name) const;
  bool erase(std::string_view id, std::string_view key_name);  // false: not found
  size_t size() const;

 private:
  const size_t max_responses_, max_bytes_;
  mutable std::mutex mutex_;
  std::deque<std::shared_ptr<StoredResponse>> responses_;  // oldest first
};

}  // namespace qwend
