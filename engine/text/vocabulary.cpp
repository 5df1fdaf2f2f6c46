// Vocabulary::from_gguf: the tokenizer.ggml.* keys of a model file.
#include "engine/error.h"
#include "engine/text/tokenizer.h"

namespace qwend {

namespace {

constexpr const char* kTokenType = "tokenizer.ggml.token_type";

std::vector<std::string> copy_strings(const gguf::File& file, const char* key) {
  const auto strings = file.find_strings(key);
  if (!strings) throw LoadError(std::string(key) + ": missing");
  return {strings->begin(), strings->end()};
}

// -1 when absent; else in [0, num_tokens).
int32_t token_id(const gguf::File& file, const char* key, size_t num_tokens) {
  const std::optional<int64_t> id = file.find_int(key);
  if (!id) return -1;
  if (*id < 0 || static_cast<uint64_t>(*id) >= num_tokens) {
    throw LoadError(std::string(key) + ": got " + std::to_string(*id) + ", allowed 0 to " +
                    std::to_string(num_tokens) + " - 1, the number of tokens");
  }
  return static_cast<int32_t>(*id);
}

// The format stores token types as 32-bit integers. Anything else is a sign of a broken writer.
void check_element_type(const gguf::File& file) {
  for (const gguf::File::Entry& entry : file.entries()) {
    if (entry.key != kTokenType) continue;
    const bool is_32_bit =
        entry.element_type == gguf::ValueType::I32 || entry.element_type == gguf::ValueType::U32;
    if (entry.type != gguf::ValueType::Array || !is_32_bit) {
      throw LoadError(std::string(kTokenType) + ": got elements of type " +
                      gguf::name_of(entry.element_type) + ", allowed 32-bit integers");
    }
  }
}

std::vector<TokenType> token_types(const gguf::File& file, size_t num_tokens) {
  const auto stored = file.find_ints(kTokenType);
  if (!stored) throw LoadError(std::string(kTokenType) + ": missing");
  check_element_type(file);
  if (stored->size() != num_tokens) {
    throw LoadError(std::string(kTokenType) + ": got " + std::to_string(stored->size()) + " entries for " +
                    std::to_string(num_tokens) + " tokens");
  }
  std::vector<TokenType> types;
  types.reserve(num_tokens);
  for (const int64_t type : *stored) {
    if (type < static_cast<int64_t>(TokenType::Normal) || type > static_cast<int64_t>(TokenType::Byte)) {
      throw LoadError(std::string(kTokenType) + "[" + std::to_string(types.size()) + "]: got " +
                      std::to_string(type) + ", allowed 1 to 6");
    }
    types.push_back(static_cast<TokenType>(type));
  }
  return types;
}

}  // namespace

Vocabulary Vocabulary::from_gguf(const gguf::File& file) {
  const std::string_view model = file.get_string("tokenizer.ggml.model");
  if (model != "gpt2") {
    throw LoadError("tokenizer.ggml.model: '" + std::string(model.substr(0, 80)) +
                    "' is not supported; supported: gpt2");
  }
  Vocabulary vocabulary;
  vocabulary.tokens = copy_strings(file, "tokenizer.ggml.tokens");
  vocabulary.types = token_types(file, vocabulary.tokens.size());
  vocabulary.merges = copy_strings(file, "tokenizer.ggml.merges");
  // Files older than this key hold Qwen1.5 or Qwen2, which have the default's rules.
  vocabulary.pre = file.find_string("tokenizer.ggml.pre").value_or(vocabulary.pre);
  const size_t num_tokens = vocabulary.tokens.size();
  vocabulary.bos = token_id(file, "tokenizer.ggml.bos_token_id", num_tokens);
  vocabulary.eos = token_id(file, "tokenizer.ggml.eos_token_id", num_tokens);
  vocabulary.eot = token_id(file, "tokenizer.ggml.eot_token_id", num_tokens);
  vocabulary.pad = token_id(file, "tokenizer.ggml.padding_token_id", num_tokens);
  vocabulary.add_bos = file.find_bool("tokenizer.ggml.add_bos_token").value_or(false);
  return vocabulary;
}

}  // namespace qwend
