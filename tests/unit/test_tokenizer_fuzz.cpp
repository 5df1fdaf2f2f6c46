// Random texts and segments, fixed seeds, against the definitions.
#include <algorithm>
#include <map>
#include <random>

#include "engine/text/bpe.h"
#include "engine/text/nfc.h"
#include "engine/text/tokenizer.h"
#include "tests/support/catch2.h"
#include "tests/support/test_vocabulary.h"

using namespace qwend;

namespace {

// By the definition: while some adjacent pair merges, merge the leftmost of the lowest rank.
std::vector<std::string> naive_bpe(const std::map<std::pair<std::string, std::string>, size_t>& ranks,
                                   const std::string& piece) {
  std::vector<std::string> parts;
  for (const char c : piece) parts.emplace_back(1, c);
  for (;;) {
    size_t best = ranks.size(), at = 0;
    for (size_t i = 0; i + 1 < parts.size(); ++i) {
      const auto rank = ranks.find({parts[i], parts[i + 1]});
      if (rank != ranks.end() && rank->second < best) best = rank->second, at = i;
    }
    if (best == ranks.size()) return parts;
    parts[at] += parts[at + 1];
    parts.erase(parts.begin() + static_cast<ptrdiff_t>(at) + 1);
  }
}

std::string random_text(std::mt19937& random, size_t max_parts) {
  static const std::string parts[] = {"the",   " the", " and", "t",        "h",       "e",          "\n",
                                      "  ",    " ",    "a",    "aaa",      "<think>", "<|im_end|>", "<|im_",
                                      "end|>", "</",   "é",    "e\u0301",  "\u0323",  "漢",         "🦙",
                                      "1",     "'s",   "\xFF", "\xE4\xB8", "\xCC"};
  std::string text;
  for (size_t left = random() % (max_parts + 1); left > 0; --left) text += parts[random() % std::size(parts)];
  return text;
}

}  // namespace

TEST_CASE("random merges on random pieces equal the definition", "[unit][tokenizer]") {
  std::mt19937 random(11);
  for (int round = 0; round < 300; ++round) {
    TokenTable tokens(600);
    std::vector<std::string> known;
    for (int byte = 0; byte < 256; ++byte) tokens.add(std::string(1, static_cast<char>(byte)), true);
    for (const char letter : {'a', 'b', 'c'}) known.emplace_back(1, letter);
    std::vector<std::string> merges;
    std::map<std::pair<std::string, std::string>, size_t> ranks;
    for (int i = 0; i < 40; ++i) {
      const std::string left = known[random() % known.size()], right = known[random() % known.size()];
      const std::string whole = left + right;
      if (whole.size() > 12 || !ranks.emplace(std::pair(left, right), merges.size()).second) continue;
      merges.push_back(left + " " + right);
      if (tokens.find(whole) < 0) tokens.add(whole, true);
      known.push_back(whole);
    }
    // A merge may rank before the one that makes its part: any order must work.
    std::shuffle(merges.begin(), merges.end(), random);
    for (size_t rank = 0; rank < merges.size(); ++rank) {
      const size_t space = merges[rank].find(' ');
      ranks[{merges[rank].substr(0, space), merges[rank].substr(space + 1)}] = rank;
    }
    const BytePairEncoder bpe(tokens, merges);
    BytePairEncoder::Scratch scratch;
    for (int i = 0; i < 30; ++i) {
      std::string piece(1 + random() % 40, ' ');
      for (char& c : piece) c = static_cast<char>('a' + random() % 3);
      std::vector<int32_t> ids;
      bpe.encode(piece, scratch, ids);
      std::vector<std::string> got;
      for (const int32_t id : ids) got.emplace_back(tokens.bytes(id));
      INFO("seed 11, round " << round << ": " << piece);
      REQUIRE(got == naive_bpe(ranks, piece));
    }
  }
}

TEST_CASE("random texts come back as their NFC form", "[unit][tokenizer]") {
  const Tokenizer tokenizer(test::small_vocabulary());
  std::mt19937 random(12);
  for (int i = 0; i < 20'000; ++i) {
    const std::string text = random_text(random, 20);
    std::string bytes;
    for (const int32_t id : tokenizer.encode(text, Specials::None)) {
      REQUIRE(tokenizer.type(id) == TokenType::Normal);
      bytes += tokenizer.bytes(id);
    }
    REQUIRE(bytes == to_nfc(text));
  }
}

TEST_CASE("random segments without specials encode as their join", "[unit][tokenizer]") {
  const Tokenizer tokenizer(test::small_vocabulary());
  std::mt19937 random(13);
  for (int i = 0; i < 10'000; ++i) {
    std::vector<TextSegment> segments(random() % 5);
    std::string joined;
    for (TextSegment& segment : segments) joined += segment.text = random_text(random, 6);
    REQUIRE(tokenizer.encode(segments) == tokenizer.encode(joined, Specials::None));
    // Whatever the permissions, no control token comes out of a segment that doesn't hold its whole text.
    size_t permitted = 0, control = 0;
    for (TextSegment& segment : segments) {
      segment.specials = static_cast<Specials>(random() % 3);
      if (segment.specials != Specials::All) continue;
      for (size_t at = 0; (at = segment.text.find("<|im_end|>", at)) != std::string::npos; ++at) ++permitted;
    }
    for (const int32_t id : tokenizer.encode(segments)) control += tokenizer.is_control(id);
    REQUIRE(control == permitted);
  }
}
