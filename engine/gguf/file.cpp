// File: one or several shards seen as one model.
#include <algorithm>
#include <cstdio>
#include <utility>

#include "engine/gguf/gguf.h"
#include "engine/gguf/mapped_file.h"
#include "engine/gguf/name_index.h"
#include "engine/gguf/printable.h"
#include "engine/gguf/shard.h"

namespace qwend::gguf {
namespace {

constexpr std::string_view kSplitNumber = "split.no";
constexpr std::string_view kSplitCount = "split.count";
constexpr std::string_view kSplitTensors = "split.tensors.count";
constexpr int64_t kMaxShards = 9999;

// "PREFIX-00002-of-00005.gguf" without the numbers.
struct SplitName {
  std::string prefix;
  std::string path_of(int64_t number, int64_t count) const {  // number from 0
    char suffix[40];
    std::snprintf(suffix, sizeof suffix, "-%05d-of-%05d.gguf", static_cast<int>(number + 1),
                  static_cast<int>(count));
    return prefix + suffix;
  }
};

SplitName split_name(const std::string& path, int64_t number, int64_t count) {
  const std::string suffix = SplitName{}.path_of(number, count);
  if (!path.ends_with(suffix)) {
    throw LoadError(path + ": metadata says shard " + std::to_string(number + 1) + " of " +
                    std::to_string(count) + " of a split model, so its name must end in " + quoted(suffix));
  }
  return {path.substr(0, path.size() - suffix.size())};
}

}  // namespace

int64_t TensorInfo::elements() const {
  int64_t product = 1;
  for (const int64_t dim : shape) product *= dim;
  return product;
}

struct File::Impl {
  std::string path;
  std::vector<MappedFile> mappings;
  uint64_t total_bytes = 0;
  uint32_t version = 0;
  Metadata metadata;  // of the first shard
  std::vector<TensorInfo> tensors;
  NameIndex tensor_index;

  // Opens and parses one file and appends its tensors.
  Metadata add_shard(const std::string& shard_path);
  void add_siblings(const std::string& shard_path, int64_t count);
  void append(Shard shard, int32_t number);
  void index_tensors();
};

void File::Impl::append(Shard shard, int32_t number) {
  for (TensorInfo& tensor : shard.tensors) {
    tensor.shard = number;
    tensors.push_back(std::move(tensor));
  }
}

void File::Impl::index_tensors() {
  tensor_index.reserve(tensors.size());
  for (const TensorInfo& tensor : tensors) tensor_index.add(tensor.name);
  if (const auto twin = tensor_index.finish()) {
    throw LoadError(path + ": tensor " + quoted(tensors[*twin].name) +
                    " is in several shards, the second time in shard " +
                    std::to_string(tensors[*twin].shard + 1));
  }
}

Metadata File::Impl::add_shard(const std::string& shard_path) {
  MappedFile mapping(shard_path);
  Shard shard = parse_shard(mapping.bytes(), shard_path);
  total_bytes += mapping.bytes().size();
  if (mappings.empty()) version = shard.version;
  Metadata shard_metadata = std::move(shard.metadata);
  append(std::move(shard), static_cast<int32_t>(mappings.size()));
  mappings.push_back(std::move(mapping));
  return shard_metadata;
}

void File::Impl::add_siblings(const std::string& shard_path, int64_t count) {
  const SplitName name = split_name(shard_path, 0, count);
  for (int64_t number = 1; number < count; ++number) {
    const Metadata sibling = add_shard(name.path_of(number, count));
    if (sibling.find_int(kSplitNumber) != number) {
      sibling.fail(kSplitNumber, "is missing or not " + std::to_string(number) + ", as the file's name says");
    }
    if (sibling.find_int(kSplitCount) != count) {
      sibling.fail(kSplitCount, "is missing or not " + std::to_string(count) + ", as in the first shard");
    }
  }
  const std::optional<int64_t> expected = metadata.find_int(kSplitTensors);
  if (expected && *expected != static_cast<int64_t>(tensors.size())) {
    metadata.fail(kSplitTensors, "is " + std::to_string(*expected) + ", but the shards have " +
                                     std::to_string(tensors.size()) + " tensors");
  }
}

File File::open(const std::string& path) {
  auto impl = std::make_unique<Impl>();
  impl->path = path;
  impl->metadata = impl->add_shard(path);
  const int64_t count = impl->metadata.find_int(kSplitCount).value_or(1);
  const int64_t number = impl->metadata.find_int(kSplitNumber).value_or(0);
  if (count < 0 || count > kMaxShards) {
    impl->metadata.fail(kSplitCount,
                        "is " + std::to_string(count) + ", allowed at most " + std::to_string(kMaxShards));
  }
  if (count > 1) {
    if (number < 0 || number >= count) {
      impl->metadata.fail(kSplitNumber,
                          "is " + std::to_string(number) + ", allowed 0 to " + std::to_string(count - 1));
    }
    if (number > 0) return open(split_name(path, number, count).path_of(0, count));
    impl->add_siblings(path, count);
  }
  impl->index_tensors();
  return File(std::move(impl));
}

File File::from_memory(std::span<const std::byte> bytes, std::string name) {
  auto impl = std::make_unique<Impl>();
  impl->path = std::move(name);
  Shard shard = parse_shard(bytes, impl->path);
  impl->total_bytes = bytes.size();
  impl->version = shard.version;
  impl->metadata = std::move(shard.metadata);
  impl->append(std::move(shard), 0);
  if (impl->metadata.find_int(kSplitCount).value_or(1) > 1) {
    impl->metadata.fail(kSplitCount, "is more than 1: a model in memory can't be split");
  }
  impl->index_tensors();
  return File(std::move(impl));
}

File::File(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
File::File(File&&) noexcept = default;
File& File::operator=(File&&) noexcept = default;
File::~File() = default;

const std::string& File::path() const { return impl_->path; }
uint32_t File::version() const { return impl_->version; }
uint64_t File::total_bytes() const { return impl_->total_bytes; }

bool File::has(std::string_view key) const { return impl_->metadata.find(key) != nullptr; }
std::optional<int64_t> File::find_int(std::string_view key) const { return impl_->metadata.find_int(key); }
std::optional<double> File::find_float(std::string_view key) const { return impl_->metadata.find_float(key); }
std::optional<bool> File::find_bool(std::string_view key) const { return impl_->metadata.find_bool(key); }
std::optional<std::string_view> File::find_string(std::string_view key) const {
  return impl_->metadata.find_string(key);
}
std::optional<std::vector<std::string_view>> File::find_strings(std::string_view key) const {
  return impl_->metadata.find_strings(key);
}
std::optional<std::vector<int64_t>> File::find_ints(std::string_view key) const {
  return impl_->metadata.find_ints(key);
}

int64_t File::get_int(std::string_view key) const {
  if (const auto value = find_int(key)) return *value;
  impl_->metadata.fail(key, "is missing");
}

double File::get_float(std::string_view key) const {
  if (const auto value = find_float(key)) return *value;
  impl_->metadata.fail(key, "is missing");
}

std::string_view File::get_string(std::string_view key) const {
  if (const auto value = find_string(key)) return *value;
  impl_->metadata.fail(key, "is missing");
}

const std::vector<File::Entry>& File::entries() const { return impl_->metadata.entries(); }
const File::Entry* File::find_entry(std::string_view key) const { return impl_->metadata.find(key); }
std::string File::preview(const Entry& entry, size_t max_chars) const { return preview_of(entry, max_chars); }

const std::vector<TensorInfo>& File::tensors() const { return impl_->tensors; }
const TensorInfo* File::find_tensor(std::string_view name) const {
  const auto position = impl_->tensor_index.find(name);
  return position ? &impl_->tensors[*position] : nullptr;
}

}  // namespace qwend::gguf
