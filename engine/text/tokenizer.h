// Text <-> token ids: NFC, the Qwen pre-tokenizer, byte-level BPE, special tokens.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/gguf/gguf.h"

namespace qwend {

enum class TokenType : uint8_t { Normal = 1, Unknown, Control, UserDefined, Unused, Byte };
const char* name_of(TokenType type);

// Which special tokens a piece of text may turn into. Text from clients is None: it can never become
// a control token. Markup written by a chat template is All.
enum class Specials : uint8_t { None, UserDefined, All };

// A run of prompt text and what it may become. Adjacent segments are pre-tokenised as one text, so that
// "user\n" + "\nHi" merges as it would have in one string; only special matching respects the borders.
struct TextSegment {
  std::string text;
  Specials specials = Specials::None;
  bool operator==(const TextSegment&) const = default;
};

struct Vocabulary {  // as stored in the file, in GPT-2's byte alphabet
  std::vector<std::string> tokens;
  std::vector<TokenType> types;     // same length
  std::vector<std::string> merges;  // "left right", rank = index
  std::string pre = "qwen2";        // tokenizer.ggml.pre
  int32_t bos = -1, eos = -1, eot = -1, pad = -1;
  bool add_bos = false;
  std::string source;                                   // for error messages: the model file's path
  static Vocabulary from_gguf(const gguf::File& file);  // throws LoadError
};

// Immutable after construction: safe to use from any number of threads at once.
class Tokenizer {
 public:
  explicit Tokenizer(
      const Vocabulary& vocabulary);  // throws LoadError on a malformed vocabulary or unknown `pre`
  Tokenizer(Tokenizer&&) noexcept;
  ~Tokenizer();
  int32_t size() const;
  int32_t bos() const;  // -1: none
  bool add_bos() const;
  int32_t eos() const;  // -1: none
  // Tokens that end generation, in increasing order: the file's eos and eot, and those of <|im_end|>,
  // <|endoftext|>,
  // <|fim_pad|>, <|repo_name|> and <|file_sep|> that the vocabulary has as special tokens.
  std::span<const int32_t> stop_tokens() const;
  bool is_stop(int32_t token) const;
  // Padding rows of the embedding: never to be sampled. In increasing order.
  std::span<const int32_t> unused_tokens() const;
  TokenType type(int32_t token) const;           // token must be in [0, size)
  int32_t find(std::string_view literal) const;  // id of a special token by its text, -1 when absent
  // Appends the tokens of text (NORMAL, BYTE, USER_DEFINED) whose bytes begin `text` or begin with it, in no
  // particular order: what may follow so that the output goes along `text`. text: not empty.
  void along(std::string_view text, std::vector<int32_t>& out) const;
  // No token stands for more bytes than this: text longer than n * max_token_bytes() has more than n tokens,
  // unless NFC shortens it (to a third at most).
  size_t max_token_bytes() const;

  // Never adds BOS or EOS. Text between special tokens is normalised to NFC first; bytes that are not UTF-8
  // are encoded as bytes. Linear in the text's length but for a factor log n inside one unbroken word; a text
  // of one such word needs about 24 bytes of working memory a byte.
  std::vector<int32_t> encode(std::string_view text, Specials specials) const;
  std::vector<int32_t> encode(std::span<const TextSegment> segments) const;

  // Bytes of one token: decoded bytes of NORMAL tokens, the literal text of others. May be incomplete UTF-8.
  std::string_view bytes(int32_t token) const;
  // CONTROL or UNKNOWN: not part of the visible text.
  bool is_control(int32_t token) const;
  // Text of a sequence; control tokens are left out unless asked for. Invalid UTF-8 becomes U+FFFD.
  std::string decode(std::span<const int32_t> tokens, bool keep_control = false) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace qwend
