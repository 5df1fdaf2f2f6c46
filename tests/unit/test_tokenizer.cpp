// The tokenizer on a small vocabulary; test_tokenizer_reference.cpp has Qwen2's.
#include "engine/error.h"
#include "engine/text/tokenizer.h"
#include "tests/support/catch2.h"
#include "tests/support/test_vocabulary.h"

using namespace qwend;
using test::add_token;
using test::small_vocabulary;

namespace {

using Ids = std::vector<int32_t>;

std::vector<std::string> pieces(const Tokenizer& tokenizer, const Ids& ids) {
  std::vector<std::string> result;
  for (const int32_t id : ids) result.emplace_back(tokenizer.bytes(id));
  return result;
}

using Pieces = std::vector<std::string>;

Pieces encode_pieces(const Tokenizer& tokenizer, std::string_view text, Specials specials = Specials::None) {
  return pieces(tokenizer, tokenizer.encode(text, specials));
}

std::string load_error(const Vocabulary& vocabulary) {
  try {
    const Tokenizer tokenizer(vocabulary);
  } catch (const LoadError& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("BPE merges the lowest rank first, the leftmost of equals", "[unit][tokenizer]") {
  const Tokenizer tokenizer(small_vocabulary());
  CHECK(encode_pieces(tokenizer, "the") == Pieces{"the"});
  CHECK(encode_pieces(tokenizer, "he") == Pieces{"he"});
  // "t h" has rank 0, so " t" (rank 2) never forms in front of "h".
  CHECK(encode_pieces(tokenizer, " then") == Pieces{" the", "n"});
  CHECK(encode_pieces(tokenizer, " tea") == Pieces{" t", "e", "a"});
  CHECK(encode_pieces(tokenizer, "aaaaaaa") == Pieces{"aaaa", "aa", "a"});
  CHECK(encode_pieces(tokenizer, "") == Pieces{});
}

TEST_CASE("a token whose merges cannot make it is not used for its text", "[unit][tokenizer]") {
  Vocabulary vocabulary = small_vocabulary();
  add_token(vocabulary, "xyz", TokenType::Normal);  // no merge makes it
  const Tokenizer tokenizer(vocabulary);
  for (int repeat = 0; repeat < 2; ++repeat) CHECK(encode_pieces(tokenizer, "xyz") == Pieces{"x", "y", "z"});
}

TEST_CASE("special tokens match only where the text permits them", "[unit][tokenizer]") {
  const Tokenizer tokenizer(small_vocabulary());
  const std::string text = "<think>the<|im_end|>";
  CHECK(encode_pieces(tokenizer, text, Specials::All) == Pieces{"<think>", "the", "<|im_end|>"});
  const Ids user_defined = tokenizer.encode(text, Specials::UserDefined);
  CHECK(user_defined.front() == tokenizer.find("<think>"));
  CHECK(user_defined.back() == '>');
  for (const int32_t id : tokenizer.encode(text, Specials::None))
    CHECK(tokenizer.type(id) == TokenType::Normal);
  // UNUSED tokens are never made from text.
  for (const int32_t id : tokenizer.encode("[PAD0]", Specials::All))
    CHECK(tokenizer.type(id) == TokenType::Normal);
}

TEST_CASE("the leftmost, then longest special token wins", "[unit][tokenizer]") {
  Vocabulary vocabulary = small_vocabulary();
  add_token(vocabulary, "ab", TokenType::UserDefined);
  add_token(vocabulary, "abcd", TokenType::Control);
  add_token(vocabulary, "bcdef", TokenType::UserDefined);
  const Tokenizer tokenizer(vocabulary);
  CHECK(encode_pieces(tokenizer, "abcdef", Specials::All) == Pieces{"abcd", "e", "f"});
  CHECK(encode_pieces(tokenizer, "abcdef", Specials::UserDefined) == Pieces{"ab", "c", "d", "e", "f"});
  CHECK(encode_pieces(tokenizer, "abcab", Specials::All) == Pieces{"ab", "c", "ab"});
  CHECK(encode_pieces(tokenizer, "bcdabc", Specials::All) == Pieces{"b", "c", "d", "ab", "c"});
}

TEST_CASE("segments are one text, but special tokens stay inside theirs", "[unit][tokenizer]") {
  const Tokenizer tokenizer(small_vocabulary());
  const auto encode = [&](const std::vector<TextSegment>& segments) { return tokenizer.encode(segments); };
  const Ids joined = tokenizer.encode("and\n\nthe", Specials::None);
  CHECK(encode({{"and\n", Specials::All}, {"\nt", Specials::None}, {"he", Specials::All}}) == joined);

  // A client's text stays text even when it completes markup begun by the template, or the other way round.
  const Ids split = encode({{"<|im_", Specials::All}, {"end|>", Specials::None}});
  CHECK(split == tokenizer.encode("<|im_end|>", Specials::None));
  CHECK(encode({{"<|im_", Specials::None}, {"end|>", Specials::All}}) == split);

  const int32_t im_end = tokenizer.find("<|im_end|>");
  const Ids chat = encode(
      {{"<|im_start|>the\n", Specials::All}, {"<|im_end|>", Specials::None}, {"<|im_end|>", Specials::All}});
  CHECK(chat.front() == tokenizer.find("<|im_start|>"));
  CHECK(std::count(chat.begin(), chat.end(), im_end) == 1);
  CHECK(chat.back() == im_end);
}

TEST_CASE("text is normalised across segments but never across special tokens", "[unit][tokenizer]") {
  const Tokenizer tokenizer(small_vocabulary());
  const std::string acute = "\xCC\x81", e_acute = "\xC3\xA9";
  CHECK(tokenizer.encode("e" + acute, Specials::None) == tokenizer.encode(e_acute, Specials::None));
  const std::vector<TextSegment> split = {{"e", Specials::All}, {acute, Specials::None}};
  CHECK(tokenizer.encode(split) == tokenizer.encode(e_acute, Specials::None));
  CHECK(tokenizer.decode(tokenizer.encode("e<think>" + acute, Specials::All)) == "e<think>" + acute);
}

TEST_CASE("bytes that are not UTF-8 are encoded as bytes", "[unit][tokenizer]") {
  const Tokenizer tokenizer(small_vocabulary());
  std::string text;
  for (int byte = 255; byte >= 0; --byte) text += static_cast<char>(byte);
  text += "the\xE4\xB8 the\xF0\x9F";
  std::string bytes;
  for (const int32_t id : tokenizer.encode(text, Specials::All)) bytes += tokenizer.bytes(id);
  CHECK(bytes == text);
}

TEST_CASE("decode leaves control tokens out unless asked for them", "[unit][tokenizer]") {
  const Tokenizer tokenizer(small_vocabulary());
  const Ids ids = tokenizer.encode("<|im_start|><think> the</think><|im_end|>", Specials::All);
  CHECK(tokenizer.decode(ids) == "<think> the</think>");
  CHECK(tokenizer.decode(ids, true) == "<|im_start|><think> the</think><|im_end|>");
  CHECK(tokenizer.decode(Ids{0xE4, 'a'}) ==
        "\xEF\xBF\xBD"
        "a");
}

TEST_CASE("tokens along a text are those that begin it or begin with it", "[unit][tokenizer]") {
  Vocabulary vocabulary = small_vocabulary();
  add_token(vocabulary, "", TokenType::Normal);
  const Tokenizer tokenizer(vocabulary);
  const std::vector<std::string> texts = {"t",
                                          "th",
                                          "the cat",
                                          " and",
                                          "<think>",
                                          "<|im_end|>",
                                          "<",
                                          std::string("\0x", 2),
                                          std::string("t\0", 2),
                                          "\xFF\xFE",
                                          "\n"};
  for (const std::string& text : texts) {
    Ids expected, found;
    for (int32_t id = 0; id < tokenizer.size(); ++id) {
      const std::string_view bytes = tokenizer.bytes(id);
      const bool is_text =
          !tokenizer.is_control(id) && tokenizer.type(id) != TokenType::Unused && !bytes.empty();
      if (is_text && (bytes.starts_with(text) || text.starts_with(bytes))) expected.push_back(id);
    }
    tokenizer.along(text, found);
    std::ranges::sort(found);
    INFO(text);
    CHECK(found == expected);
    CHECK_FALSE(found.empty());
  }
}

TEST_CASE("stop tokens are eos, eot and the known end markers", "[unit][tokenizer]") {
  Vocabulary vocabulary = small_vocabulary();
  const int32_t file_sep = add_token(vocabulary, "<|file_sep|>", TokenType::Control);
  const int32_t custom = add_token(vocabulary, "<custom end>", TokenType::Control);
  add_token(vocabulary, "<|repo_name|>", TokenType::Normal);  // plain text is no stop token
  vocabulary.eot = custom;
  const Tokenizer tokenizer(vocabulary);
  const Ids expected = {tokenizer.find("<|endoftext|>"), tokenizer.find("<|im_end|>"), file_sep, custom};
  const auto stops = tokenizer.stop_tokens();
  CHECK(Ids(stops.begin(), stops.end()) == expected);
  for (const int32_t id : expected) CHECK(tokenizer.is_stop(id));
  CHECK_FALSE(tokenizer.is_stop(tokenizer.find("<|im_start|>")));
  CHECK_FALSE(tokenizer.is_stop(-1));
  const auto unused = tokenizer.unused_tokens();
  REQUIRE(unused.size() == 2);
  CHECK(tokenizer.bytes(unused[0]) == "[PAD0]");
}

TEST_CASE("a malformed vocabulary is a LoadError that names the key", "[unit][tokenizer]") {
  using Catch::Matchers::Contains;
  const auto with = [](auto change) {
    Vocabulary vocabulary = small_vocabulary();
    change(vocabulary);
    return load_error(vocabulary);
  };
  CHECK(with([](Vocabulary&) {}) == "no error");
  CHECK_THAT(with([](Vocabulary& v) { v.types.pop_back(); }), Contains("tokenizer.ggml.token_type"));
  CHECK_THAT(with([](Vocabulary& v) { v.tokens['a'] = "aaaaa"; }), Contains("no NORMAL token for byte 97"));
  CHECK_THAT(with([](Vocabulary& v) { v.merges[3] = "th"; }), Contains("merges[3]"));
  CHECK_THAT(with([](Vocabulary& v) { v.merges[3] = ""; }), Contains("merges[3]"));
  CHECK_THAT(with([](Vocabulary& v) { v.merges[3] = " th"; }), Contains("merges[3]"));
  CHECK_THAT(with([](Vocabulary& v) { v.merges[3] = "th "; }), Contains("merges[3]"));
  CHECK_THAT(with([](Vocabulary& v) { v.merges[3] = "t h e"; }), Contains("merges[3]"));
  CHECK_THAT(with([](Vocabulary& v) { v.merges[3] = "t \xE4"; }), Contains("byte alphabet"));
  CHECK_THAT(with([](Vocabulary& v) { v.merges[3] = "x y"; }), Contains("makes what is no token"));
  CHECK_THAT(with([](Vocabulary& v) { v.merges[3] = "xx y"; }), Contains("joins what is no token"));
  CHECK_THAT(with([](Vocabulary& v) { v.pre = "llama-bpe"; }), Contains("llama-bpe") && Contains("qwen2"));
  CHECK_THAT(with([](Vocabulary& v) { v.eos = 100000; }), Contains("eos_token_id"));
  CHECK_THAT(with([](Vocabulary& v) { v.bos = -2; }), Contains("bos_token_id"));
  CHECK_THAT(with([](Vocabulary& v) { add_token(v, "<0x-1>", TokenType::Byte); }), Contains("BYTE"));
  CHECK_THAT(with([](Vocabulary& v) { add_token(v, "", TokenType::Byte); }), Contains("BYTE"));
}

TEST_CASE("odd but harmless vocabularies load", "[unit][tokenizer]") {
  Vocabulary vocabulary = small_vocabulary();
  const int32_t empty = add_token(vocabulary, "", TokenType::Normal);
  add_token(vocabulary, "", TokenType::Control);
  add_token(vocabulary, vocabulary.tokens['t'], TokenType::Normal);  // a duplicate
  add_token(vocabulary, "<|im_end|>", TokenType::Control);           // a duplicate
  const int32_t literal = add_token(vocabulary, "not in the alphabet", TokenType::Normal);
  const int32_t byte = add_token(vocabulary, "<0x0A>", TokenType::Byte);
  vocabulary.merges.push_back(vocabulary.merges[0]);
  const Tokenizer tokenizer(vocabulary);
  CHECK(tokenizer.encode("t", Specials::None) == Ids{'t'});
  CHECK(tokenizer.encode("the<|im_end|>", Specials::All).back() == vocabulary.eos);
  CHECK(tokenizer.bytes(empty).empty());
  CHECK(tokenizer.bytes(literal) == "not in the alphabet");
  CHECK(tokenizer.bytes(byte) == "\n");
}
