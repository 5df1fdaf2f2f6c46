#include "engine/gguf/shard.h"

#include <algorithm>
#include <bit>
#include <cctype>
#include <cstring>

#include "engine/gguf/checked.h"
#include "engine/gguf/cursor.h"
#include "engine/gguf/name_index.h"
#include "engine/gguf/printable.h"
#include "engine/gguf/tensor_type.h"
#include "kernels/quant/formats.h"

namespace qwend::gguf {
namespace {

static_assert(std::endian::native == std::endian::little, "GGUF data is used in place");

constexpr uint64_t kMaxEntries = 1 << 20;  // keys, and tensors; real files have under 3,000 of each
constexpr uint64_t kMaxKeyLength = 65535;
constexpr uint64_t kMaxStringLength = uint64_t{1} << 30;
constexpr uint64_t kMaxArrayLength = uint64_t{1} << 30;
constexpr uint64_t kMaxTensorName = 64;
constexpr uint32_t kMaxDims = 4;
constexpr uint64_t kMaxDim = uint64_t{1} << 42;
constexpr uint64_t kMaxElements = (uint64_t{1} << 63) - 1;
constexpr uint64_t kDefaultAlignment = 32;
constexpr uint64_t kMinAlignment = 8;
constexpr uint64_t kMaxAlignment = 1 << 16;
constexpr uint64_t kMinEntryBytes = 8 + 1 + 4 + 1;  // key of one byte, type, value of one byte
constexpr uint64_t kMinTensorInfoBytes =
    8 + 1 + 4 + 8 + 4 + 8;  // name of one byte, n_dims, one dim, type, offset

struct Header {
  uint32_t version;
  uint64_t tensor_count;
  uint64_t entry_count;
};

// ---- what a file is when it is not GGUF

bool starts_with_ignoring_case(std::string_view text, std::string_view lower) {
  if (text.size() < lower.size()) return false;
  return std::equal(lower.begin(), lower.end(), text.begin(), [](char a, char b) {
    return a == static_cast<char>(std::tolower(static_cast<unsigned char>(b)));
  });
}

std::string what_it_is_instead(std::span<const std::byte> bytes) {
  std::string_view text(reinterpret_cast<const char*>(bytes.data()), std::min<size_t>(bytes.size(), 256));
  if (text.starts_with("version https://git-lfs")) {
    return "a Git LFS pointer, not the model itself: fetch it with `git lfs pull`";
  }
  if (text.starts_with("FUGG"))
    return "a byte-swapped (big-endian) GGUF file; only little-endian files are supported";
  if (text.starts_with("lmgg") || text.starts_with("fmgg") || text.starts_with("tjgg") ||
      text.starts_with("algg")) {
    return "a model file from before GGUF; convert it to GGUF";
  }
  if (text.starts_with("PK\x03\x04")) return "a ZIP archive or PyTorch checkpoint; convert it to GGUF";
  if (text.size() > 9 && text.substr(8, 2) == "{\"") return "a safetensors file; convert it to GGUF";
  text.remove_prefix(std::min(text.find_first_not_of(" \t\r\n\xEF\xBB\xBF"), text.size()));
  if (starts_with_ignoring_case(text, "<!doctype") || starts_with_ignoring_case(text, "<html")) {
    return "an HTML page, not a model: the download was redirected to a web page";
  }
  return "";
}

Header read_header(Cursor& in, std::span<const std::byte> bytes) {
  in.enter("header");
  constexpr std::string_view kMagic = "GGUF";
  const std::string_view start(reinterpret_cast<const char*>(bytes.data()),
                               std::min<size_t>(bytes.size(), 4));
  if (start != kMagic) {
    const std::string instead = what_it_is_instead(bytes);
    if (!instead.empty()) in.fail(0, "this is " + instead);
    if (!kMagic.starts_with(start))
      in.fail(0, "magic is " + quoted(start) + ", expected \"GGUF\": not a GGUF file");
  }
  in.take(4, "the magic");
  Header header = {};
  header.version = in.read<uint32_t>("the version");
  if (header.version != 0 && (header.version & 0xffff) == 0) {
    in.fail(4, "the version is byte-swapped: a big-endian file; only little-endian files are supported");
  }
  if (header.version != 2 && header.version != 3) {
    in.fail(4, "version is " + std::to_string(header.version) + ", allowed 2 and 3");
  }
  header.tensor_count = in.read<uint64_t>("the tensor count");
  header.entry_count = in.read<uint64_t>("the metadata count");
  const auto check_count = [&](size_t offset, const char* what, uint64_t count, uint64_t min_bytes) {
    const uint64_t allowed = std::min<uint64_t>(kMaxEntries, in.remaining() / min_bytes);
    if (count <= allowed) return;
    in.fail(offset, std::string(what) + " is " + std::to_string(count) + ", allowed at most " +
                        std::to_string(allowed) + " in a file of " + std::to_string(bytes.size()) + " bytes");
  };
  check_count(8, "the tensor count", header.tensor_count, kMinTensorInfoBytes);
  check_count(16, "the metadata count", header.entry_count, kMinEntryBytes);
  return header;
}

// Names stand in messages and tables of every part, so they must be fit for that.
void check_name(const Cursor& in, size_t offset, const char* what, std::string_view name) {
  if (name.empty()) in.fail(offset, std::string(what) + " is empty");
  if (!is_printable(name)) {
    in.fail(offset, std::string(what) + " " + quoted(name) + " has control characters or is not UTF-8");
  }
}

// ---- metadata

ValueType read_value_type(Cursor& in, const char* what) {
  const size_t offset = in.position();
  const auto id = in.read<uint32_t>(what);
  if (id > static_cast<uint32_t>(ValueType::F64)) {
    in.fail(offset, std::string(what) + " is " + std::to_string(id) + ", allowed 0 to 12");
  }
  return static_cast<ValueType>(id);
}

void check_bools(const Cursor& in, const Entry& entry, size_t offset) {
  for (size_t i = 0; i < entry.bytes; ++i) {
    const auto value = static_cast<unsigned>(entry.data[i]);
    if (value > 1) in.fail(offset + i, "a bool is " + std::to_string(value) + ", allowed 0 and 1");
  }
}

void read_array(Cursor& in, Entry& entry) {
  size_t offset = in.position();
  entry.element_type = read_value_type(in, "the element type");
  if (entry.element_type == ValueType::Array) in.fail(offset, "arrays of arrays are not supported");
  offset = in.position();
  entry.count = in.read<uint64_t>("the array length");
  const bool strings = entry.element_type == ValueType::String;
  const uint64_t element_bytes = strings ? sizeof(uint64_t) : value_size(entry.element_type);
  const uint64_t allowed = std::min<uint64_t>(kMaxArrayLength, in.remaining() / element_bytes);
  if (entry.count > allowed) {
    in.fail(offset, "the array has " + std::to_string(entry.count) + " elements, allowed at most " +
                        std::to_string(allowed) + " in the rest of the file");
  }
  entry.data = in.here();
  if (strings) {
    for (uint64_t i = 0; i < entry.count; ++i) in.read_string("a string", kMaxStringLength);
  } else {
    in.take(entry.count * element_bytes, "the array");
  }
  entry.bytes = static_cast<size_t>(in.here() - entry.data);
}

Entry read_entry(Cursor& in, uint64_t number) {
  in.enter("metadata entry", number + 1);
  Entry entry = {};
  const size_t start = in.position();
  entry.key = in.read_string("the key", kMaxKeyLength);
  check_name(in, start, "the key", entry.key);
  in.enter("metadata key", entry.key);
  entry.type = read_value_type(in, "the value type");
  entry.element_type = entry.type;
  const size_t offset = in.position();
  if (entry.type == ValueType::Array) {
    read_array(in, entry);
  } else if (entry.type == ValueType::String) {
    const std::string_view text = in.read_string("the string", kMaxStringLength);
    entry.data = reinterpret_cast<const std::byte*>(text.data());
    entry.bytes = text.size();
  } else {
    entry.bytes = value_size(entry.type);
    entry.data = in.take(entry.bytes, "the value");
  }
  if (entry.element_type == ValueType::Bool) check_bools(in, entry, offset);
  return entry;
}

uint64_t read_alignment(const Metadata& metadata) {
  constexpr const char* kKey = "general.alignment";
  const std::optional<int64_t> value = metadata.find_int(kKey);
  if (!value) return kDefaultAlignment;
  const auto alignment = static_cast<uint64_t>(*value);
  if (*value < 0 || !std::has_single_bit(alignment) || alignment < kMinAlignment ||
      alignment > kMaxAlignment) {
    metadata.fail(kKey, "is " + std::to_string(*value) + ", allowed a power of two from " +
                            std::to_string(kMinAlignment) + " to " + std::to_string(kMaxAlignment));
  }
  return alignment;
}

// ---- tensors

struct PlacedTensor {
  TensorInfo info;
  uint64_t offset;       // in the tensor data section
  size_t info_position;  // of its tensor info in the file, for messages
};

std::vector<int64_t> read_shape(Cursor& in) {
  size_t offset = in.position();
  const auto num_dims = in.read<uint32_t>("the number of dimensions");
  if (num_dims < 1 || num_dims > kMaxDims) {
    in.fail(offset,
            "has " + std::to_string(num_dims) + " dimensions, allowed 1 to " + std::to_string(kMaxDims));
  }
  std::vector<int64_t> shape;
  uint64_t elements = 1;
  for (uint32_t i = 0; i < num_dims; ++i) {
    offset = in.position();
    const auto dim = in.read<uint64_t>("a dimension");
    if (dim < 1 || dim > kMaxDim) {
      in.fail(offset,
              "dimension " + std::to_string(i) + " is " + std::to_string(dim) + ", allowed 1 to 2^42");
    }
    const auto product = checked_multiply(elements, dim);
    if (!product || *product > kMaxElements) in.fail(offset, "the product of the dimensions is 2^63 or more");
    elements = *product;
    shape.push_back(static_cast<int64_t>(dim));
  }
  return shape;
}

const FormatInfo& read_format(Cursor& in) {
  const size_t offset = in.position();
  const auto id = in.read<uint32_t>("the tensor type");
  const FormatInfo* format = format_by_gguf_id(id);
  if (!format) in.fail(offset, why_refused(id));
  return *format;
}

PlacedTensor read_tensor_info(Cursor& in, uint64_t number) {
  in.enter("tensor info", number + 1);
  PlacedTensor tensor = {};
  tensor.info_position = in.position();
  tensor.info.name = in.read_string("the tensor name", kMaxTensorName);
  check_name(in, tensor.info_position, "the tensor name", tensor.info.name);
  in.enter("tensor", tensor.info.name);
  tensor.info.shape = read_shape(in);
  const FormatInfo& format = read_format(in);
  tensor.info.dtype = format.dtype;
  if (tensor.info.cols() % format.block_elements != 0) {
    in.fail(tensor.info_position,
            "rows of " + std::to_string(tensor.info.cols()) + " elements, expected a multiple of " +
                std::to_string(format.block_elements) + ", the block of " + format.name);
  }
  const auto blocks = static_cast<uint64_t>(tensor.info.elements() / format.block_elements);
  const auto bytes = checked_multiply(blocks, static_cast<uint64_t>(format.block_bytes));
  if (!bytes) in.fail(tensor.info_position, "its size in bytes is 2^64 or more");
  tensor.info.bytes = *bytes;
  tensor.offset = in.read<uint64_t>("the data offset");
  return tensor;
}

// Offsets are relative to the data section, which starts at `data_start` in the file.
void place(Cursor& in, PlacedTensor& tensor, std::span<const std::byte> bytes, uint64_t data_start,
           uint64_t alignment) {
  in.enter("tensor", tensor.info.name);
  if (tensor.offset % alignment != 0) {
    in.fail(tensor.info_position, "data offset " + std::to_string(tensor.offset) +
                                      " is not a multiple of the alignment " + std::to_string(alignment));
  }
  const auto begin = checked_add(data_start, tensor.offset);
  const auto end = begin ? checked_add(*begin, tensor.info.bytes) : std::nullopt;
  if (!end || *end > bytes.size()) {
    in.fail(tensor.info_position, "its data (offset " + std::to_string(tensor.offset) + ", " +
                                      std::to_string(tensor.info.bytes) + " bytes, data section from byte " +
                                      std::to_string(data_start) + ") goes past the end of the file (" +
                                      std::to_string(bytes.size()) + " bytes): it is truncated or damaged");
  }
  tensor.info.data = bytes.data() + *begin;
}

void check_overlaps(Cursor& in, const std::vector<PlacedTensor>& tensors) {
  std::vector<const PlacedTensor*> by_offset;
  by_offset.reserve(tensors.size());
  for (const PlacedTensor& tensor : tensors) by_offset.push_back(&tensor);
  std::sort(by_offset.begin(), by_offset.end(), [](auto* a, auto* b) { return a->offset < b->offset; });
  for (size_t i = 1; i < by_offset.size(); ++i) {
    const PlacedTensor& before = *by_offset[i - 1];
    const PlacedTensor& tensor = *by_offset[i];
    if (before.offset + before.info.bytes <= tensor.offset) continue;  // can't wrap: both lie in the file
    in.enter("tensor", tensor.info.name);
    in.fail(tensor.info_position, "its data (offset " + std::to_string(tensor.offset) +
                                      ") overlaps that of " + quoted(before.info.name) + " (offset " +
                                      std::to_string(before.offset) + ", " +
                                      std::to_string(before.info.bytes) + " bytes)");
  }
}

void check_names(Cursor& in, const std::vector<PlacedTensor>& tensors) {
  NameIndex names;
  names.reserve(tensors.size());
  for (const PlacedTensor& tensor : tensors) names.add(tensor.info.name);
  if (const auto twin = names.finish()) {
    in.enter("tensor", tensors[*twin].info.name);
    in.fail(tensors[*twin].info_position, "is there twice");
  }
}

std::vector<TensorInfo> read_tensors(Cursor& in, std::span<const std::byte> bytes, uint64_t count,
                                     uint64_t alignment) {
  std::vector<PlacedTensor> placed;
  placed.reserve(count);
  for (uint64_t i = 0; i < count; ++i) placed.push_back(read_tensor_info(in, i));
  const uint64_t data_start =
      *checked_round_up(in.position(), alignment);  // a position in a real file is far below 2^64
  for (PlacedTensor& tensor : placed) place(in, tensor, bytes, data_start, alignment);
  check_names(in, placed);
  check_overlaps(in, placed);
  std::vector<TensorInfo> tensors;
  tensors.reserve(count);
  for (PlacedTensor& tensor : placed) tensors.push_back(std::move(tensor.info));
  return tensors;
}

}  // namespace

Shard parse_shard(std::span<const std::byte> bytes, const std::string& file) {
  CHECK(reinterpret_cast<uintptr_t>(bytes.data()) % kMinAlignment == 0);
  Cursor in(bytes, file);
  const Header header = read_header(in, bytes);
  std::vector<Entry> entries;
  entries.reserve(header.entry_count);
  for (uint64_t i = 0; i < header.entry_count; ++i) entries.push_back(read_entry(in, i));
  Shard shard;
  shard.version = header.version;
  shard.metadata = Metadata(std::move(entries), file);
  const uint64_t alignment = read_alignment(shard.metadata);
  shard.tensors = read_tensors(in, bytes, header.tensor_count, alignment);
  return shard;
}

}  // namespace qwend::gguf
