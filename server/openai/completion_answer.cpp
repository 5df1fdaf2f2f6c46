#include "server/openai/completion_answer.h"

namespace qwend {
namespace {

void write_ids(json::JsonWriter& writer, const std::vector<int32_t>& ids) {
  writer.begin_array();
  for (const int32_t id : ids) writer.value(id);
  writer.end_array();
}

}  // namespace

CompletionAnswer::CompletionAnswer(AnswerHead head, CompletionAnswerOptions options, int32_t num_prompts,
                                   const Tokenizer& tokenizer)
    : options_(std::move(options)),
      tokenizer_(tokenizer),
      prompt_logprobs_(static_cast<size_t>(num_prompts)) {
  for (int32_t i = 0; i < num_prompts * options_.n; ++i)
    choices_.push_back({Choice(options_.choice, tokenizer_), LegacyLogprobs(tokenizer_), {}});
  json::JsonWriter writer(head_);
  writer.member("id", head.id)
      .member("object", "text_completion")
      .member("created", head.created)
      .member("model", head.model)
      .member("system_fingerprint", head.system_fingerprint);
}

bool CompletionAnswer::waits_for_prompt(int32_t index) const {
  return echoes() && options_.choice.logprobs && prompt_logprobs_[prompt_of(index)].empty();
}

void CompletionAnswer::push(int32_t index, const OutputDelta& delta, const Totals* totals,
                            std::string* events) {
  ChoiceState& state = choices_[static_cast<size_t>(index)];
  so_far_ = {delta.usage, delta.timings};
  if (!delta.prompt_logprobs.empty()) prompt_logprobs_[prompt_of(index)] = delta.prompt_logprobs;
  state.update.append(state.choice.push(delta));
  if (events == nullptr) return;
  const bool finished = state.choice.finished();
  const bool due = !state.update.content.empty() || (echoes() && !state.started);
  if (due && !finished && !waits_for_prompt(index)) chunk(index, nullptr, nullptr, *events);
  if (finished) {
    if (due) chunk(index, nullptr, nullptr, *events);
    chunk(index, state.choice.finish_reason(), totals, *events);
  }
}

void CompletionAnswer::write_choice(int32_t index, const char* finish_reason, json::JsonWriter& writer) {
  ChoiceState& state = choices_[static_cast<size_t>(index)];
  const bool first = !state.started;
  const size_t prompt = prompt_of(index);
  state.started = true;
  writer.begin_object().member("index", index);
  writer.member("text",
                first && echoes() ? options_.echo[prompt] + state.update.content : state.update.content);
  writer.key("logprobs");
  const std::vector<TokenOutput> none;
  const auto& echoed = first && echoes() ? prompt_logprobs_[prompt] : none;
  if (options_.choice.logprobs) {
    state.logprobs.write(writer, echoed, state.update.logprobs);
  } else {
    writer.null();
  }
  writer.key("finish_reason");
  finish_reason == nullptr ? writer.null() : writer.value(finish_reason);
  if (options_.choice.token_ids) {
    write_ids(writer.key("token_ids"), state.update.token_ids);
    if (first) write_ids(writer.key("prompt_token_ids"), options_.prompt_token_ids[prompt]);
  }
  writer.end_object();
  state.update = {};
}

void CompletionAnswer::chunk(int32_t index, const char* finish_reason, const Totals* totals,
                             std::string& out) {
  const bool first = !choices_[static_cast<size_t>(index)].started;
  out += "data: ";
  json::JsonWriter writer(out);
  writer.begin_object().raw(head_).key("choices").begin_array();
  write_choice(index, finish_reason, writer);
  writer.end_array();
  if (first && !options_.params_json.empty()) writer.key("params").raw(options_.params_json);
  if (options_.continuous_usage_stats) {
    Usage usage{.prompt_tokens = options_.prompt_tokens, .cached_tokens = 0, .completion_tokens = 0};
    for (const ChoiceState& state : choices_) usage.completion_tokens += state.choice.tokens();
    write_usage(writer.key("usage"), usage, 0);
  } else if (options_.include_usage) {
    writer.key("usage").null();
  }
  if (totals != nullptr && !options_.include_usage) {
    write_timings(writer.key("timings"), *totals);
  } else if (options_.timings_per_token) {
    write_timings(writer.key("timings"), so_far_);
  }
  writer.end_object();
  out += "\n\n";
}

void CompletionAnswer::end_events(const Totals& totals, std::string& events) {
  if (options_.include_usage) {
    events += "data: ";
    json::JsonWriter writer(events);
    writer.begin_object().raw(head_).key("choices").begin_array().end_array();
    write_usage(writer.key("usage"), totals.usage, 0);
    write_timings(writer.key("timings"), totals);
    writer.end_object();
    events += "\n\n";
  }
  events += "data: [DONE]\n\n";
}

std::string CompletionAnswer::whole(const Totals& totals) {
  std::string out;
  json::JsonWriter writer(out);
  writer.begin_object().raw(head_).key("choices").begin_array();
  for (size_t i = 0; i < choices_.size(); ++i)
    write_choice(static_cast<int32_t>(i), choices_[i].choice.finish_reason(), writer);
  writer.end_array();
  write_usage(writer.key("usage"), totals.usage, 0);
  write_timings(writer.key("timings"), totals);
  if (!options_.params_json.empty()) writer.key("params").raw(options_.params_json);
  writer.end_object();
  return out;
}

}  // namespace qwend
