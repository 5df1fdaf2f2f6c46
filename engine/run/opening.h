// Makes an output begin with one of a few texts.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/text/tokenizer.h"

namespace qwend {

// One a sequence; engine thread only. The texts and the tokenizer must outlive it. The last token of the
// opening may reach beyond it: how a model cuts its text into tokens is left to the model.
class Opening {
 public:
  // texts: none is empty.
  Opening(const std::vector<std::string>& texts, const Tokenizer& tokenizer)
      : texts_(&texts), tokenizer_(&tokenizer) {}

  // One of the texts is there (or can't be any more): the next token is free.
  bool done() const { return done_; }
  // The next token of the output, as drawn.
  void push(int32_t token) {
    if (done_) return;
    said_ += tokenizer_->bytes(token);
    bool open = false;
    for (const std::string& text : *texts_) {
      if (said_.starts_with(text)) done_ = true;
      open |= text.starts_with(said_);
    }
    done_ |= !open;
  }
  // The tokens that may come next, one bit each, in place of what `mask` holds. Not empty as long as the
  // vocabulary can spell the texts; an empty mask allows all. Precondition: !done().
  void allow(std::vector<uint64_t>& mask) const {
    mask.clear();
    std::vector<int32_t> tokens;
    for (const std::string& text : *texts_)
      if (text.starts_with(said_)) tokenizer_->along(std::string_view(text).substr(said_.size()), tokens);
    for (const int32_t token : tokens) {
      const auto word = static_cast<size_t>(token / 64);
      if (word >= mask.size()) mask.resize(word + 1);
      mask[word] |= uint64_t{1} << (token % 64);
    }
  }

 private:
  const std::vector<std::string>* texts_;
  const Tokenizer* tokenizer_;
  std::string said_;
  bool done_ = false;
};

}  // namespace qwend
