#include "engine/text/tokenizer.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>

#include "engine/gguf/printable.h"
#include "engine/text/bpe.h"
#include "engine/text/byte_alphabet.h"
#include "engine/text/nfc.h"
#include "engine/text/prefix_index.h"
#include "engine/text/pretokenizer.h"
#include "engine/text/special_matcher.h"
#include "engine/text/token_table.h"
#include "engine/text/utf8.h"

namespace qwend {

namespace {

constexpr std::array<std::string_view, 5> kStopTexts = {"<|im_end|>", "<|endoftext|>", "<|fim_pad|>",
                                                        "<|repo_name|>", "<|file_sep|>"};

bool is_special(TokenType type) {
  return type == TokenType::Control || type == TokenType::Unknown || type == TokenType::UserDefined;
}

// The byte that "<0x0A>" names.
char parse_byte_token(size_t index, std::string_view text) {
  unsigned value = 0;
  const bool framed = text.size() == 6 && text.starts_with("<0x") && text.ends_with('>');
  const char* const digits = text.data() + 3;
  if (!framed || std::from_chars(digits, digits + 2, value, 16).ptr != digits + 2) {
    throw LoadError("tokenizer.ggml.tokens[" + std::to_string(index) + "]: '" +
                    std::string(text.substr(0, 80)) + "' has type BYTE; allowed: <0x00> to <0xFF>");
  }
  return static_cast<char>(value);
}

TokenTable make_token_table(const Vocabulary& vocabulary) {
  if (vocabulary.types.size() != vocabulary.tokens.size()) {
    throw LoadError("tokenizer.ggml.token_type: " + std::to_string(vocabulary.types.size()) +
                    " entries for " + std::to_string(vocabulary.tokens.size()) + " tokens");
  }
  if (vocabulary.tokens.size() > INT32_MAX)
    throw LoadError("tokenizer.ggml.tokens: more than 2^31 - 1 entries");
  TokenTable table(vocabulary.tokens.size());
  std::string bytes;
  for (size_t i = 0; i < vocabulary.tokens.size(); ++i) {
    const std::string& text = vocabulary.tokens[i];
    if (vocabulary.types[i] == TokenType::Normal) {
      bytes.clear();
      const bool is_spelled = append_from_byte_alphabet(text, bytes);
      table.add(is_spelled ? bytes : text, is_spelled && !text.empty());
    } else if (vocabulary.types[i] == TokenType::Byte) {
      bytes.assign(1, parse_byte_token(i, text));
      table.add(bytes, false);
    } else {
      table.add(text, false);
    }
  }
  return table;
}

// Tokens that stand for text.
PrefixIndex make_prefix_index(const TokenTable& table, const std::vector<TokenType>& types) {
  std::vector<int32_t> tokens;
  for (int32_t token = 0; token < table.size(); ++token) {
    const TokenType type = types[static_cast<size_t>(token)];
    const bool is_text =
        type == TokenType::Normal || type == TokenType::Byte || type == TokenType::UserDefined;
    if (is_text && !table.bytes(token).empty()) tokens.push_back(token);
  }
  return PrefixIndex(table, tokens);
}

void check_special_id(const char* key, int32_t id, const TokenTable& tokens) {
  if (id < -1 || id >= tokens.size()) {
    throw LoadError(std::string(key) + ": " + std::to_string(id) + " is not a token; the vocabulary has " +
                    std::to_string(tokens.size()));
  }
}

}  // namespace

const char* name_of(TokenType type) {
  switch (type) {
    case TokenType::Normal: return "NORMAL";
    case TokenType::Unknown: return "UNKNOWN";
    case TokenType::Control: return "CONTROL";
    case TokenType::UserDefined: return "USER_DEFINED";
    case TokenType::Unused: return "UNUSED";
    case TokenType::Byte: return "BYTE";
  }
  return "?";
}

struct Tokenizer::Impl {
  explicit Impl(const Vocabulary& vocabulary);

  // One call of encode(): gathers the text between special tokens and encodes it run by run.
  class Encoding;

  TokenTable tokens;
  std::vector<TokenType> types;
  PrefixIndex prefixes;
  BytePairEncoder bpe;
  PreTokenizer pre_tokenizer;
  SpecialMatcher specials;
  std::vector<int32_t> stop_tokens, unused_tokens;
  int32_t bos, eos;
  bool add_bos;

  // Does a token's text, as one piece, encode to the token itself? Nearly always, and then a look-up replaces
  // the merging; but it depends on the merges, so it is found out when the piece first occurs. Any thread may
  // do so: the answer is always the same, which is why relaxed order is enough.
  enum class Whole : uint8_t { NotKnown, Yes, No };
  mutable std::vector<std::atomic<Whole>> whole;
};

Tokenizer::Impl::Impl(const Vocabulary& vocabulary)
    : tokens(make_token_table(vocabulary)),
      types(vocabulary.types),
      prefixes(make_prefix_index(tokens, types)),
      bpe(tokens, vocabulary.merges),
      pre_tokenizer(vocabulary.pre),
      bos(vocabulary.bos),
      eos(vocabulary.eos),
      add_bos(vocabulary.add_bos),
      whole(vocabulary.tokens.size()) {
  check_special_id("tokenizer.ggml.bos_token_id", vocabulary.bos, tokens);
  check_special_id("tokenizer.ggml.eos_token_id", vocabulary.eos, tokens);
  check_special_id("tokenizer.ggml.eot_token_id", vocabulary.eot, tokens);
  check_special_id("tokenizer.ggml.padding_token_id", vocabulary.pad, tokens);
  for (int32_t token = 0; token < tokens.size(); ++token) {
    const TokenType type = types[static_cast<size_t>(token)];
    if (is_special(type)) specials.add(tokens.bytes(token), token, type);
    if (type == TokenType::Unused) unused_tokens.push_back(token);
  }
  stop_tokens = {vocabulary.eos, vocabulary.eot};
  for (const std::string_view text : kStopTexts) stop_tokens.push_back(specials.find_exact(text));
  std::sort(stop_tokens.begin(), stop_tokens.end());
  stop_tokens.erase(std::unique(stop_tokens.begin(), stop_tokens.end()), stop_tokens.end());
  std::erase(stop_tokens, -1);
}

class Tokenizer::Impl::Encoding {
 public:
  explicit Encoding(const Impl& tokenizer) : tokenizer_(tokenizer) {}

  void add(std::string_view text, Specials specials) {
    size_t at = 0;
    while (at < text.size()) {
      const SpecialMatcher::Match match = tokenizer_.specials.find(text, at, specials);
      run_ += text.substr(at, match.begin - at);
      at = match.end;
      if (match.token < 0) break;
      encode_run();
      ids_.push_back(match.token);
    }
  }

  std::vector<int32_t> finish() {
    encode_run();
    return std::move(ids_);
  }

 private:
  void encode_run() {
    if (!nfc_quick_check(run_)) run_ = to_nfc(run_);
    for (size_t begin = 0; begin < run_.size();) {
      const size_t end = tokenizer_.pre_tokenizer.piece_end(run_, begin);
      encode_piece(std::string_view(run_).substr(begin, end - begin));
      begin = end;
    }
    run_.clear();
  }

  void encode_piece(std::string_view piece) {
    const int32_t token = piece.size() <= tokenizer_.tokens.max_bytes() ? tokenizer_.tokens.find(piece) : -1;
    if (token < 0) return tokenizer_.bpe.encode(piece, scratch_, ids_);
    std::atomic<Whole>& whole = tokenizer_.whole[static_cast<size_t>(token)];
    if (whole.load(std::memory_order_relaxed) == Whole::Yes) return ids_.push_back(token);
    const size_t before = ids_.size();
    tokenizer_.bpe.encode(piece, scratch_, ids_);
    const bool is_whole = ids_.size() == before + 1 && ids_.back() == token;
    whole.store(is_whole ? Whole::Yes : Whole::No, std::memory_order_relaxed);
  }

  const Impl& tokenizer_;
  std::string run_;  // text since the last special token
  std::vector<int32_t> ids_;
  BytePairEncoder::Scratch scratch_;
};

Tokenizer::Tokenizer(const Vocabulary& vocabulary) try : impl_(std::make_unique<Impl>(vocabulary)) {
} catch (const LoadError& error) {
  if (vocabulary.source.empty()) throw;
  throw LoadError(vocabulary.source + ": " + error.what());
}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

int32_t Tokenizer::size() const { return impl_->tokens.size(); }
int32_t Tokenizer::bos() const { return impl_->bos; }
bool Tokenizer::add_bos() const { return impl_->add_bos; }
int32_t Tokenizer::eos() const { return impl_->eos; }
std::span<const int32_t> Tokenizer::stop_tokens() const { return impl_->stop_tokens; }
bool Tokenizer::is_stop(int32_t token) const {
  return std::find(impl_->stop_tokens.begin(), impl_->stop_tokens.end(), token) != impl_->stop_tokens.end();
}
std::span<const int32_t> Tokenizer::unused_tokens() const { return impl_->unused_tokens; }
void Tokenizer::along(std::string_view text, std::vector<int32_t>& out) const {
  impl_->prefixes.along(text, out);
}

size_t Tokenizer::max_token_bytes() const { return impl_->tokens.max_bytes(); }
int32_t Tokenizer::find(std::string_view literal) const { return impl_->specials.find_exact(literal); }

TokenType Tokenizer::type(int32_t token) const {
  CHECK(token >= 0 && token < size());
  return impl_->types[static_cast<size_t>(token)];
}

bool Tokenizer::is_control(int32_t token) const {
  return type(token) == TokenType::Control || type(token) == TokenType::Unknown;
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, Specials specials) const {
  Impl::Encoding encoding(*impl_);
  encoding.add(text, specials);
  return encoding.finish();
}

std::vector<int32_t> Tokenizer::encode(std::span<const TextSegment> segments) const {
  Impl::Encoding encoding(*impl_);
  for (const TextSegment& segment : segments) encoding.add(segment.text, segment.specials);
  return encoding.finish();
}

std::string_view Tokenizer::bytes(int32_t token) const {
  CHECK(token >= 0 && token < size());
  return impl_->tokens.bytes(token);
}

std::string Tokenizer::decode(std::span<const int32_t> tokens, bool keep_control) const {
  std::string text;
  for (const int32_t token : tokens) {
    if (keep_control || !is_control(token)) text += bytes(token);
  }
  return sanitize_utf8(text);
}

}  // namespace qwend
