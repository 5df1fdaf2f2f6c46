// Reading the tokenizer's keys of a GGUF file.
#include "tests/support/test_vocabulary.h"

#include <filesystem>

#include "engine/error.h"
#include "engine/text/tokenizer.h"
#include "tests/support/catch2.h"
#include "tests/support/gguf_writer.h"
#include "tests/support/reference_data.h"

using namespace qwend;
using Catch::Matchers::Contains;

namespace {

// The small vocabulary as metadata; tests change one key at a time.
struct Keys {
  const Vocabulary vocabulary = test::small_vocabulary();
  std::string model = "gpt2", pre = "qwen2";
  std::vector<int32_t> types = {};
  int64_t eos = vocabulary.eos;

  Keys() {
    for (const TokenType type : vocabulary.types) types.push_back(static_cast<int32_t>(type));
  }

  test::GgufWriter writer() const {
    test::GgufWriter writer;
    writer.set("tokenizer.ggml.model", model).set("tokenizer.ggml.pre", pre);
    writer.set("tokenizer.ggml.tokens", vocabulary.tokens).set("tokenizer.ggml.token_type", types);
    writer.set("tokenizer.ggml.merges", vocabulary.merges).set("tokenizer.ggml.eos_token_id", eos);
    writer.set("tokenizer.ggml.padding_token_id", static_cast<uint32_t>(vocabulary.pad));
    writer.set("tokenizer.ggml.add_bos_token", false);
    return writer;
  }
};

Vocabulary read(const test::GgufWriter& writer) {
  const test::GgufImage image = writer.build();
  return Vocabulary::from_gguf(gguf::File::from_memory(image.bytes, "toy.gguf"));
}

}  // namespace

TEST_CASE("a vocabulary is read from its keys", "[unit][vocabulary]") {
  const Keys keys;
  const Vocabulary vocabulary = read(keys.writer());
  CHECK(vocabulary.tokens == keys.vocabulary.tokens);
  CHECK(vocabulary.types == keys.vocabulary.types);
  CHECK(vocabulary.merges == keys.vocabulary.merges);
  CHECK(vocabulary.eos == keys.vocabulary.eos);
  CHECK(vocabulary.pad == keys.vocabulary.pad);
  CHECK(vocabulary.bos == -1);
  CHECK(vocabulary.eot == -1);
  CHECK_FALSE(vocabulary.add_bos);
  CHECK(Tokenizer(vocabulary).encode(" the", Specials::None).size() == 1);
}

TEST_CASE("a bad vocabulary key is named with its file", "[unit][vocabulary]") {
  const auto error_with = [](auto change) {
    Keys keys;
    change(keys);
    try {
      const Tokenizer tokenizer(read(keys.writer()));
    } catch (const LoadError& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  CHECK(error_with([](Keys&) {}) == "no error");
  CHECK_THAT(error_with([](Keys& k) { k.model = "llama"; }), Contains("toy.gguf") &&
                                                                 Contains("tokenizer.ggml.model") &&
                                                                 Contains("\"llama\"") && Contains("gpt2"));
  CHECK_THAT(error_with([](Keys& k) { k.pre = "gpt-4o\n"; }),
             Contains("toy.gguf") && Contains("\"gpt-4o\\n\""));
  CHECK_THAT(error_with([](Keys& k) { k.types.pop_back(); }), Contains("tokenizer.ggml.token_type"));
  CHECK_THAT(error_with([](Keys& k) { k.types[3] = 7; }), Contains("is 7 at index 3"));
  CHECK_THAT(error_with([](Keys& k) { k.types[3] = 0; }), Contains("is 0 at index 3"));
  CHECK_THAT(error_with([](Keys& k) { k.types['a'] = 5; }), Contains("byte 97"));
  CHECK_THAT(error_with([](Keys& k) { k.eos = 1'000'000; }), Contains("eos_token_id") && Contains("1000000"));
  CHECK_THAT(error_with([](Keys& k) { k.eos = -1; }), Contains("eos_token_id") && Contains("-1"));
}

TEST_CASE("vocabulary keys of the wrong type are refused", "[unit][vocabulary]") {
  const std::string tokens = "tokenizer.ggml.tokens", types = "tokenizer.ggml.token_type",
                    merges = "tokenizer.ggml.merges";
  const auto start = [] { return test::GgufWriter().set("tokenizer.ggml.model", "gpt2"); };
  const std::vector<std::string> two = {"a", "b"};
  CHECK_THROWS_WITH(read(test::GgufWriter()), Contains("tokenizer.ggml.model"));
  CHECK_THROWS_WITH(read(start()), Contains(tokens) && Contains("missing"));
  CHECK_THROWS_WITH(read(start().set(tokens, std::vector<int32_t>{1, 2})), Contains(tokens));
  CHECK_THROWS_WITH(read(start().set(tokens, "ab")), Contains(tokens));
  CHECK_THROWS_WITH(read(start().set(tokens, two)), Contains(types) && Contains("missing"));
  CHECK_THROWS_WITH(read(start().set(tokens, two).set(types, std::vector<uint8_t>{1, 1})), Contains(types));
  CHECK_THROWS_WITH(read(start().set(tokens, two).set(types, std::vector<float>{1, 1})), Contains(types));
  CHECK_THROWS_WITH(read(start().set(tokens, two).set(types, uint32_t{1})), Contains(types));
  const std::vector<int32_t> normal = {1, 1};
  CHECK_THROWS_WITH(read(start().set(tokens, two).set(types, normal)),
                    Contains(merges) && Contains("missing"));
  CHECK_THROWS_WITH(read(start().set(tokens, two).set(types, normal).set(merges, uint32_t{1})),
                    Contains(merges));
}

TEST_CASE("the reference models' vocabularies load and round-trip", "[unit][vocabulary][golden]") {
  const std::filesystem::path folder = qwend::test::reference_data() / "goldens";
  if (!std::filesystem::exists(folder)) {
    WARN("skipped: no reference data in " << folder);
    return;
  }
  const std::string text = "Hello, wörld! 漢字 🦙\n\n  \r\n123";
  for (const auto& file : std::filesystem::directory_iterator(folder)) {
    if (file.path().extension() != ".gguf") continue;
    INFO(file.path());
    const Tokenizer tokenizer(Vocabulary::from_gguf(gguf::File::open(file.path())));
    CHECK(tokenizer.decode(tokenizer.encode(text, Specials::All)) == text);
    CHECK(tokenizer.is_stop(tokenizer.eos()));
  }
}
