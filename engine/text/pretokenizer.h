// Cuts text into the pieces inside which BPE may merge.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace qwend {

// A hand-written equivalent of the Qwen split patterns, tried in this order at each position:
//   (?i:'s|'t|'re|'ve|'m|'ll|'d)
//   [^\r\n\p{L}\p{N}]?\p{L}+           qwen35: [^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+
//   \p{N}
//    ?[^\s\p{L}\p{N}]+[\r\n]*          qwen35:  ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*
//   \s*[\r\n]+
//   \s+(?!\S)
//   \s+
// Each piece is found by a scan without backtracking, and no byte is looked at more than a few times, so the
// whole is linear for any text. Bytes that are not UTF-8 count as symbols. Immutable; any thread.
class PreTokenizer {
 public:
  // name: tokenizer.ggml.pre. Throws LoadError when it is none of "qwen2", "deepseek-r1-qwen", "qwen35".
  explicit PreTokenizer(std::string_view name);

  // End of the piece that starts at `begin` (< text.size()); always > begin.
  size_t piece_end(std::string_view text, size_t begin) const;

 private:
  bool marks_are_letters_;
};

}  // namespace qwend
