#include "server/openai/infill_answer.h"

namespace qwend {
namespace {

ChoiceOptions choice_options(const InfillAnswerOptions& options) {
  ChoiceOptions choice;
  choice.token_ids = options.token_ids;
  return choice;
}

}  // namespace

InfillAnswer::InfillAnswer(AnswerHead head, InfillAnswerOptions options, const Tokenizer& tokenizer)
    : head_(std::move(head)),
      options_(std::move(options)),
      choice_(choice_options(options_), tokenizer) {}

void InfillAnswer::push(int32_t, const OutputDelta& delta, const Totals*, std::string* events) {
  update_.append(choice_.push(delta));
  if (choice_.finished()) stop_index_ = delta.stop_index;
  if (events == nullptr || choice_.finished() || update_.content.empty()) return;
  *events += "data: " + object(nullptr) + "\n\n";
  update_ = {};
}

std::string InfillAnswer::object(const Totals* totals) const {
  std::string out;
  json::JsonWriter writer(out);
  writer.begin_object()
      .member("index", 0)
      .member("content", update_.content)
      .member("stop", totals != nullptr)
      .member("id", head_.id)
      .member("model", head_.model);
  writer.key("tokens").begin_array();
  for (const int32_t token : update_.token_ids) writer.value(token);
  writer.end_array();
  if (totals != nullptr) {
    const bool by_word = stop_index_ >= 0 && static_cast<size_t>(stop_index_) < options_.stop.size();
    const bool limit = std::string_view(choice_.finish_reason()) == "length";
    writer.member("stop_type", by_word ? "word"
                               : limit ? "limit"
                                       : "eos")
        .member("stopping_word",
                by_word ? std::string_view(options_.stop[static_cast<size_t>(stop_index_)]) : "")
        .member("truncated", false)
        .member("tokens_predicted", totals->usage.completion_tokens)
        .member("tokens_evaluated", totals->usage.prompt_tokens)
        .member("tokens_cached", totals->usage.cached_tokens);
    write_timings(writer.key("timings"), *totals);
  }
  writer.end_object();
  return out;
}

void InfillAnswer::end_events(const Totals& totals, std::string& events) {
  events += "data: " + object(&totals) + "\n\n";
}

std::string InfillAnswer::whole(const Totals& totals) { return object(&totals); }

}  // namespace qwend
