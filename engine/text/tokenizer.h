// Text <-> token ids: NFC, the Qwen2 pre-tokenizer, byte-level BPE, special tokens.
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
  std::vector<TokenType> types;      // same length
  std::vector<std::string> merges;   // "left right", rank = index
  std::string pre = "qwen2";         // tokenizer.ggml.pre
  int32_t bos = -1, eos = -1, eot = -1, pad = -1;
  bool add_bos = false;
  static Vocabulary from_gguf(const gguf::File& file);  // throws LoadError
};

// Immutable after construction: safe to use from any number of threads at once.
class Tokenizer {
 public:
  explicit Tokenizer(Vocabulary vocabulary);  // throws LoadError on a malformed vocabulary or unknown `pre`
  ~Tokenizer();
  int32_t size() const;
  int32_t bos() const;  // -1: none
  bool add_bos() const;
  int32_t eos() const;
  // Tokens that end generation: eos, eot, <|im_end|>, <|endoftext|>, and the FIM ends (FACTS: the stop set).
  std::span<const int32_t> stop_tokens() const;
  bool is_stop(int32_t token) const;
  TokenType type(int32_t token) const;  // token must be in [0, size)
  int32_t find(std::string_view literal) const;  // id of a special token by its text, -1 when absent

  // Never adds BOS or EOS. Invalid UTF-8 bytes are encoded as bytes. Linear in the text's length.
  std::vector<int32_t> encode(std::string_view text, Specials specials) const;
  std::vector<int32_t> encode(std::span<const TextSegment> segments) const;

  // Bytes of one token: decoded bytes of NORMAL tokens, the literal text of others. May be incomplete UTF-8.
  std::string_view bytes(int32_t token) const;
  // Text of a sequence; control tokens are left out unless asked for. Invalid UTF-8 becomes U+FFFD.
  std::string decode(std::span<const int32_t> tokens, bool keep_control = false) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace qwend
