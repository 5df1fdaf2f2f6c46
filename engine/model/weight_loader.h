// From tensors of a file to weights on a backend.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "engine/gguf/gguf.h"
#include "engine/model/tensor_table.h"
#include "kernels/backend.h"

namespace qwend {

// progress(context, done_bytes, total_bytes) as weights go to the device.
using UploadProgress = void (*)(void* context, uint64_t done, uint64_t total);

// Uploads tensors by name and reports progress. Names and shapes have been checked by ModelConfig::from_gguf;
// a missing tensor here is a broken invariant. Throws LoadError where the backend refuses one.
class WeightLoader {
 public:
  WeightLoader(const gguf::File& file, Backend& backend, UploadProgress progress, void* progress_context);
  const TensorLayout& layout() const { return layout_; }
  // From here on names are those of layer i, without "blk.i.".
  void enter_layer(int32_t layer) { prefix_ = layer_tensor(layer, ""); }

  using Names = std::span<const std::string_view>;
  Matrix matrix(Names parts);  // rows follow each other
  Vector vector(Names parts);  // elements follow each other, as FP32
  Matrix embedding(std::string_view name, bool also_output);
  // A stack of experts whose rows are gate then up, as if it were two tensors.
  Matrix split_halves(std::string_view name);
  uint64_t device_bytes() const { return device_bytes_; }  // of all uploaded so far

 private:
  const gguf::TensorInfo& find(std::string_view name) const;
  Matrix upload(std::span<const HostMatrix> parts);
  void done(const gguf::TensorInfo& tensor);

  const gguf::File& file_;
  Backend& backend_;
  const UploadProgress progress_;
  void* const progress_context_;
  const TensorLayout layout_;
  std::string prefix_;
  uint64_t done_bytes_ = 0, total_bytes_ = 0, device_bytes_ = 0;
};

}  // namespace qwend
