#include "engine/model/weight_loader.h"

#include <vector>

#include "kernels/check.h"
#include "kernels/quant/formats.h"

namespace qwend {

WeightLoader::WeightLoader(const gguf::File& file, Backend& backend, UploadProgress progress,
                           void* progress_context)
    : file_(file),
      backend_(backend),
      progress_(progress),
      progress_context_(progress_context),
      layout_(TensorLayout::of(file)) {
  for (const gguf::TensorInfo& tensor : file.tensors()) total_bytes_ += tensor.bytes;
}

const gguf::TensorInfo& WeightLoader::find(std::string_view name) const {
  const gguf::TensorInfo* tensor = file_.find_tensor(prefix_ + std::string(name));
  CHECK(tensor != nullptr);
  return *tensor;
}

void WeightLoader::done(const gguf::TensorInfo& tensor) {
  done_bytes_ += tensor.bytes;
  if (progress_ != nullptr) progress_(progress_context_, done_bytes_, total_bytes_);
}

Matrix WeightLoader::upload(std::span<const HostMatrix> parts) {
  try {
    Matrix uploaded = backend_.upload(parts);
    device_bytes_ += uploaded->bytes();
    return uploaded;
  } catch (const std::runtime_error& error) {
    throw LoadError(file_.path() + ": " + error.what());
  }
}

Matrix WeightLoader::matrix(Names parts) {
  std::vector<HostMatrix> host;
  for (const std::string_view name : parts) host.push_back(find(name).matrix());
  Matrix uploaded = upload(host);
  for (const std::string_view name : parts) done(find(name));
  return uploaded;
}

Vector WeightLoader::vector(Names parts) {
  std::vector<float> values;
  for (const std::string_view name : parts) {
    const gguf::TensorInfo& tensor = find(name);
    const size_t at = values.size();
    values.resize(at + static_cast<size_t>(tensor.elements()));
    dequantize(tensor.dtype, tensor.data, values.data() + at, tensor.elements());
    done(tensor);
  }
  device_bytes_ += values.size() * sizeof(float);
  return backend_.upload_vector(values);
}

Matrix WeightLoader::embedding(std::string_view name, bool also_output) {
  const gguf::TensorInfo& tensor = find(name);
  Matrix uploaded = backend_.upload_embedding(tensor.matrix(), also_output);
  device_bytes_ += uploaded->bytes();
  done(tensor);
  return uploaded;
}

Matrix WeightLoader::split_halves(std::string_view name) {
  const gguf::TensorInfo& tensor = find(name);
  const HostMatrix whole = tensor.matrix();
  const size_t half_bytes = format_bytes(whole.dtype, whole.rows / 2 * whole.cols);
  std::vector<std::byte> halves[2];
  for (int64_t e = 0; e < whole.experts; ++e) {
    const std::byte* expert = whole.data + static_cast<size_t>(e) * 2 * half_bytes;
    halves[0].insert(halves[0].end(), expert, expert + half_bytes);
    halves[1].insert(halves[1].end(), expert + half_bytes, expert + 2 * half_bytes);
  }
  HostMatrix parts[2] = {whole, whole};
  for (int i = 0; i < 2; ++i) {
    parts[i].data = halves[i].data();
    parts[i].rows = whole.rows / 2;
  }
  Matrix uploaded = upload(parts);
  done(tensor);
  return uploaded;
}

}  // namespace qwend
