#include "server/responses/response_answer.h"

#include <algorithm>
#include <ctime>

#include "server/openai/ids.h"
#include "server/openai/logprobs.h"
#include "server/openai/messages.h"

namespace qwend {

ResponseAnswer::ResponseAnswer(AnswerHead head, ResponseAnswerOptions options, const Tokenizer& tokenizer)
    : head_(std::move(head)),
      options_(std::move(options)),
      tokenizer_(tokenizer),
      choice_(options_.choice, tokenizer) {
  if (options_.stored) options_.stored->update(response("in_progress", nullptr));
}

bool ResponseAnswer::cancelled() const { return options_.stored && options_.stored->cancel_requested(); }

void ResponseAnswer::push(int32_t, const OutputDelta& delta, const Totals*, std::string* events) {
  events_ = events;
  if (!begun_) begin();
  ChoiceUpdate update = choice_.push(delta);
  if (!update.reasoning.empty()) add_text(Kind::Reasoning, update.reasoning, {});
  std::vector<TokenOutput> logprobs = take_logprobs(update);
  if (!update.content.empty() || (choice_.finished() && items_.empty()))
    add_text(Kind::Message, update.content, std::move(logprobs));
  for (const ToolCallDelta& call : update.tool_calls) add_call(call);
  events_ = nullptr;
}

void ResponseAnswer::begin() {
  begun_ = true;
  const std::string json = response("in_progress", nullptr);
  emit_response("response.created", json);
  emit_response("response.in_progress", json);
}

// Those of the message: reasoning comes ahead of it, and calls after it.
std::vector<TokenOutput> ResponseAnswer::take_logprobs(ChoiceUpdate& update) {
  std::vector<TokenOutput> taken;
  size_t room = update.content.size();
  for (TokenOutput& token : update.logprobs) {
    if (logprobs_seen_++ < choice_.reasoning_tokens()) continue;
    if (room == 0) continue;
    room -= std::min(room, tokenizer_.bytes(token.token).size());
    taken.push_back(std::move(token));
  }
  return taken;
}

// ---- items

ResponseAnswer::Item& ResponseAnswer::open_item(Kind kind) {
  close_item("completed");
  static constexpr const char* kPrefixes[] = {"rs_", "msg_", "fc_"};
  const std::string id =
      make_id(kPrefixes[static_cast<size_t>(kind)], head_.id + "/" + std::to_string(items_.size()));
  items_.push_back({.kind = kind, .id = id, .text = {}, .name = {}, .call_id = {}, .logprobs = {}});
  return items_.back();
}

void ResponseAnswer::add_text(Kind kind, const std::string& text, std::vector<TokenOutput> logprobs) {
  if (items_.empty() || items_.back().kind != kind) {
    const Item& item = open_item(kind);
    emit("response.output_item.added", [&](json::JsonWriter& writer) {
      writer.member("output_index", static_cast<uint64_t>(items_.size() - 1)).key("item");
      write_item(writer, item, false);
    });
    emit_in_item("response.content_part.added", [&](json::JsonWriter& writer) {
      write_part(writer.member("content_index", 0).key("part"), item, false);
    });
  }
  Item& item = items_.back();
  item.text += text;
  const bool message = kind == Kind::Message;
  if (!text.empty()) {
    emit_in_item(message ? "response.output_text.delta" : "response.reasoning_text.delta",
                 [&](json::JsonWriter& writer) {
                   writer.member("content_index", 0).member("delta", text);
                   if (message) write_logprob_entries(writer.key("logprobs"), logprobs, tokenizer_);
                 });
  }
  std::ranges::move(logprobs, std::back_inserter(item.logprobs));
}

void ResponseAnswer::add_call(const ToolCallDelta& call) {
  if (!call.name.empty()) {
    Item& item = open_item(Kind::Call);
    item.name = call.name;
    item.call_id = make_id("call_", head_.id + "/call/" + std::to_string(call.index));
    emit("response.output_item.added", [&](json::JsonWriter& writer) {
      writer.member("output_index", static_cast<uint64_t>(items_.size() - 1)).key("item");
      write_item(writer, item, false);
    });
  }
  items_.back().text += call.arguments;
  if (call.arguments.empty()) return;
  emit_in_item("response.function_call_arguments.delta",
               [&](json::JsonWriter& writer) { writer.member("delta", call.arguments); });
}

void ResponseAnswer::close_item(const char* status) {
  if (items_.empty() || std::string_view(items_.back().status) != "in_progress") return;
  Item& item = items_.back();
  item.status = status;
  if (item.kind == Kind::Call) {
    emit_in_item("response.function_call_arguments.done", [&](json::JsonWriter& writer) {
      writer.member("name", item.name).member("arguments", item.text);
    });
  } else {
    const bool message = item.kind == Kind::Message;
    emit_in_item(message ? "response.output_text.done" : "response.reasoning_text.done",
                 [&](json::JsonWriter& writer) {
                   writer.member("content_index", 0).member("text", item.text);
                   if (message) write_logprob_entries(writer.key("logprobs"), item.logprobs, tokenizer_);
                 });
    emit_in_item("response.content_part.done", [&](json::JsonWriter& writer) {
      write_part(writer.member("content_index", 0).key("part"), item, true);
    });
  }
  emit("response.output_item.done", [&](json::JsonWriter& writer) {
    writer.member("output_index", static_cast<uint64_t>(items_.size() - 1)).key("item");
    write_item(writer, item, true);
  });
}

void ResponseAnswer::write_part(json::JsonWriter& writer, const Item& item, bool filled) const {
  const std::string_view text = filled ? std::string_view(item.text) : std::string_view();
  if (item.kind == Kind::Reasoning) {
    writer.begin_object().member("type", "reasoning_text").member("text", text).end_object();
    return;
  }
  writer.begin_object().member("type", "output_text").member("text", text);
  writer.key("annotations").begin_array().end_array().key("logprobs");
  write_logprob_entries(writer, filled ? item.logprobs : std::vector<TokenOutput>(), tokenizer_);
  writer.end_object();
}

void ResponseAnswer::write_item(json::JsonWriter& writer, const Item& item, bool filled) const {
  static constexpr const char* kTypes[] = {"reasoning", "message", "function_call"};
  writer.begin_object().member("id", item.id).member("type", kTypes[static_cast<size_t>(item.kind)]);
  writer.member("status", item.status);
  if (item.kind == Kind::Call) {
    writer.member("call_id", item.call_id).member("name", item.name);
    writer.member("arguments", filled ? std::string_view(item.text) : std::string_view());
  } else {
    if (item.kind == Kind::Message) writer.member("role", "assistant");
    if (item.kind == Kind::Reasoning) writer.key("summary").begin_array().end_array();
    writer.key("content").begin_array();
    if (filled) write_part(writer, item, true);
    writer.end_array();
  }
  writer.end_object();
}

// ---- events

template <class Write>
void ResponseAnswer::emit(std::string_view type, Write write) {
  if (events_ == nullptr) return;
  events_->append("event: ").append(type).append("\ndata: ");
  json::JsonWriter writer(*events_);
  writer.begin_object().member("type", type).member("sequence_number", next_event_++);
  write(writer);
  writer.end_object();
  events_->append("\n\n");
}

template <class Write>
void ResponseAnswer::emit_in_item(std::string_view type, Write write) {
  emit(type, [&](json::JsonWriter& writer) {
    writer.member("item_id", items_.back().id)
        .member("output_index", static_cast<uint64_t>(items_.size() - 1));
    write(writer);
  });
}

void ResponseAnswer::emit_response(std::string_view type, const std::string& response) {
  emit(type, [&](json::JsonWriter& writer) { writer.key("response").raw(response); });
}

// ---- the response

std::string ResponseAnswer::response(const char* status, const Totals* totals, const ApiError* error) const {
  std::string out;
  json::JsonWriter writer(out);
  writer.begin_object()
      .member("id", head_.id)
      .member("object", "response")
      .member("created_at", head_.created)
      .member("status", status)
      .member("model", head_.model);
  totals != nullptr ? writer.member("completed_at", static_cast<int64_t>(std::time(nullptr)))
                    : writer.key("completed_at").null();
  if (error != nullptr) {
    writer.key("error").begin_object().member("code", "server_error").member("message", error->message);
    writer.end_object();
  } else {
    writer.key("error").null();
  }
  writer.key("incomplete_details");
  if (std::string_view(status) == "incomplete") {
    writer.begin_object().member("reason", "max_output_tokens").end_object();
  } else {
    writer.null();
  }
  writer.key("output").begin_array();
  for (const Item& item : items_) write_item(writer, item, true);
  writer.end_array();
  writer.member("temperature", options_.temperature).member("top_p", options_.top_p).raw(options_.echo);
  if (totals != nullptr) {
    const Usage& usage = totals->usage;
    writer.key("usage").begin_object().member("input_tokens", usage.prompt_tokens);
    writer.key("input_tokens_details").begin_object();
    writer.member("cached_tokens", usage.cached_tokens).member("cache_write_tokens", 0).end_object();
    writer.member("output_tokens", usage.completion_tokens).key("output_tokens_details").begin_object();
    writer.member("reasoning_tokens", choice_.reasoning_tokens()).end_object();
    writer.member("total_tokens", usage.prompt_tokens + usage.completion_tokens).end_object();
    write_timings(writer.key("timings"), *totals);
  }
  writer.end_object();
  return out;
}

ChatMessage ResponseAnswer::message() const {
  ChatMessage message;
  message.role = "assistant";
  for (const Item& item : items_) {
    if (item.kind == Kind::Reasoning) {
      message.reasoning = message.reasoning.value_or("") + item.text;
    } else if (item.kind == Kind::Message) {
      message.content += item.text;
    } else {
      ToolCall call{.id = item.call_id, .name = item.name, .arguments = {}, .arguments_text = {}};
      set_arguments(call, item.text);
      message.tool_calls.push_back(std::move(call));
    }
  }
  return message;
}

// Ends what is open. One who cancelled gets what there is, without usage.
std::string ResponseAnswer::finish(const Totals& totals) {
  const bool ended = choice_.finished();
  const bool complete = ended && std::string_view(choice_.finish_reason()) != "length";
  close_item(complete ? "completed" : "incomplete");
  was_cancelled_ = !ended;
  std::string json = response(complete ? "completed"
                              : ended  ? "incomplete"
                                       : "cancelled",
                              ended ? &totals : nullptr);
  if (options_.stored) options_.stored->finish(json, message());
  return json;
}

void ResponseAnswer::end_events(const Totals& totals, std::string& events) {
  events_ = &events;
  if (!begun_) begin();
  const std::string json = finish(totals);
  const bool complete = items_.empty() || std::string_view(items_.back().status) == "completed";
  emit_response(complete && !was_cancelled_ ? "response.completed" : "response.incomplete", json);
  events_ = nullptr;
}

std::string ResponseAnswer::whole(const Totals& totals) { return finish(totals); }

std::string ResponseAnswer::error_body(const ApiError& error) {
  if (options_.stored) options_.stored->fail(response("failed", nullptr, &error));
  return error.to_json();
}

void ResponseAnswer::error_events(const ApiError& error, std::string& events) {
  events_ = &events;
  const std::string json = response("failed", nullptr, &error);
  if (options_.stored) options_.stored->fail(json);
  emit_response("response.failed", json);
  events_ = nullptr;
}

}  // namespace qwend
