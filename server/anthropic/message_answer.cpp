#include "server/anthropic/message_answer.h"

#include "server/anthropic/error.h"
#include "server/json/json_reader.h"
#include "server/openai/ids.h"

namespace qwend {
namespace {

using Kind = OutputItem::Kind;

// Clients require one, and send it back; nothing depends on it then.
std::string signature_of(const OutputItem& thinking) { return make_id("sig_", thinking.text); }

// The dialect counts what came from the cache apart.
void write_message_usage(json::JsonWriter& writer, const Usage& usage) {
  writer.begin_object()
      .member("input_tokens", usage.prompt_tokens - usage.cached_tokens)
      .member("cache_creation_input_tokens", 0)
      .member("cache_read_input_tokens", usage.cached_tokens)
      .member("output_tokens", usage.completion_tokens)
      .end_object();
}

}  // namespace

MessageAnswer::MessageAnswer(AnswerHead head, MessageAnswerOptions options, const Tokenizer& tokenizer)
    : head_(std::move(head)),
      options_(std::move(options)),
      choice_(options_.choice, tokenizer),
      items_(tokenizer) {}

void MessageAnswer::push(int32_t, const OutputDelta& delta, const Totals*, std::string* events) {
  events_ = events;
  if (!begun_) begin();
  ChoiceUpdate update = choice_.push(delta);
  if (choice_.finished()) stop_index_ = delta.stop_index;
  items_.push(std::move(update), choice_.reasoning_tokens(), *this);
  if (choice_.finished()) items_.close(*this);
  events_ = nullptr;
}

// ---- events

template <class Write>
void MessageAnswer::emit(std::string_view type, Write write) {
  if (events_ == nullptr) return;
  events_->append("event: ").append(type).append("\ndata: ");
  json::JsonWriter writer(*events_);
  writer.begin_object().member("type", type);
  write(writer);
  writer.end_object();
  events_->append("\n\n");
}

void MessageAnswer::begin() {
  begun_ = true;
  emit("message_start", [this](json::JsonWriter& writer) {
    writer.key("message").begin_object();
    write_head(writer);
    writer.key("content").begin_array().end_array();
    write_stop(writer);
    write_message_usage(writer.key("usage"), {.prompt_tokens = options_.prompt_tokens});
    writer.end_object();
  });
}

void MessageAnswer::opened(size_t index) {
  emit("content_block_start", [&](json::JsonWriter& writer) {
    writer.member("index", static_cast<uint64_t>(index)).key("content_block");
    write_block(writer, items_.list()[index], false);
  });
}

void MessageAnswer::grew(size_t index, const std::string& piece, const std::vector<TokenOutput>&) {
  static constexpr const char* kTypes[] = {"thinking_delta", "text_delta", "input_json_delta"};
  static constexpr const char* kMembers[] = {"thinking", "text", "partial_json"};
  const auto kind = static_cast<size_t>(items_.list()[index].kind);
  emit("content_block_delta", [&](json::JsonWriter& writer) {
    writer.member("index", static_cast<uint64_t>(index)).key("delta");
    writer.begin_object().member("type", kTypes[kind]).member(kMembers[kind], piece).end_object();
  });
}

void MessageAnswer::closed(size_t index) {
  const OutputItem& item = items_.list()[index];
  if (item.kind == Kind::Reasoning) {
    emit("content_block_delta", [&](json::JsonWriter& writer) {
      writer.member("index", static_cast<uint64_t>(index)).key("delta");
      writer.begin_object().member("type", "signature_delta").member("signature", signature_of(item));
      writer.end_object();
    });
  }
  emit("content_block_stop",
       [&](json::JsonWriter& writer) { writer.member("index", static_cast<uint64_t>(index)); });
}

void MessageAnswer::end_events(const Totals& totals, std::string& events) {
  events_ = &events;
  emit("message_delta", [&](json::JsonWriter& writer) {
    writer.key("delta").begin_object();
    write_stop(writer);
    writer.end_object();
    write_message_usage(writer.key("usage"), totals.usage);
    write_timings(writer.key("timings"), totals);
  });
  emit("message_stop", [](json::JsonWriter&) {});
  events_ = nullptr;
}

std::string MessageAnswer::error_body(const ApiError& error) { return message_error_json(error); }

void MessageAnswer::error_events(const ApiError& error, std::string& events) {
  events += "event: error\ndata: " + message_error_json(error) + "\n\n";
}

// ---- the message

// A call's input is an object: arguments that were cut short count as none.
void MessageAnswer::write_block(json::JsonWriter& writer, const OutputItem& item, bool filled) const {
  const std::string_view text = filled ? std::string_view(item.text) : std::string_view();
  writer.begin_object();
  switch (item.kind) {
    case Kind::Reasoning:
      writer.member("type", "thinking").member("thinking", text);
      writer.member("signature", filled ? signature_of(item) : std::string());
      break;
    case Kind::Message: writer.member("type", "text").member("text", text); break;
    case Kind::Call: {
      const auto input = json::parse(text);
      const bool object = input && std::holds_alternative<ValueObject>(input.value().data);
      writer.member("type", "tool_use")
          .member("id", make_id("toolu_", head_.id + "/" + std::to_string(item.call_index)))
          .member("name", item.name)
          .key("input")
          .raw(object ? text : "{}");
    }
  }
  writer.end_object();
}

void MessageAnswer::write_head(json::JsonWriter& writer) const {
  writer.member("id", head_.id)
      .member("type", "message")
      .member("role", "assistant")
      .member("model", head_.model);
}

void MessageAnswer::write_stop(json::JsonWriter& writer) const {
  const auto stop = static_cast<size_t>(stop_index_);
  const bool by_sequence = stop_index_ >= 0 && stop < options_.stop_sequences.size();
  writer.key("stop_reason");
  if (!choice_.finished()) {
    writer.null();
  } else {
    const std::string_view reason = choice_.finish_reason();
    writer.value(reason == "tool_calls" ? "tool_use"
                 : reason == "length"   ? "max_tokens"
                 : by_sequence          ? "stop_sequence"
                                        : "end_turn");
  }
  writer.key("stop_sequence");
  by_sequence ? writer.value(options_.stop_sequences[stop]) : writer.null();
}

std::string MessageAnswer::whole(const Totals& totals) {
  std::string out;
  json::JsonWriter writer(out);
  writer.begin_object();
  write_head(writer);
  writer.key("content").begin_array();
  for (const OutputItem& item : items_.list()) write_block(writer, item, true);
  writer.end_array();
  write_stop(writer);
  write_message_usage(writer.key("usage"), totals.usage);
  write_timings(writer.key("timings"), totals);
  writer.end_object();
  return out;
}

}  // namespace qwend
