#include "server/openai/chat_answer.h"

#include <utility>

#include "server/openai/ids.h"
#include "server/openai/logprobs.h"

namespace qwend {
namespace {

void write_head(json::JsonWriter& writer, const AnswerHead& head, const char* object) {
  writer.member("id", head.id)
      .member("object", object)
      .member("created", head.created)
      .member("model", head.model)
      .member("system_fingerprint", head.system_fingerprint);
}

void write_ids(json::JsonWriter& writer, const std::vector<int32_t>& ids) {
  writer.begin_array();
  for (const int32_t id : ids) writer.value(id);
  writer.end_array();
}

}  // namespace

ChatAnswer::ChatAnswer(AnswerHead head, ChatAnswerOptions options, const Tokenizer& tokenizer)
    : head_(std::move(head)), options_(std::move(options)), tokenizer_(tokenizer) {
  for (int32_t i = 0; i < options_.n; ++i) choices_.push_back({Choice(options_.choice, tokenizer_), {}});
  json::JsonWriter writer(chunk_head_);
  write_head(writer, head_, "chat.completion.chunk");
}

void ChatAnswer::push(int32_t index, const OutputDelta& delta, const Totals* totals, std::string* events) {
  ChoiceState& state = choices_[static_cast<size_t>(index)];
  so_far_ = {delta.usage, delta.timings};
  state.update.append(state.choice.push(delta));
  if (events == nullptr) return;
  const bool text = !state.update.content.empty() || !state.update.reasoning.empty();
  const bool empty_answer = state.choice.finished() && !state.started && !state.update.shows_text();
  const std::vector<ToolCallDelta> calls = std::exchange(state.update.tool_calls, {});
  if (text || empty_answer) stream_text(index, *events);
  stream_calls(index, calls, *events);
  if (state.choice.finished())
    chunk(index, state.choice.finish_reason(), totals, *events, [](json::JsonWriter&) {});
}

// ---- chunks

template <class WriteDelta>
void ChatAnswer::chunk(int32_t index, const char* finish_reason, const Totals* totals, std::string& out,
                       WriteDelta write_delta) {
  ChoiceState& state = choices_[static_cast<size_t>(index)];
  const bool first = !state.started;
  state.started = true;
  out += "data: ";
  json::JsonWriter writer(out);
  writer.begin_object().raw(chunk_head_).key("choices").begin_array().begin_object();
  writer.member("index", index).key("delta").begin_object();
  // The role travels with the first text: a chunk of its own would look like the first token to clients.
  if (first) writer.member("role", "assistant");
  write_delta(writer);
  writer.end_object().key("logprobs");
  if (state.update.logprobs.empty()) {
    writer.null();
  } else {
    write_chat_logprobs(writer, state.update.logprobs, tokenizer_);
  }
  writer.key("finish_reason");
  finish_reason == nullptr ? writer.null() : writer.value(finish_reason);
  if (options_.choice.token_ids) write_ids(writer.key("token_ids"), state.update.token_ids);
  writer.end_object().end_array();
  if (first && options_.choice.token_ids)
    write_ids(writer.key("prompt_token_ids"), options_.prompt_token_ids);
  if (first && !options_.params_json.empty()) writer.key("params").raw(options_.params_json);
  write_chunk_usage(writer);
  if (options_.timings_per_token || (totals != nullptr && !options_.include_usage))
    write_timings(writer.key("timings"), so_far_);
  writer.end_object();
  out += "\n\n";
  state.update = {};
}

void ChatAnswer::write_chunk_usage(json::JsonWriter& writer) const {
  if (options_.continuous_usage_stats) {
    Usage usage{.prompt_tokens = options_.prompt_tokens,
                .cached_tokens = so_far_.usage.cached_tokens,
                .completion_tokens = 0};
    for (const ChoiceState& state : choices_) usage.completion_tokens += state.choice.tokens();
    write_usage(writer.key("usage"), usage, reasoning_tokens());
  } else if (options_.include_usage) {
    writer.key("usage").null();
  }
}

void ChatAnswer::write_reasoning(json::JsonWriter& writer, const std::string& text) const {
  if (text.empty()) return;
  writer.member("reasoning_content", text);
  if (options_.both_reasoning_fields) writer.member("reasoning", text);
}

void ChatAnswer::stream_text(int32_t index, std::string& out) {
  const ChoiceState& state = choices_[static_cast<size_t>(index)];
  const bool first = !state.started;
  chunk(index, nullptr, nullptr, out, [&](json::JsonWriter& writer) {
    const ChoiceUpdate& update = state.update;
    write_reasoning(writer, update.reasoning);
    if (first || !update.content.empty()) writer.member("content", update.content);
  });
}

void ChatAnswer::stream_calls(int32_t index, const std::vector<ToolCallDelta>& calls, std::string& out) {
  for (const ToolCallDelta& call : calls) {
    if (!call.name.empty()) stream_call_begin(index, call, out);
    if (call.arguments.empty()) continue;
    chunk(index, nullptr, nullptr, out, [&](json::JsonWriter& writer) {
      writer.key("tool_calls").begin_array().begin_object().member("index", call.index);
      writer.key("function").begin_object().member("arguments", call.arguments).end_object();
      writer.end_object().end_array();
    });
  }
}

// Once, with empty arguments: clients add up what follows.
void ChatAnswer::stream_call_begin(int32_t index, const ToolCallDelta& call, std::string& out) {
  const bool first = !choices_[static_cast<size_t>(index)].started;
  chunk(index, nullptr, nullptr, out, [&](json::JsonWriter& writer) {
    if (first) writer.key("content").null();
    writer.key("tool_calls").begin_array().begin_object().member("index", call.index);
    writer.member("id", call_id(index, call.index)).member("type", "function").key("function");
    writer.begin_object().member("name", call.name).member("arguments", "").end_object();
    writer.end_object().end_array();
  });
}

void ChatAnswer::end_events(const Totals& totals, std::string& events) {
  if (options_.include_usage) {
    events += "data: ";
    json::JsonWriter writer(events);
    writer.begin_object().raw(chunk_head_).key("choices").begin_array().end_array();
    write_usage(writer.key("usage"), totals.usage, reasoning_tokens());
    write_timings(writer.key("timings"), totals);
    writer.end_object();
    events += "\n\n";
  }
  events += "data: [DONE]\n\n";
}

// ---- the whole answer

void ChatAnswer::write_message(int32_t index, json::JsonWriter& writer) {
  const ChoiceUpdate& message = choices_[static_cast<size_t>(index)].update;
  writer.begin_object().member("role", "assistant").key("content");
  message.content.empty() && !message.tool_calls.empty() ? writer.null() : writer.value(message.content);
  writer.key("refusal").null();
  write_reasoning(writer, message.reasoning);
  if (!message.tool_calls.empty()) {
    writer.key("tool_calls").begin_array();
    for (const ToolCallDelta& call : message.tool_calls) {
      writer.begin_object()
          .member("id", call_id(index, call.index))
          .member("type", "function")
          .key("function");
      writer.begin_object()
          .member("name", call.name)
          .member("arguments", call.arguments)
          .end_object()
          .end_object();
    }
    writer.end_array();
  }
  writer.end_object();
}

std::string ChatAnswer::whole(const Totals& totals) {
  std::string out;
  json::JsonWriter writer(out);
  writer.begin_object();
  write_head(writer, head_, "chat.completion");
  writer.key("choices").begin_array();
  for (int32_t i = 0; i < options_.n; ++i) {
    const ChoiceState& state = choices_[static_cast<size_t>(i)];
    writer.begin_object().member("index", i).key("message");
    write_message(i, writer);
    writer.key("logprobs");
    options_.choice.logprobs ? write_chat_logprobs(writer, state.update.logprobs, tokenizer_)
                             : void(writer.null());
    writer.member("finish_reason", state.choice.finish_reason());
    if (options_.choice.token_ids) write_ids(writer.key("token_ids"), state.update.token_ids);
    writer.end_object();
  }
  writer.end_array();
  write_usage(writer.key("usage"), totals.usage, reasoning_tokens());
  write_timings(writer.key("timings"), totals);
  if (options_.choice.token_ids) write_ids(writer.key("prompt_token_ids"), options_.prompt_token_ids);
  if (!options_.params_json.empty()) writer.key("params").raw(options_.params_json);
  writer.end_object();
  return out;
}

std::string ChatAnswer::call_id(int32_t index, int32_t call) const {
  return make_id("call_", head_.id + "/" + std::to_string(index) + "/" + std::to_string(call));
}

int32_t ChatAnswer::reasoning_tokens() const {
  int32_t sum = 0;
  for (const ChoiceState& state : choices_) sum += state.choice.reasoning_tokens();
  return sum;
}

}  // namespace qwend
