// Speed of the tokenizer: start-up, MB/s on generated text, and the worst inputs.
//   bench_tokenizer [MODEL.gguf]      without a file: Qwen2's vocabulary from the reference data
#include "engine/text/tokenizer.h"

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <functional>
#include <optional>
#include <random>
#include <string>

#include "engine/text/unicode.h"
#include "tests/support/test_vocabulary.h"

using namespace qwend;

namespace {

constexpr size_t kMillion = 1'000'000;

// Processor time: what a core needs, also when other programs share it.
double seconds(const std::function<void()>& work) {
  const std::clock_t start = std::clock();
  work();
  return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
}

std::string repeat(std::string_view unit, size_t count) {
  std::string text;
  for (size_t i = 0; i < count; ++i) text += unit;
  return text;
}

// Words of made-up syllables and common English ones, with English lengths and punctuation: about a quarter
// of the words are not in any vocabulary.
std::string english_like(size_t bytes) {
  static const char* const common[] = {"the",  "of",    "and",      "to",     "in",     "that",
                                       "was",  "with",  "his",      "they",   "have",   "this",
                                       "from", "which", "because",  "people", "work",   "time",
                                       "find", "don't", "question", "it's",   "system", "language"};
  static const char* const syllables[] = {"ba",  "con",  "de", "ter", "mi",  "lo",
                                          "ran", "tion", "ex", "pu",  "shi", "ver"};
  std::mt19937 random(1);
  std::string text;
  while (text.size() < bytes) {
    if (random() % 4) {
      text += common[random() % std::size(common)];
    } else {
      for (auto left = 1 + random() % 4; left > 0; --left) text += syllables[random() % std::size(syllables)];
    }
    const auto mark = random() % 40;
    text += mark == 0 ? ".\n\n" : mark == 1 ? ". " : mark < 4 ? ", " : " ";
  }
  return text;
}

std::string chinese_like(size_t bytes) {
  static const char* const words[] = {"我们", "中国", "的",   "是",   "人工智能", "语言",
                                      "模型", "在",   "可以", "问题", "，",       "。"};
  std::mt19937 random(2);
  std::string text;
  while (text.size() < bytes) text += words[random() % std::size(words)];
  return text;
}

void report(const Tokenizer& tokenizer, const char* name, const std::string& text) {
  size_t num_tokens = 0;
  double best = 1e9;
  for (int run = 0; run < 3; ++run) {
    best = std::min(best, seconds([&] { num_tokens = tokenizer.encode(text, Specials::All).size(); }));
  }
  const double megabytes = static_cast<double>(text.size()) / 1e6;
  std::printf("%-36s %7.2f MB %9zu tokens %8.1f ms %8.1f MB/s\n", name, megabytes, num_tokens, best * 1e3,
              megabytes / best);
}

}  // namespace

int main(int argc, char** argv) try {
  std::optional<Vocabulary> vocabulary;
  const double read = seconds([&] {
    vocabulary = argc > 1 ? Vocabulary::from_gguf(gguf::File::open(argv[1])) : test::qwen2_vocabulary();
  });
  if (!vocabulary) {
    std::fprintf(stderr, "no reference data; give a model file\n");
    return 64;
  }
  const double unicode = seconds([] { UnicodeTable::instance(); });
  std::optional<Tokenizer> tokenizer;
  const double construct = seconds([&] { tokenizer.emplace(*vocabulary); });
  std::printf("%zu tokens, %zu merges: read %.1f ms, Unicode table %.1f ms, construct %.1f ms\n",
              vocabulary->tokens.size(), vocabulary->merges.size(), read * 1e3, unicode * 1e3,
              construct * 1e3);

  report(*tokenizer, "English-like", english_like(10 * kMillion));
  report(*tokenizer, "Chinese-like", chinese_like(10 * kMillion));
  report(*tokenizer, "a million letters", repeat("a", kMillion));
  report(*tokenizer, "a million spaces", repeat(" ", kMillion));
  report(*tokenizer, "a million newlines", repeat("\n", kMillion));
  report(*tokenizer, "a million combining marks", repeat("\u0301", kMillion));
  report(*tokenizer, "a million combining marks, unordered", repeat("\u0301\u0323", kMillion / 2));
  report(*tokenizer, "a million apostrophes", repeat("'", kMillion));
  report(*tokenizer, "a million digits", repeat("7", kMillion));
  report(*tokenizer, "a million emoji", repeat("\U0001F999", kMillion));
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 65;
}
