#include "kernels/cpu/matmul.h"

#include <cmath>
#include <stdexcept>
#include <string>

#include "kernels/check.h"
#include "kernels/quant/formats.h"

namespace qwend::cpu {

PackedMatrix PackedMatrix::pack(std::span<const HostMatrix> parts, ThreadPool&) {
  CHECK(!parts.empty());
  PackedMatrix m;
  m.cols_ = parts[0].cols;
  m.experts_ = parts[0].experts;
  for (const HostMatrix& part : parts) {
    if (part.cols != m.cols_ || part.experts != m.experts_) {
      throw std::runtime_error(std::string(part.name) + ": shape differs from that of " +
                               std::string(parts[0].name) + ", which it is joined with");
    }
    const size_t size = format_bytes(part.dtype, part.cols * part.rows * part.experts);
    m.parts_.push_back({part.dtype, part.rows, {part.data, part.data + size}});
    m.rows_ += part.rows;
  }
  return m;
}

size_t PackedMatrix::bytes() const {
  size_t total = 0;
  for (const Part& part : parts_) total += part.data.size();
  return total;
}

void PackedMatrix::dequantize_row(int64_t row, float* dst, int64_t expert) const {
  CHECK(0 <= row && row < rows_ && 0 <= expert && expert < experts_);
  for (const Part& part : parts_) {
    if (row < part.rows) {
      const size_t row_bytes = format_bytes(part.dtype, cols_);
      return dequantize(part.dtype,
                        part.data.data() + static_cast<size_t>(expert * part.rows + row) * row_bytes, dst,
                        cols_);
    }
    row -= part.rows;
  }
}

Matmul::Matmul(ThreadPool& pool, Isa isa) : pool_(pool), isa_(isa) {}
Matmul::~Matmul() = default;

void Matmul::run(const PackedMatrix& w, const InputRows& x, const OutputRows& y, Epilogue epilogue,
                 int64_t expert, const float* row_scale) {
  const int64_t out_rows = epilogue == Epilogue::SwiGlu ? w.rows() / 2 : w.rows();
  pool_.parallel_for(out_rows, 16, [&](int64_t begin, int64_t end) {
    std::vector<float> weights(static_cast<size_t>(w.cols()) * 2);
    for (int64_t row = begin; row < end; ++row) {
      w.dequantize_row(row, weights.data(), expert);
      if (epilogue == Epilogue::SwiGlu) w.dequantize_row(row + out_rows, weights.data() + w.cols(), expert);
      for (int32_t i = 0; i < x.count; ++i) {
        const float* in = x.data + (x.index ? x.index[i] : i) * x.stride;
        float* out = y.data + (y.index ? y.index[i] : i) * y.stride + row;
        float sum = 0.0f, up = 0.0f;
        for (int64_t k = 0; k < w.cols(); ++k) sum += in[k] * weights[static_cast<size_t>(k)];
        if (epilogue == Epilogue::SwiGlu) {
          for (int64_t k = 0; k < w.cols(); ++k) up += in[k] * weights[static_cast<size_t>(w.cols() + k)];
        }
        switch (epilogue) {
          case Epilogue::Store: *out = sum; break;
          case Epilogue::Add: *out += sum; break;
          case Epilogue::AddScaled: *out += row_scale[i] * sum; break;
          case Epilogue::SwiGlu: *out = sum / (1.0f + std::exp(-sum)) * up; break;
        }
      }
    }
  });
}

}  // namespace qwend::cpu
