// Everything that makes a file unsound, each with the message that the user gets.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <functional>

#include "engine/gguf/gguf.h"
#include "tests/support/catch2.h"
#include "tests/support/gguf_writer.h"
#include "tests/support/temp_dir.h"

using namespace qwend;
using Catch::Matchers::Contains;
using qwend::test::GgufImage;
using qwend::test::GgufWriter;
using qwend::test::TempDir;

namespace {

std::vector<std::byte> bytes_of(std::string_view text) {
  const auto* begin = reinterpret_cast<const std::byte*>(text.data());
  return {begin, begin + text.size()};
}

std::string message_of(const std::function<void()>& open) {
  try {
    open();
  } catch (const LoadError& error) {
    return error.what();
  }
  return "opened";
}

std::string message_for(const std::vector<std::byte>& bytes) {
  return message_of([&] { gguf::File::from_memory(bytes, "m.gguf"); });
}

// Two keys and two tensors; data of 4 and 34 bytes.
GgufImage small_file() {
  return GgufWriter()
      .set("text", "abc")
      .set("numbers", std::vector<int32_t>{1, 2, 3})
      .tensor_f32("a", {1}, {1.0f})
      .tensor("b", 8, {32}, std::vector<std::byte>(34))
      .build();
}

// The message for the small file after a change.
std::string message_after(const std::function<void(GgufImage&)>& damage) {
  GgufImage image = small_file();
  damage(image);
  return message_for(image.bytes);
}

template <class T>
std::string message_with(const std::string& mark, T value, size_t skip = 0) {
  return message_after([&](GgufImage& image) { image.put(mark, value, skip); });
}

}  // namespace

TEST_CASE("gguf refuses: what is not a GGUF file", "[unit][gguf]") {
  CHECK(message_for(bytes_of("GGU")) ==
        "m.gguf: header at byte 0: the magic needs 4 bytes, but the file ends 3 bytes further on (size 3): "
        "it is "
        "truncated or damaged");
  CHECK(message_for(bytes_of("abc")) ==
        "m.gguf: header at byte 0: magic is \"abc\", expected \"GGUF\": not a GGUF file");
  CHECK(message_for(bytes_of(std::string("\0\x01\xff\n....", 8))) ==
        "m.gguf: header at byte 0: magic is \"\\x00\\x01\\xff\\n\", expected \"GGUF\": not a GGUF file");
  CHECK_THAT(message_for(bytes_of("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")),
             Contains("this is a Git LFS pointer, not the model itself: fetch it with `git lfs pull`"));
  CHECK_THAT(message_for(bytes_of("\n <!DOCTYPE HTML><html>")),
             Contains("this is an HTML page, not a model"));
  CHECK_THAT(message_for(bytes_of("<html lang=\"en\">")), Contains("this is an HTML page, not a model"));
  CHECK_THAT(message_for(bytes_of("FUGG\0\0\0\3")), Contains("byte-swapped (big-endian) GGUF file"));
  CHECK_THAT(message_for(bytes_of("tjgg\3\0\0\0")), Contains("from before GGUF"));
  CHECK_THAT(message_for(bytes_of("PK\3\4........")), Contains("a ZIP archive or PyTorch checkpoint"));
  CHECK_THAT(message_for(bytes_of("\x10.......{\"__metadata__\"")), Contains("a safetensors file"));
}

TEST_CASE("gguf refuses: paths that are no files", "[unit][gguf]") {
  const TempDir dir;
  const auto open = [](const std::string& path) { return message_of([&] { gguf::File::open(path); }); };
  CHECK(open(dir.path("none.gguf")) ==
        dir.path("none.gguf") + ": cannot be opened: No such file or directory");
  CHECK(open(dir.path(".")) == dir.path(".") + ": is a directory, not a GGUF file");
  CHECK(open(dir.write("empty.gguf", {})) ==
        dir.path("empty.gguf") + ": is empty (0 bytes), not a GGUF file");
  REQUIRE(::mkfifo(dir.path("fifo").c_str(), 0600) == 0);
  CHECK_THAT(open(dir.path("fifo")), Contains("is a FIFO; a model must be a regular file"));
  CHECK_THAT(open("/dev/null"), Contains("is not a regular file"));
}

TEST_CASE("gguf refuses: versions and counts", "[unit][gguf]") {
  CHECK(message_after([](GgufImage&) {}) == "opened");
  for (const uint32_t version : {0u, 1u, 4u, 0xffffffffu}) {
    CHECK(message_with("version", version) ==
          "m.gguf: header at byte 4: version is " + std::to_string(version) + ", allowed 2 and 3");
  }
  CHECK_THAT(message_with("version", 0x03000000u),
             Contains("the version is byte-swapped: a big-endian file"));
  for (const uint64_t count : {uint64_t{1} << 63, ~uint64_t{0}, uint64_t{1} << 32, uint64_t{100}}) {
    CHECK_THAT(message_with("tensor_count", count), Contains("header at byte 8: the tensor count is " +
                                                             std::to_string(count) + ", allowed at most "));
    CHECK_THAT(message_with("kv_count", count), Contains("header at byte 16: the metadata count is " +
                                                         std::to_string(count) + ", allowed at most "));
  }
}

TEST_CASE("gguf refuses: metadata", "[unit][gguf]") {
  const auto key = [](uint64_t length) { return message_with("key:text", length); };
  CHECK_THAT(key(0), Contains("metadata entry 1 at byte 24: the key is empty"));
  CHECK_THAT(key(~uint64_t{0}), Contains("the key has length 18446744073709551615, allowed at most 65535"));
  CHECK_THAT(key(65536), Contains("the key has length 65536, allowed at most 65535"));
  CHECK_THAT(key(60000), Contains("the key needs 60000 bytes, but the file ends"));
  CHECK_THAT(message_with("key:text", '\0', 9),
             Contains("the key \"t\\x00xt\" has control characters or is not UTF-8"));
  CHECK_THAT(message_with("key:text/type", 13u),
             Contains("metadata key \"text\" at byte 36: the value type is 13, allowed 0 to 12"));
  CHECK_THAT(message_with("key:text/value", uint64_t{1} << 30),
             Contains("the string needs 1073741824 bytes, but the file ends"));
  CHECK_THAT(message_with("key:text/value", (uint64_t{1} << 30) + 1),
             Contains("the string has length 1073741825, allowed at most 1073741824"));
  CHECK_THAT(message_with("key:text/value", ~uint64_t{0}),
             Contains("the string has length 18446744073709551615"));
  CHECK_THAT(message_with("key:numbers/value", 9u), Contains("arrays of arrays are not supported"));
  CHECK_THAT(message_with("key:numbers/value", 77u), Contains("the element type is 77, allowed 0 to 12"));
  for (const uint64_t count : {uint64_t{1} << 60, ~uint64_t{0}, uint64_t{1} << 62, uint64_t{1000}}) {
    CHECK_THAT(message_with("key:numbers/value", count, 4),
               Contains("metadata key \"numbers\" at byte 74: the array has " + std::to_string(count) +
                        " elements, allowed at most"));
  }
  const GgufImage twice = GgufWriter().set("a", 1u).set("b", 1u).set("a", "x").build();
  CHECK(message_for(twice.bytes) == "m.gguf: metadata key \"a\" is there twice (entry 2)");
  GgufImage boolean = GgufWriter().set("flag", true).build();
  boolean.put<uint8_t>("key:flag/value", 2);
  CHECK_THAT(message_for(boolean.bytes),
             Contains("metadata key \"flag\" at byte 40: a bool is 2, allowed 0 and 1"));
  const GgufImage strings = [] {
    GgufImage image = GgufWriter().set("words", std::vector<std::string>{"a", "b"}).build();
    return image.put<uint64_t>("key:words/value", 50, 21);
  }();
  CHECK_THAT(message_for(strings.bytes),
             Contains("metadata key \"words\" at byte 70: a string needs 50 bytes"));
}

TEST_CASE("gguf refuses: alignments", "[unit][gguf]") {
  const auto with = [](auto value) {
    return message_for(GgufWriter().set("general.alignment", value).build().bytes);
  };
  const std::string allowed = ", allowed a power of two from 8 to 65536";
  CHECK(with(0u) == "m.gguf: metadata key \"general.alignment\" is 0" + allowed);
  CHECK(with(3u) == "m.gguf: metadata key \"general.alignment\" is 3" + allowed);
  CHECK(with(1u << 31) == "m.gguf: metadata key \"general.alignment\" is 2147483648" + allowed);
  CHECK(with(int64_t{-32}) == "m.gguf: metadata key \"general.alignment\" is -32" + allowed);
  CHECK(with("32") == "m.gguf: metadata key \"general.alignment\" is of type string, expected an integer");
}

TEST_CASE("gguf refuses: tensor names and shapes", "[unit][gguf]") {
  const auto named = [](const std::string& name) {
    return message_for(GgufWriter().tensor_f32(name, {1}, {1}).build().bytes);
  };
  CHECK(named(std::string(64, 'x')) == "opened");
  CHECK_THAT(named(std::string(65, 'x')),
             Contains("tensor info 1 at byte 24: the tensor name has length 65, allowed at most 64"));
  CHECK_THAT(named(""), Contains("tensor info 1 at byte 24: the tensor name is empty"));
  CHECK_THAT(named(std::string("a\0b", 3)),
             Contains("the tensor name \"a\\x00b\" has control characters or is not UTF-8"));
  const GgufImage twice = GgufWriter().tensor_f32("a", {1}, {1}).tensor_f32("a", {1}, {1}).build();
  CHECK_THAT(message_for(twice.bytes), Contains("m.gguf: tensor \"a\" at byte 57: is there twice"));

  for (const uint32_t dims : {0u, 5u, 0xffffffffu}) {
    CHECK_THAT(message_with("tensor:a/n_dims", dims),
               Contains("has " + std::to_string(dims) + " dimensions, allowed 1 to 4"));
  }
  for (const uint64_t dim : {uint64_t{0}, ~uint64_t{0}, (uint64_t{1} << 42) + 1}) {
    CHECK_THAT(message_with("tensor:a/dims", dim),
               Contains("dimension 0 is " + std::to_string(dim) + ", allowed 1 to 2^42"));
  }
  const uint64_t huge = uint64_t{1} << 42;
  const GgufImage product = GgufWriter().tensor("t", 0, {huge, uint64_t{1} << 21}, {}).build();
  CHECK_THAT(message_for(product.bytes),
             Contains("tensor \"t\" at byte 45: the product of the dimensions is 2^63 or more"));
  const GgufImage wrapping = GgufWriter().tensor("t", 0, {huge, huge, huge, huge}, {}).build();
  CHECK_THAT(message_for(wrapping.bytes), Contains("the product of the dimensions is 2^63 or more"));
  const GgufImage size = GgufWriter().tensor("t", 0, {huge, uint64_t{1} << 20}, {}).build();
  CHECK_THAT(message_for(size.bytes), Contains("its size in bytes is 2^64 or more"));
  CHECK_THAT(message_with("tensor:b/dims", uint64_t{33}),
             Contains("rows of 33 elements, expected a multiple of 32, the block of Q8_0"));
}

TEST_CASE("gguf refuses: tensor types, by name and id", "[unit][gguf]") {
  const auto type = [](uint32_t id) { return message_with("tensor:a/type", id); };
  CHECK_THAT(type(4),
             Contains("tensor \"a\" at byte ") &&
                 Contains(": type 4 (Q4_2) was removed from the format; allowed: F32, F16, BF16, Q8_0"));
  CHECK_THAT(type(31), Contains("type 31 (Q4_0_4_4) was removed from the format"));
  CHECK_THAT(type(16), Contains("type 16 (IQ2_XXS) is not supported; allowed: F32"));
  CHECK_THAT(type(39), Contains("type 39 (MXFP4) is not supported"));
  for (const uint32_t id : {43u, 97u, 137u, 0xffffffffu}) {
    CHECK_THAT(type(id), Contains("type " + std::to_string(id) + " is unknown; allowed: F32"));
  }
}

TEST_CASE("gguf refuses: tensor data", "[unit][gguf]") {
  const auto offset = [](uint64_t value) { return message_with("tensor:b/offset", value); };
  CHECK_THAT(offset(33), Contains("tensor \"b\" at byte ") &&
                             Contains("data offset 33 is not a multiple of the alignment 32"));
  CHECK_THAT(offset(64), Contains("its data (offset 64, 34 bytes, data section from byte 160) goes past the "
                                  "end of the file (226 bytes)"));
  CHECK_THAT(offset(~uint64_t{31}), Contains("goes past the end of the file"));
  CHECK_THAT(offset(uint64_t{1} << 63), Contains("goes past the end of the file"));
  CHECK_THAT(offset(0), Contains("its data (offset 0) overlaps that of "));
  CHECK_THAT(message_after([](GgufImage& image) { image.bytes.pop_back(); }),
             Contains("tensor \"b\"") &&
                 Contains("goes past the end of the file (225 bytes): it is truncated or damaged"));
}

TEST_CASE("gguf refuses: split files that don't belong together", "[unit][gguf]") {
  const TempDir dir;
  const auto write = [&](int name_number, uint16_t number, uint16_t count, int32_t tensors,
                         const std::string& tensor) {
    const GgufImage image = GgufWriter()
                                .set("split.no", number)
                                .set("split.count", count)
                                .set("split.tensors.count", tensors)
                                .tensor_f32(tensor, {1}, {1})
                                .build();
    return dir.write("m-0000" + std::to_string(name_number) + "-of-00002.gguf", image.bytes);
  };
  const auto open = [](const std::string& path) { return message_of([&] { gguf::File::open(path); }); };
  const std::string first = write(1, 0, 2, 2, "a");
  CHECK_THAT(open(first), Contains("m-00002-of-00002.gguf: cannot be opened: No such file or directory"));
  const std::string second = write(2, 1, 2, 2, "b");
  CHECK(open(first) == "opened");
  CHECK(open(second) == "opened");
  write(2, 1, 2, 2, "a");
  CHECK_THAT(open(first), Contains("tensor \"a\" is in several shards, the second time in shard 2"));
  write(2, 0, 2, 2, "b");
  CHECK_THAT(open(first), Contains("metadata key \"split.no\" is missing or not 1"));
  write(2, 1, 3, 2, "b");
  CHECK_THAT(open(first), Contains("metadata key \"split.count\" is missing or not 2"));
  write(2, 1, 2, 2, "b");
  write(1, 0, 2, 3, "a");
  CHECK_THAT(open(first),
             Contains("metadata key \"split.tensors.count\" is 3, but the shards have 2 tensors"));
  write(1, 5, 2, 2, "a");
  CHECK_THAT(open(first), Contains("metadata key \"split.no\" is 5, allowed 0 to 1"));
  write(1, 1, 2, 2, "a");
  CHECK_THAT(open(second), Contains("its name must end in \"-00002-of-00002.gguf\""));
  std::filesystem::rename(second, dir.path("renamed.gguf"));
  CHECK_THAT(open(dir.path("renamed.gguf")),
             Contains("shard 2 of 2 of a split model, so its name must end in"));
}

TEST_CASE("gguf: a million tiny entries take linear time", "[unit][gguf]") {
  constexpr int kCount = 1000000;
  GgufWriter keys;
  for (int i = 0; i < kCount; ++i) keys.set(std::to_string(i), uint8_t{1});
  const std::vector<std::byte> image = keys.build().bytes;
  const auto start = std::chrono::steady_clock::now();
  CHECK(gguf::File::from_memory(image, "m.gguf").entries().size() == kCount);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  WARN("a file with a million keys opens in " << seconds.count() << " s");
  CHECK(seconds.count() < 20);  // a quadratic search for duplicates would take an hour
}

TEST_CASE("gguf: a file truncated while mapped ends the process with a message", "[unit][gguf]") {
  const TempDir dir;
  const GgufImage image = GgufWriter().tensor("t", 0, {65536}, std::vector<std::byte>(262144)).build();
  const std::string path = dir.write("m.gguf", image.bytes);
  const gguf::File file = gguf::File::open(path);
  REQUIRE(::truncate(path.c_str(), 4096) == 0);
  int channel[2];
  REQUIRE(::pipe(channel) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(channel[1], STDERR_FILENO);
    const volatile std::byte* data = file.find_tensor("t")->data;
    ::_exit(static_cast<int>(data[200000]));  // never gets here: the read raises SIGBUS
  }
  ::close(channel[1]);
  std::string message;
  for (char c; ::read(channel[0], &c, 1) == 1;) message += c;
  ::close(channel[0]);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 65);
  CHECK(message == path + ": the file was truncated or became unreadable while it was in use\n");
}
