// Damaged files: cut anywhere, bits flipped anywhere, fields overwritten at random. Each either opens (and
// everything in it can be read) or is a LoadError of one line; the sanitizer builds show that nothing outside
// is read.
#include <algorithm>
#include <cstring>
#include <memory>
#include <random>

#include "engine/gguf/gguf.h"
#include "tests/support/catch2.h"
#include "tests/support/gguf_writer.h"

using namespace qwend;
using qwend::test::GgufImage;
using qwend::test::GgufWriter;

namespace {

GgufImage sample() {
  GgufWriter writer;
  writer.alignment(16).set("general.architecture", "qwen3").set("qwen3.block_count", 2u).set("eps", 1e-6f);
  writer.set("words", std::vector<std::string>{"a", "bc", ""}).set("types", std::vector<int32_t>{1, 3, 1});
  writer.set("flag", true).set("wide", 3.0).set("count", uint64_t{3});
  writer.tensor_f32("token_embd.weight", {4, 2}, {1, 2, 3, 4, 5, 6, 7, 8});
  writer.tensor("blk.0.attn_q.weight", 8, {32, 2}, std::vector<std::byte>(68, std::byte{5}));
  writer.tensor("blk.0.ffn_up_exps.weight", 1, {2, 2, 2}, std::vector<std::byte>(16, std::byte{6}));
  return writer.build();
}

// Touches every byte that the file hands out, so that a sanitizer sees a bad view.
uint64_t read_everything(const gguf::File& file) {
  uint64_t sum = 0;
  for (const gguf::Entry& entry : file.entries()) {
    sum += file.preview(entry).size();
    for (size_t i = 0; i < entry.bytes; ++i) sum += static_cast<uint8_t>(entry.data[i]);
    if (entry.type == gguf::ValueType::Array && entry.element_type == gguf::ValueType::String) {
      const std::vector<std::string_view> strings = *file.find_strings(entry.key);
      for (const std::string_view text : strings) {
        for (const char c : text) sum += static_cast<uint8_t>(c);
      }
    }
  }
  for (const gguf::TensorInfo& tensor : file.tensors()) {
    for (size_t i = 0; i < tensor.bytes; ++i) sum += static_cast<uint8_t>(tensor.data[i]);
    sum += file.find_tensor(tensor.name)->shape.size();
  }
  return sum;
}

enum class Outcome { Opened, Refused };

// The bytes are copied to a block of exactly their size, so that reading one more is an error for the
// sanitizer.
Outcome try_open(const std::byte* bytes, size_t size) {
  const std::unique_ptr<std::byte[]> exact(new std::byte[size]);
  std::memcpy(exact.get(), bytes, size);
  try {
    read_everything(gguf::File::from_memory({exact.get(), size}, "m.gguf"));
    return Outcome::Opened;
  } catch (const LoadError& error) {
    const std::string_view message = error.what();
    if (!message.starts_with("m.gguf: ") || message.find('\n') != std::string_view::npos ||
        message.size() > 600) {
      FAIL("not a message of one line that names the file: " << message);
    }
    return Outcome::Refused;
  }
}

}  // namespace

TEST_CASE("gguf: every truncation is refused", "[unit][gguf]") {
  const std::vector<std::byte> bytes = sample().bytes;
  REQUIRE(try_open(bytes.data(), bytes.size()) == Outcome::Opened);
  for (size_t size = 0; size < bytes.size(); ++size) {
    INFO("cut to " << size << " of " << bytes.size() << " bytes");
    REQUIRE(try_open(bytes.data(), size) == Outcome::Refused);
  }
}

TEST_CASE("gguf: every flipped bit opens or is refused", "[unit][gguf]") {
  std::vector<std::byte> bytes = sample().bytes;
  int opened = 0, refused = 0;
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] ^= std::byte{1} << (bit % 8);
    try_open(bytes.data(), bytes.size()) == Outcome::Opened ? ++opened : ++refused;
    bytes[bit / 8] ^= std::byte{1} << (bit % 8);
  }
  CHECK(opened > 1000);   // flips in names, values and tensor data
  CHECK(refused > 1000);  // flips in counts, lengths, types and offsets
}

// One random edit: a byte, a word of a value that is likely to break arithmetic, a cut, or a repeated piece.
void damage(std::string& bytes, std::mt19937_64& random) {
  constexpr uint64_t kInteresting[] = {0,
                                       1,
                                       2,
                                       3,
                                       7,
                                       8,
                                       9,
                                       12,
                                       13,
                                       31,
                                       32,
                                       33,
                                       64,
                                       65,
                                       255,
                                       65535,
                                       65536,
                                       0x7fffffff,
                                       0x80000000,
                                       0xffffffff,
                                       uint64_t{1} << 32,
                                       uint64_t{1} << 42,
                                       uint64_t{1} << 60,
                                       uint64_t{1} << 61,
                                       uint64_t{1} << 63,
                                       ~uint64_t{0},
                                       ~uint64_t{31}};
  const auto below = [&](size_t bound) { return static_cast<size_t>(random() % bound); };
  const size_t position = below(bytes.size());
  switch (below(4)) {
    case 0: bytes[position] = static_cast<char>(random()); break;
    case 1: {
      const uint64_t value = kInteresting[below(std::size(kInteresting))];
      const size_t width = std::min<size_t>(below(2) ? 8 : 4, bytes.size() - position);
      std::memcpy(bytes.data() + position, &value, width);
      break;
    }
    case 2: bytes.erase(position, 1 + below(16)); break;
    default: bytes.insert(below(bytes.size()), bytes.substr(position, below(40)));
  }
}

TEST_CASE("gguf: random damage opens or is refused", "[unit][gguf]") {
  const std::vector<std::byte> image = sample().bytes;
  const std::string original(reinterpret_cast<const char*>(image.data()), image.size());
  std::mt19937_64 random(20240817);
  int refused = 0;
  constexpr int kRounds = 20000;
  for (int round = 0; round < kRounds; ++round) {
    std::string bytes = original;
    for (uint64_t edits = 1 + random() % 3; edits > 0 && !bytes.empty(); --edits) damage(bytes, random);
    refused += try_open(reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()) == Outcome::Refused;
  }
  CHECK(refused > kRounds / 4);
  CHECK(refused < kRounds);
}
