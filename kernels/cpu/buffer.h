// Uninitialised float memory, aligned to cache lines.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

namespace qwend::cpu {

class FloatBuffer {
 public:
  FloatBuffer() = default;
  explicit FloatBuffer(int64_t count) { reserve(count); }
  // Room for `count` floats; what was there is lost when it has to grow.
  void reserve(int64_t count) {
    if (count <= capacity_) return;
    data_.reset(
        static_cast<float*>(::operator new[](static_cast<size_t>(count) * sizeof(float), kAlignment)));
    capacity_ = count;
  }
  float* data() { return data_.get(); }
  const float* data() const { return data_.get(); }

 private:
  static constexpr std::align_val_t kAlignment{64};
  struct Free {
    void operator()(float* p) const { ::operator delete[](p, kAlignment); }
  };
  std::unique_ptr<float[], Free> data_;
  int64_t capacity_ = 0;
};

}  // namespace qwend::cpu
