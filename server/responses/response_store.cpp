#include "server/responses/response_store.h"

#include <algorithm>

namespace qwend {
namespace {

size_t size_of(const ChatMessage& message) {
  size_t bytes = sizeof message + message.content.size() + message.reasoning.value_or("").size();
  // Arguments are kept twice: as text and as a tree of about the text's size, several times over.
  for (const ToolCall& call : message.tool_calls) bytes += sizeof call + 8 * call.arguments_text.size();
  return bytes;
}

auto is_called(std::string_view id, std::string_view key_name) {
  return [=](const auto& response) { return response->id() == id && response->key_name() == key_name; };
}

}  // namespace

StoredResponse::StoredResponse(std::string id, std::string key_name, std::vector<ChatMessage> conversation)
    : id_(std::move(id)), key_name_(std::move(key_name)), conversation_(std::move(conversation)) {}

void StoredResponse::set(State state, std::string json) {
  state_ = state;
  json_ = std::move(json);
  changed_.notify_all();
}

void StoredResponse::update(std::string json) {
  const std::lock_guard lock(mutex_);
  set(State::Running, std::move(json));
}

void StoredResponse::finish(std::string json, ChatMessage answer) {
  const std::lock_guard lock(mutex_);
  conversation_.push_back(std::move(answer));
  set(State::Finished, std::move(json));
}

void StoredResponse::fail(std::string json) {
  const std::lock_guard lock(mutex_);
  set(State::Failed, std::move(json));
}

void StoredResponse::request_cancel() {
  const std::lock_guard lock(mutex_);
  cancel_ = true;
}

bool StoredResponse::cancel_requested() const {
  const std::lock_guard lock(mutex_);
  return cancel_;
}

std::string StoredResponse::json() const {
  const std::lock_guard lock(mutex_);
  return json_;
}

std::string StoredResponse::json_at_end(std::chrono::milliseconds timeout) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, timeout, [this] { return state_ != State::Running; });
  return json_;
}

std::optional<std::vector<ChatMessage>> StoredResponse::conversation() const {
  const std::lock_guard lock(mutex_);
  if (state_ != State::Finished) return std::nullopt;
  return conversation_;
}

size_t StoredResponse::bytes() const {
  const std::lock_guard lock(mutex_);
  size_t bytes = sizeof *this + json_.size();
  for (const ChatMessage& message : conversation_) bytes += size_of(message);
  return bytes;
}

void ResponseStore::put(std::shared_ptr<StoredResponse> response) {
  const std::lock_guard lock(mutex_);
  responses_.push_back(std::move(response));
  // Answers have grown since they were put in: all are counted again.
  size_t bytes = 0;
  for (const auto& one : responses_) bytes += one->bytes();
  while (responses_.size() > 1 && (responses_.size() > max_responses_ || bytes > max_bytes_)) {
    bytes -= std::min(bytes, responses_.front()->bytes());
    responses_.pop_front();
  }
}

std::shared_ptr<StoredResponse> ResponseStore::find(std::string_view id, std::string_view key_name) const {
  const std::lock_guard lock(mutex_);
  const auto found = std::ranges::find_if(responses_, is_called(id, key_name));
  return found == responses_.end() ? nullptr : *found;
}

bool ResponseStore::erase(std::string_view id, std::string_view key_name) {
  const std::lock_guard lock(mutex_);
  return std::erase_if(responses_, is_called(id, key_name)) > 0;
}

size_t ResponseStore::size() const {
  const std::lock_guard lock(mutex_);
  return responses_.size();
}

}  // namespace qwend
