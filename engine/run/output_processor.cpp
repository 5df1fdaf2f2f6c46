#include "engine/run/output_processor.h"

#include <algorithm>
#include <utility>

namespace qwend {

OutputProcessor::OutputProcessor(const Tokenizer& tokenizer, const GenerationRequest& request,
                                 int32_t max_model_len)
    : tokenizer_(&tokenizer),
      request_(&request),
      max_tokens_(
          std::min(request.stop.max_tokens, max_model_len - static_cast<int32_t>(request.prompt.size()))),
      detokenizer_(tokenizer, request.keep_control_tokens) {
  if (!request.stop.stop.empty()) matcher_.emplace(request.stop.stop);
  if (request.stop.repetition.max_pattern > 0) repetition_.emplace(request.stop.repetition);
}

bool OutputProcessor::is_stop_token(int32_t token) const {
  const StopCriteria& stop = request_->stop;
  if (num_tokens_ <= stop.min_tokens) return false;
  if (!stop.ignore_eos && tokenizer_->is_stop(token)) return true;
  return std::ranges::find(stop.stop_token_ids, token) != stop.stop_token_ids.end();
}

OutputDelta OutputProcessor::push(SampledToken sampled) {
  ++num_tokens_;
  OutputDelta delta;
  const bool ends = is_stop_token(sampled.token);
  const bool repeats = repetition_ && repetition_->push(sampled.token);
  if (!ends || request_->stop.include_stop_in_output) {
    delta.tokens.push_back({sampled.token, sampled.logprob, std::move(sampled.top)});
    add_text(detokenizer_.push(sampled.token), delta);
  }
  if (delta.finish != FinishReason::None) return delta;  // a stop string
  if (ends || repeats || num_tokens_ >= max_tokens_) {
    flush(delta);
    const bool stops = ends || repeats;
    if (delta.finish == FinishReason::None) delta.finish = stops ? FinishReason::Stop : FinishReason::Length;
  }
  return delta;
}

OutputDelta OutputProcessor::finish(FinishReason reason) {
  OutputDelta delta;
  flush(delta);
  delta.finish = reason;
  delta.stop_index = -1;
  return delta;
}

void OutputProcessor::add_text(const std::string& text, OutputDelta& delta) {
  if (!matcher_ || num_tokens_ < request_->stop.min_tokens) {  // stop strings count only from min_tokens on
    delta.text += text;
    return;
  }
  StopMatcher::Output shown = matcher_->push(text, request_->stop.include_stop_in_output);
  delta.text += shown.text;
  if (!shown.stopped) return;
  delta.finish = FinishReason::Stop;
  delta.stop_index = shown.stop_index;
}

// What was held back because it could have become a character or a stop string.
void OutputProcessor::flush(OutputDelta& delta) {
  add_text(detokenizer_.flush(), delta);
  if (matcher_ && delta.finish == FinishReason::None) delta.text += matcher_->flush();
}

}  // namespace qwend
