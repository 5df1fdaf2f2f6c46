#include "server/responses/response_answer.h"

#include <algorithm>
#include <ctime>

#include "server/openai/ids.h"
#include "server/openai/logprobs.h"

namespace qwend {

using Kind = OutputItem::Kind;

ResponseAnswer::ResponseAnswer(AnswerHead head, ResponseAnswerOptions options, const Tokenizer& tokenizer)
    : head_(std::move(head)),
      options_(std::move(options)),
      tokenizer_(tokenizer),
      choice_(options_.choice, tokenizer),
      items_(tokenizer) {
  if (options_.stored) options_.stored->update(response("in_progress", nullptr));
}

bool ResponseAnswer::cancelled() const { return options_.stored && options_.stored->cancel_requested(); }

void ResponseAnswer::push(int32_t, const OutputDelta& delta, const Totals*, std::string* events) {
  events_ = events;
  if (!begun_) begin();
  ChoiceUpdate update = choice_.push(delta);
  items_.push(std::move(update), choice_.reasoning_tokens(), *this);
  if (choice_.finished() && items_.list().empty()) items_.open(Kind::Message, *this);
  if (choice_.finished()) items_.close(*this);
  events_ = nullptr;
}

void ResponseAnswer::begin() {
  begun_ = true;
  const std::string json = response("in_progress", nullptr);
  emit_response("response.created", json);
  emit_response("response.in_progress", json);
}

// ---- items

std::string ResponseAnswer::item_id(size_t index) const {
  static constexpr const char* kPrefixes[] = {"rs_", "msg_", "fc_"};
  return make_id(kPrefixes[static_cast<size_t>(items_.list()[index].kind)],
                 head_.id + "/" + std::to_string(index));
}

std::string ResponseAnswer::call_id(int32_t call) const {
  return make_id("call_", head_.id + "/call/" + std::to_string(call));
}

// Only the item that the end has cut is incomplete.
const char* ResponseAnswer::status_of(const OutputItem& item) const {
  if (item.open) return "in_progress";
  const bool last = &item == &items_.list().back();
  return last && std::string_view(status()) != "completed" ? "incomplete" : "completed";
}

void ResponseAnswer::opened(size_t index) {
  emit("response.output_item.added", [&](json::JsonWriter& writer) {
    writer.member("output_index", static_cast<uint64_t>(index)).key("item");
    write_item(writer, index, false);
  });
  const OutputItem& item = items_.list()[index];
  if (item.kind == Kind::Call) return;
  emit_in_item("response.content_part.added", index, [&](json::JsonWriter& writer) {
    write_part(writer.member("content_index", 0).key("part"), item, false);
  });
}

void ResponseAnswer::grew(size_t index, const std::string& piece, const std::vector<TokenOutput>& logprobs) {
  static constexpr const char* kTypes[] = {"response.reasoning_text.delta", "response.output_text.delta",
                                           "response.function_call_arguments.delta"};
  const Kind kind = items_.list()[index].kind;
  emit_in_item(kTypes[static_cast<size_t>(kind)], index, [&](json::JsonWriter& writer) {
    if (kind != Kind::Call) writer.member("content_index", 0);
    writer.member("delta", piece);
    if (kind == Kind::Message) write_logprob_entries(writer.key("logprobs"), logprobs, tokenizer_);
  });
}

void ResponseAnswer::closed(size_t index) {
  const OutputItem& item = items_.list()[index];
  if (item.kind == Kind::Call) {
    emit_in_item("response.function_call_arguments.done", index, [&](json::JsonWriter& writer) {
      writer.member("name", item.name).member("arguments", item.text);
    });
  } else {
    const bool message = item.kind == Kind::Message;
    emit_in_item(message ? "response.output_text.done" : "response.reasoning_text.done", index,
                 [&](json::JsonWriter& writer) {
                   writer.member("content_index", 0).member("text", item.text);
                   if (message) write_logprob_entries(writer.key("logprobs"), item.logprobs, tokenizer_);
                 });
    emit_in_item("response.content_part.done", index, [&](json::JsonWriter& writer) {
      write_part(writer.member("content_index", 0).key("part"), item, true);
    });
  }
  emit("response.output_item.done", [&](json::JsonWriter& writer) {
    writer.member("output_index", static_cast<uint64_t>(index)).key("item");
    write_item(writer, index, true);
  });
}

void ResponseAnswer::write_part(json::JsonWriter& writer, const OutputItem& item, bool filled) const {
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

void ResponseAnswer::write_item(json::JsonWriter& writer, size_t index, bool filled) const {
  static constexpr const char* kTypes[] = {"reasoning", "message", "function_call"};
  const OutputItem& item = items_.list()[index];
  writer.begin_object()
      .member("id", item_id(index))
      .member("type", kTypes[static_cast<size_t>(item.kind)])
      .member("status", status_of(item));
  if (item.kind == Kind::Call) {
    writer.member("call_id", call_id(item.call_index)).member("name", item.name);
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
void ResponseAnswer::emit_in_item(std::string_view type, size_t index, Write write) {
  emit(type, [&](json::JsonWriter& writer) {
    writer.member("item_id", item_id(index)).member("output_index", static_cast<uint64_t>(index));
    write(writer);
  });
}

void ResponseAnswer::emit_response(std::string_view type, const std::string& response) {
  emit(type, [&](json::JsonWriter& writer) { writer.key("response").raw(response); });
}

// ---- the response

const char* ResponseAnswer::status() const {
  if (!choice_.finished()) return "cancelled";
  return std::string_view(choice_.finish_reason()) == "length" ? "incomplete" : "completed";
}

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
  writer.key("error");
  if (error != nullptr) {
    writer.begin_object().member("code", "server_error").member("message", error->message).end_object();
  } else {
    writer.null();
  }
  writer.key("incomplete_details");
  if (std::string_view(status) == "incomplete") {
    writer.begin_object().member("reason", "max_output_tokens").end_object();
  } else {
    writer.null();
  }
  writer.key("output").begin_array();
  for (size_t i = 0; i < items_.list().size(); ++i) write_item(writer, i, true);
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

// Ends what is open. One who cancelled gets what there is, without usage.
std::string ResponseAnswer::finish(const Totals& totals) {
  items_.close(*this);
  std::string json = response(status(), choice_.finished() ? &totals : nullptr);
  if (options_.stored)
    options_.stored->finish(json, items_.message([this](int32_t call) { return call_id(call); }));
  return json;
}

void ResponseAnswer::end_events(const Totals& totals, std::string& events) {
  events_ = &events;
  if (!begun_) begin();
  const std::string json = finish(totals);
  const bool complete = std::string_view(status()) == "completed";
  emit_response(complete ? "response.completed" : "response.incomplete", json);
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
