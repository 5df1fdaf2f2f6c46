// Vocabulary::from_gguf: the tokenizer.ggml.* keys of a model file.
#include "engine/error.h"
#include "engine/gguf/printable.h"
#include "engine/text/tokenizer.h"

namespace qwend {

namespace {

constexpr const char* kTokenType = "tokenizer.ggml.token_type";

// Reads the keys of one file; every error names the file and the key.
class Reader {
 public:
  explicit Reader(const gguf::File& file) : file_(file) {}

  std::vector<std::string> strings(const char* key) const {
    const auto views = file_.find_strings(key);
    if (!views) fail(key, "is missing");
    return {views->begin(), views->end()};
  }

  // -1 when absent; else in [0, num_tokens).
  int32_t token_id(const char* key, size_t num_tokens) const {
    const std::optional<int64_t> id = file_.find_int(key);
    if (!id) return -1;
    if (*id < 0 || static_cast<uint64_t>(*id) >= num_tokens) {
      fail(key, "is " + std::to_string(*id) + ", which is no token: the vocabulary has " +
                    std::to_string(num_tokens));
    }
    return static_cast<int32_t>(*id);
  }

  std::vector<TokenType> token_types(size_t num_tokens) const {
    const auto stored = file_.find_ints(kTokenType);
    if (!stored) fail(kTokenType, "is missing");
    // The format stores 32-bit integers here; anything else comes from a broken writer.
    const gguf::ValueType element = file_.find_entry(kTokenType)->element_type;
    if (element != gguf::ValueType::I32 && element != gguf::ValueType::U32) {
      fail(kTokenType,
           std::string("is an array of ") + gguf::name_of(element) + ", expected an array of i32");
    }
    if (stored->size() != num_tokens) {
      fail(kTokenType, "has " + std::to_string(stored->size()) + " entries for " +
                           std::to_string(num_tokens) + " tokens");
    }
    std::vector<TokenType> types;
    types.reserve(num_tokens);
    for (const int64_t type : *stored) {
      if (type < static_cast<int64_t>(TokenType::Normal) || type > static_cast<int64_t>(TokenType::Byte)) {
        fail(kTokenType,
             "is " + std::to_string(type) + " at index " + std::to_string(types.size()) + ", allowed 1 to 6");
      }
      types.push_back(static_cast<TokenType>(type));
    }
    return types;
  }

  [[noreturn]] void fail(const char* key, const std::string& what) const {
    throw LoadError(file_.path() + ": metadata key " + gguf::quoted(key) + " " + what);
  }

 private:
  const gguf::File& file_;
};

}  // namespace

Vocabulary Vocabulary::from_gguf(const gguf::File& file) {
  const Reader reader(file);
  const std::string_view model = file.get_string("tokenizer.ggml.model");
  if (model != "gpt2") {
    reader.fail("tokenizer.ggml.model",
                "is " + gguf::quoted(model) + ", which is not supported; supported: gpt2");
  }
  Vocabulary vocabulary;
  vocabulary.source = file.path();
  vocabulary.tokens = reader.strings("tokenizer.ggml.tokens");
  const size_t num_tokens = vocabulary.tokens.size();
  vocabulary.types = reader.token_types(num_tokens);
  vocabulary.merges = reader.strings("tokenizer.ggml.merges");
  // Files older than this key hold Qwen1.5 or Qwen2, which have the default's rules.
  vocabulary.pre = file.find_string("tokenizer.ggml.pre").value_or(vocabulary.pre);
  vocabulary.bos = reader.token_id("tokenizer.ggml.bos_token_id", num_tokens);
  vocabulary.eos = reader.token_id("tokenizer.ggml.eos_token_id", num_tokens);
  vocabulary.eot = reader.token_id("tokenizer.ggml.eot_token_id", num_tokens);
  vocabulary.pad = reader.token_id("tokenizer.ggml.padding_token_id", num_tokens);
  vocabulary.add_bos = file.find_bool("tokenizer.ggml.add_bos_token").value_or(false);
  return vocabulary;
}

}  // namespace qwend
