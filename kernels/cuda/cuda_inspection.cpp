// CudaBackend's inspection calls: rows read back and written, for checks. Each waits for all work.
#include <algorithm>
#include <numeric>

#include "kernels/check.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/split_half.h"

namespace qwend::cuda {

std::vector<float> CudaBackend::read_logits(int32_t row) {
  CHECK(row >= 0 && row < num_logit_rows_);
  CUDA_CHECK(cudaSetDevice(device_));
  wait();
  std::vector<float> out(static_cast<size_t>(vocab_));
  CUDA_CHECK(cudaMemcpy(out.data(), logits_.data() + row * vocab_, out.size() * sizeof(float),
                        cudaMemcpyDeviceToHost));
  return out;
}

std::vector<float> CudaBackend::read(const DeviceActivation& a, int32_t token) {
  CHECK(token >= 0 && token < max_tokens_);
  CUDA_CHECK(cudaSetDevice(device_));
  settle();
  const CudaActivation& from = activation(a);
  const auto width = static_cast<size_t>(a.width());
  std::vector<float> out(width);
  DeviceBuffer<float> widened;
  const float* row = from.values.data() + token * a.width();
  if (!from.has_values && from.has_half) {
    widened = DeviceBuffer<float>(width);
    HalfRows rows = from.half.in().from(token);
    if (!from.scaled) rows.scale = nullptr;
    widen_rows(rows, a.width(), 1, widened.data(), stream_.get());
    row = widened.data();
  }
  wait();
  CUDA_CHECK(cudaMemcpy(out.data(), row, width * sizeof(float), cudaMemcpyDeviceToHost));
  return out;
}

void CudaBackend::write(DeviceActivation& a, int32_t token, std::span<const float> row) {
  CHECK(token >= 0 && token < max_tokens_ && static_cast<int64_t>(row.size()) == a.width());
  CUDA_CHECK(cudaSetDevice(device_));
  settle();
  CudaActivation& to = activation(a);
  if (!to.has_values && to.has_half) {  // the other rows' values live in FP16
    HalfRows rows = to.half.in();
    if (!to.scaled) rows.scale = nullptr;
    widen_rows(rows, a.width(), max_tokens_, to.values.data(), stream_.get());
  }
  wait();
  copy_to_device(to.values.data() + token * a.width(), row.data(), row.size_bytes());
  to.has_values = true, to.has_half = false;
}

std::vector<float> CudaBackend::read(const DeviceVector& v) {
  CUDA_CHECK(cudaSetDevice(device_));
  wait();
  std::vector<float> out(static_cast<size_t>(v.size()));
  CUDA_CHECK(cudaMemcpy(out.data(), values(v), out.size() * sizeof(float), cudaMemcpyDeviceToHost));
  return out;
}

std::vector<float> CudaBackend::read_rows(const DeviceMatrix& m, int64_t first, int64_t count) {
  CHECK(first >= 0 && count >= 0 && first + count <= m.rows() * m.experts());
  CUDA_CHECK(cudaSetDevice(device_));
  std::vector<float> out(static_cast<size_t>(count * m.cols()));
  if (count == 0) return out;
  std::vector<int32_t> index(static_cast<size_t>(count));
  std::iota(index.begin(), index.end(), static_cast<int32_t>(first));
  const DeviceBuffer<int32_t> rows(index.size());
  const DeviceBuffer<float> decoded(out.size());
  copy_to_device(rows.data(), index.data(), rows.bytes());
  wait();
  gather_rows(weights(m), rows.data(), count, decoded.data(), m.cols(), stream_.get());
  wait();
  CUDA_CHECK(cudaMemcpy(out.data(), decoded.data(), decoded.bytes(), cudaMemcpyDeviceToHost));
  return out;
}

KvRow CudaBackend::read_kv(const DeviceKvCache& kv, const KvPlace& at) {
  CUDA_CHECK(cudaSetDevice(device_));
  wait();
  const KvLayer layer = layer_of(kv, at.layer);
  const auto width = static_cast<size_t>(layer.head_dim);
  const auto plane = [&](const __half* from) {
    std::vector<__half> half(width, __half{});
    if (from != nullptr)
      CUDA_CHECK(cudaMemcpy(half.data(), from + layer.offset(at.slot, at.kv_head), width * sizeof(__half),
                            cudaMemcpyDeviceToHost));
    return half;
  };
  const auto row = [&](const __half* high, const __half* low) {
    std::vector<float> out(width);
    std::ranges::transform(plane(high), plane(low), out.begin(), [](__half a, __half b) {
      return SplitHalf{a, b}.value();
    });
    return out;
  };
  return {row(layer.keys, layer.keys_low), row(layer.values, layer.values_low)};
}

void CudaBackend::write_kv(DeviceKvCache& kv, const KvPlace& at, const KvRow& row) {
  CUDA_CHECK(cudaSetDevice(device_));
  wait();
  const KvLayer layer = layer_of(kv, at.layer);
  const auto width = static_cast<size_t>(layer.head_dim);
  CHECK(row.key.size() == width && row.value.size() == width);
  const auto put = [&](const std::vector<float>& from, __half SplitHalf::*part, __half* to) {
    if (to == nullptr) return;
    std::vector<__half> half(width);
    std::ranges::transform(from, half.begin(), [&](float x) { return split_half(x).*part; });
    copy_to_device(to + layer.offset(at.slot, at.kv_head), half.data(), width * sizeof(__half));
  };
  put(row.key, &SplitHalf::high, layer.keys);
  put(row.key, &SplitHalf::low, layer.keys_low);
  put(row.value, &SplitHalf::high, layer.values);
  put(row.value, &SplitHalf::low, layer.values_low);
}

}  // namespace qwend::cuda
