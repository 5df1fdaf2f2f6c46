// What a sound GGUF file gives: metadata of every type, tensors, alignment, splits, the reference models.
#include <cstring>
#include <filesystem>

#include "engine/gguf/gguf.h"
#include "tests/support/catch2.h"
#include "tests/support/gguf_writer.h"
#include "tests/support/reference_data.h"
#include "tests/support/temp_dir.h"

using namespace qwend;
using qwend::test::GgufImage;
using qwend::test::GgufWriter;
using qwend::test::TempDir;

namespace {

gguf::File open_image(const GgufImage& image) { return gguf::File::from_memory(image.bytes, "test.gguf"); }

std::vector<float> floats(const gguf::TensorInfo& tensor) {
  std::vector<float> values(tensor.bytes / sizeof(float));
  std::memcpy(values.data(), tensor.data, tensor.bytes);
  return values;
}

}  // namespace

TEST_CASE("gguf: metadata of every type", "[unit][gguf]") {
  GgufWriter writer;
  writer.set("u8", uint8_t{200}).set("i8", int8_t{-7}).set("u16", uint16_t{60000}).set("i16", int16_t{-300});
  writer.set("u32", uint32_t{4000000000}).set("i32", int32_t{-5}).set("u64", uint64_t{1} << 40);
  writer.set("i64", -(int64_t{1} << 40)).set("f32", 1.5f).set("f64", 2.25).set("yes", true).set("no", false);
  writer.set("text", "two\nlines").set("words", std::vector<std::string>{"a", "", "ü"});
  writer.set("ints", std::vector<int32_t>{1, -2, 3}).set("bytes", std::vector<uint8_t>{1, 255});
  writer.set("floats", std::vector<float>{0.5f, -1.0f}).set("none", std::vector<int32_t>{});
  const GgufImage image = writer.build();
  const gguf::File file = open_image(image);

  CHECK(file.version() == 3);
  CHECK(file.total_bytes() == image.bytes.size());
  CHECK(file.entries().size() == 18);
  CHECK(file.tensors().empty());
  CHECK(file.get_int("u8") == 200);
  CHECK(file.get_int("i8") == -7);
  CHECK(file.get_int("u16") == 60000);
  CHECK(file.get_int("i16") == -300);
  CHECK(file.get_int("u32") == 4000000000);
  CHECK(file.get_int("i32") == -5);
  CHECK(file.get_int("u64") == int64_t{1} << 40);
  CHECK(file.get_int("i64") == -(int64_t{1} << 40));
  CHECK(file.get_float("f32") == 1.5);
  CHECK(file.get_float("f64") == 2.25);
  CHECK(file.find_bool("yes") == true);
  CHECK(file.find_bool("no") == false);
  CHECK(file.get_string("text") == "two\nlines");
  CHECK(*file.find_strings("words") == std::vector<std::string_view>{"a", "", "ü"});
  CHECK(*file.find_ints("ints") == std::vector<int64_t>{1, -2, 3});
  CHECK(*file.find_ints("bytes") == std::vector<int64_t>{1, 255});
  CHECK(file.find_ints("none")->empty());

  CHECK_FALSE(file.has("absent"));
  CHECK(file.find_entry("absent") == nullptr);
  CHECK_FALSE(file.find_int("absent"));
  CHECK_FALSE(file.find_string("absent"));
  CHECK(file.find_entry("bytes")->element_type == gguf::ValueType::U8);
  CHECK(file.find_entry("words")->count == 3);
  CHECK(file.preview(*file.find_entry("text")) == "\"two\\nlines\"");
  CHECK(file.preview(*file.find_entry("words")) == "[\"a\", \"\", \"ü\"]");
  CHECK(file.preview(*file.find_entry("floats")) == "[0.5, -1]");
  CHECK(file.preview(*file.find_entry("ints"), 2) == "[1, …]");
  CHECK(file.preview(*file.find_entry("text"), 3) == "\"two\"…");
}

TEST_CASE("gguf: a key of another type is an error that names it", "[unit][gguf]") {
  const GgufImage image = GgufWriter().set("n", uint64_t{1} << 63).set("s", "x").set("f", 1.0f).build();
  const gguf::File file = open_image(image);
  CHECK_THROWS_WITH(file.find_int("n"),
                    "test.gguf: metadata key \"n\" is 9223372036854775808, allowed at most 2^63 - 1");
  CHECK_THROWS_WITH(file.find_int("s"),
                    "test.gguf: metadata key \"s\" is of type string, expected an integer");
  CHECK_THROWS_WITH(file.find_float("s"),
                    "test.gguf: metadata key \"s\" is of type string, expected f32 or f64");
  CHECK_THROWS_WITH(file.find_string("f"), "test.gguf: metadata key \"f\" is of type f32, expected string");
  CHECK_THROWS_WITH(file.find_bool("f"), "test.gguf: metadata key \"f\" is of type f32, expected bool");
  CHECK_THROWS_WITH(file.find_strings("f"),
                    "test.gguf: metadata key \"f\" is of type f32, expected array of string");
  CHECK_THROWS_WITH(file.find_ints("s"),
                    "test.gguf: metadata key \"s\" is of type string, expected an array of integers");
  CHECK_THROWS_WITH(file.get_int("absent"), "test.gguf: metadata key \"absent\" is missing");
}

TEST_CASE("gguf: tensors, version 2, alignments", "[unit][gguf]") {
  const auto alignment = GENERATE(8u, 32u, 64u, 4096u);
  CAPTURE(alignment);
  GgufWriter writer;
  writer.version(2).alignment(alignment);
  writer.tensor_f32("a.weight", {3, 2}, {1, 2, 3, 4, 5, 6}).tensor_f32("b", {1}, {7});
  writer.tensor("q", 8, {32, 1, 2}, std::vector<std::byte>(68, std::byte{9}));
  const GgufImage image = writer.build();
  const gguf::File file = open_image(image);

  CHECK(file.version() == 2);
  REQUIRE(file.tensors().size() == 3);
  const gguf::TensorInfo& a = *file.find_tensor("a.weight");
  CHECK(a.shape == std::vector<int64_t>{3, 2});
  CHECK(a.dtype == DType::F32);
  CHECK(floats(a) == std::vector<float>{1, 2, 3, 4, 5, 6});
  CHECK(floats(*file.find_tensor("b")) == std::vector<float>{7});
  CHECK(file.find_tensor("b")->rows() == 1);
  const gguf::TensorInfo& q = *file.find_tensor("q");
  CHECK(q.dtype == DType::Q8_0);
  CHECK(q.experts() == 2);
  CHECK(q.elements() == 64);
  CHECK(q.bytes == 68);
  CHECK(file.find_tensor("c") == nullptr);
  CHECK((a.data - image.bytes.data()) % alignment == 0);
}

TEST_CASE("gguf: what is odd but sound opens", "[unit][gguf]") {
  SECTION("tensors in another order than their data, gaps, padding after the last") {
    GgufImage image = GgufWriter().tensor_f32("a", {1}, {1}).tensor_f32("b", {1}, {2}).build();
    image.put<uint64_t>("tensor:a/offset", 96).put<uint64_t>("tensor:b/offset", 0);
    image.bytes.resize(image.at("data") + 128);
    CHECK(open_image(image).find_tensor("b")->data == image.bytes.data() + image.at("data"));
  }
  SECTION("unknown keys and empty strings") {
    const GgufImage image = GgufWriter().set("someone.else", "").set("x", std::vector<std::string>{}).build();
    CHECK(open_image(image).get_string("someone.else").empty());
  }
}

TEST_CASE("gguf: split files open by any shard", "[unit][gguf]") {
  const TempDir dir;
  const auto shard = [](uint16_t number) {
    GgufWriter writer;
    if (number == 0) writer.set("general.name", "whole");
    writer.set("split.no", number).set("split.count", uint16_t{3}).set("split.tensors.count", int32_t{3});
    return writer.tensor_f32("t" + std::to_string(number), {1}, {float(number)}).build();
  };
  uint64_t total = 0;
  for (uint16_t i = 0; i < 3; ++i) {
    total += shard(i).bytes.size();
    dir.write("m-0000" + std::to_string(i + 1) + "-of-00003.gguf", shard(i).bytes);
  }
  for (const int first : {1, 2, 3}) {
    const gguf::File file = gguf::File::open(dir.path("m-0000" + std::to_string(first) + "-of-00003.gguf"));
    CHECK(file.get_string("general.name") == "whole");
    CHECK(file.total_bytes() == total);
    REQUIRE(file.tensors().size() == 3);
    for (int i = 0; i < 3; ++i) {
      const gguf::TensorInfo& tensor = *file.find_tensor("t" + std::to_string(i));
      CHECK(tensor.shard == i);
      CHECK(floats(tensor) == std::vector<float>{float(i)});
    }
  }
}

TEST_CASE("gguf: the reference models open", "[unit][gguf]") {
  const std::filesystem::path folder = qwend::test::reference_data() / "goldens";
  if (!std::filesystem::exists(folder)) {
    WARN("skipped: no reference data at " << folder);
    return;
  }
  int opened = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".gguf") continue;
    CAPTURE(entry.path());
    const gguf::File file = gguf::File::open(entry.path().string());
    CHECK(file.has("general.architecture"));
    REQUIRE(file.find_tensor("token_embd.weight") != nullptr);
    CHECK(file.find_tensor("token_embd.weight")->rows() > 1000);
    ++opened;
  }
  CHECK(opened > 0);
}
