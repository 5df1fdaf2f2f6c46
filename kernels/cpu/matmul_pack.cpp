// Packing: from the file's rows to the panels of matmul_layout.h, and back for single rows.
#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>

#include "kernels/check.h"
#include "kernels/cpu/matmul.h"
#include "kernels/cpu/matmul_layout.h"
#include "kernels/quant/formats.h"

namespace qwend::cpu {
namespace {

using quant::BlockFormat;
using quant::SubScales;

// ---- codes of one unit of one row

// Adds the codes of columns 0..31 of a row to the planes of a component of kBits, taken from bit kFrom.
template <int kBits, int kFrom>
void pack_component(const uint8_t codes[kUnit], int row, std::byte* planes) {
  constexpr uint32_t kMask = 0x01010101u * ((1u << kBits) - 1);
  for (int step = 0; step < kSteps; ++step) {
    uint32_t word, packed;
    std::memcpy(&word, codes + 4 * step, 4);
    std::byte* to = planes + step % kBits * kPlane + 4 * row;
    std::memcpy(&packed, to, 4);
    packed |= (word >> kFrom & kMask) << kBits * (step / kBits);
    std::memcpy(to, &packed, 4);
  }
}
template <int kBits, int kFrom>
void unpack_component(const std::byte* planes, int row, uint8_t codes[kUnit]) {
  constexpr uint32_t kMask = 0x01010101u * ((1u << kBits) - 1);
  for (int step = 0; step < kSteps; ++step) {
    uint32_t word, packed;
    std::memcpy(&packed, planes + step % kBits * kPlane + 4 * row, 4);
    std::memcpy(&word, codes + 4 * step, 4);
    word |= (packed >> kBits * (step / kBits) & kMask) << kFrom;
    std::memcpy(codes + 4 * step, &word, 4);
  }
}

template <BlockFormat F>
void pack_codes(const uint8_t codes[kUnit], int row, std::byte* unit) {
  using L = CodeLayout<F>;
  pack_component<L::kLowBits, 0>(codes, row, unit);
  if constexpr (L::kHighBits > 0)
    pack_component<L::kHighBits, L::kLowBits>(codes, row, unit + L::kLowBits * kPlane);
}
template <BlockFormat F>
void unpack_codes(const std::byte* unit, int row, uint8_t codes[kUnit]) {
  using L = CodeLayout<F>;
  std::memset(codes, 0, kUnit);
  unpack_component<L::kLowBits, 0>(unit, row, codes);
  if constexpr (L::kHighBits > 0)
    unpack_component<L::kHighBits, L::kLowBits>(unit + L::kLowBits * kPlane, row, codes);
}

// ---- sub-scales of one block; value i < kGroups is scale i, then come the minima

template <BlockFormat F>
void pack_sub_scales(const typename F::Block& block, int row, std::byte* planes) {
  using L = SubScaleLayout<F>;
  auto value = [&](int i) {
    if constexpr (F::kHasMin) {
      if (i >= L::kGroups) return F::min(block, i - L::kGroups);
    }
    return F::scale(block, i) + (F::kSubScales == SubScales::U6Minus32 ? 32 : 0);
  };
  auto add = [&](int plane, int bits) {
    std::byte& to = planes[plane * kPanelRows + row];
    to |= static_cast<std::byte>(bits);
  };
  for (int i = 0; i < L::kValues; ++i) {
    if constexpr (F::kSubScales == SubScales::I8) {
      add(i, value(i));
    } else if constexpr (F::kSubScales == SubScales::U4) {
      add(i % L::kGroups, value(i) << 4 * (i / L::kGroups));
    } else {
      add(i % L::kNibblePlanes, (value(i) & 15) << 4 * (i / L::kNibblePlanes));
      add(L::kNibblePlanes + i % L::kPairPlanes, value(i) >> 4 << 2 * (i / L::kPairPlanes));
    }
  }
}

template <BlockFormat F>
int unpack_sub_scale(const std::byte* planes, int row, int i) {
  using L = SubScaleLayout<F>;
  auto at = [&](int plane) { return std::to_integer<int>(planes[plane * kPanelRows + row]); };
  if constexpr (F::kSubScales == SubScales::None) {
    return 1;
  } else if constexpr (F::kSubScales == SubScales::I8) {
    return static_cast<int8_t>(at(i));
  } else if constexpr (F::kSubScales == SubScales::U4) {
    return at(i % L::kGroups) >> 4 * (i / L::kGroups) & 15;
  } else {
    const int low = at(i % L::kNibblePlanes) >> 4 * (i / L::kNibblePlanes) & 15;
    const int high = at(L::kNibblePlanes + i % L::kPairPlanes) >> 2 * (i / L::kPairPlanes) & 3;
    return (low | high << 4) - (F::kSubScales == SubScales::U6Minus32 ? 32 : 0);
  }
}

// ---- panels. `rows`: rows of the file that exist (at most 32); the rest of the panel is zero already.

template <BlockFormat F>
void pack_panel(const std::byte* file, int rows, int64_t cols, std::byte* panel) {
  using L = ChunkLayout<F>;
  const int64_t blocks = cols / F::kBlock;
  for (int64_t b = 0; b < blocks; ++b, panel += L::kBytes) {
    for (int row = 0; row < rows; ++row) {
      typename F::Block block;
      std::memcpy(&block, file + (row * blocks + b) * static_cast<int64_t>(sizeof(block)), sizeof(block));
      const uint16_t d = F::d(block);
      std::memcpy(panel + L::kD + 2 * row, &d, 2);
      if constexpr (F::kHasMin) {
        const uint16_t dmin = F::dmin(block);
        std::memcpy(panel + L::kDmin + 2 * row, &dmin, 2);
      }
      if constexpr (F::kSubScales != SubScales::None) pack_sub_scales<F>(block, row, panel + L::kSubScales);
      uint8_t codes[F::kBlock];
      F::codes(block, codes);
      for (int u = 0; u < L::kUnits; ++u) {
        pack_codes<F>(codes + u * kUnit, row, panel + L::kCodes + u * CodeLayout<F>::kUnitBytes);
      }
    }
  }
}

template <BlockFormat F>
void unpack_row(const std::byte* panel, int row, int64_t cols, float* y) {
  using L = ChunkLayout<F>;
  for (int64_t c = 0; c < cols; c += F::kBlock, panel += L::kBytes) {
    uint16_t halves[2] = {};
    std::memcpy(&halves[0], panel + L::kD + 2 * row, 2);
    if constexpr (F::kHasMin) std::memcpy(&halves[1], panel + L::kDmin + 2 * row, 2);
    const float d = quant::half_to_float(halves[0]), dmin = quant::half_to_float(halves[1]);
    for (int u = 0; u < L::kUnits; ++u) {
      uint8_t codes[kUnit];
      unpack_codes<F>(panel + L::kCodes + u * CodeLayout<F>::kUnitBytes, row, codes);
      for (int i = 0; i < kUnit; ++i) {
        const int group = (u * kUnit + i) / F::kGroup;
        const int scale = unpack_sub_scale<F>(panel + L::kSubScales, row, group);
        const float product =
            d * static_cast<float>(scale) * static_cast<float>(quant::code_value<F>(codes[i]));
        float minimum = 0.0f;
        if constexpr (F::kHasMin) {
          minimum = dmin * static_cast<float>(unpack_sub_scale<F>(panel + L::kSubScales, row,
                                                                  SubScaleLayout<F>::kGroups + group));
        }
        *y++ = F::kHasMin ? product - minimum : product;
      }
    }
  }
}

template <class F>
requires(!BlockFormat<F>) void pack_panel(const std::byte* file, int rows, int64_t cols, std::byte* panel) {
  using Element = typename F::Block;
  constexpr int64_t kColumns = 64;  // at a time, so that the destination stays in the first-level cache
  for (int64_t begin = 0; begin < cols; begin += kColumns) {
    const int64_t end = std::min(cols, begin + kColumns);
    for (int row = 0; row < rows; ++row) {
      for (int64_t c = begin; c < end; ++c) {
        std::memcpy(panel + (c * kPanelRows + row) * static_cast<int64_t>(sizeof(Element)),
                    file + (row * cols + c) * static_cast<int64_t>(sizeof(Element)), sizeof(Element));
      }
    }
  }
}

template <class F>
requires(!BlockFormat<F>) void unpack_row(const std::byte* panel, int row, int64_t cols, float* y) {
  for (int64_t c = 0; c < cols; ++c) {
    typename F::Block element;
    std::memcpy(&element, panel + (c * kPanelRows + row) * static_cast<int64_t>(sizeof(element)),
                sizeof(element));
    y[c] = F::value(element);
  }
}

// Calls visit.template operator()<F>() for the format F of dtype.
template <class Visit>
void with_format(DType dtype, Visit&& visit) {
  bool found = false;
  quant::AllFormats::for_each([&]<class F>() {
    if (F::kType == dtype) {
      visit.template operator()<F>();
      found = true;
    }
  });
  CHECK(found);
}

[[noreturn]] void fail(const HostMatrix& part, const std::string& what) {
  throw std::runtime_error("tensor " + std::string(part.name) + ": " + what);
}

void check_parts(std::span<const HostMatrix> parts) {
  CHECK(!parts.empty());
  const HostMatrix& first = parts[0];
  for (const HostMatrix& part : parts) {
    if (part.dtype == DType::I32) fail(part, "is I32, which is not a format of weights");
    if (part.rows < 1 || part.cols < 1 || part.experts < 1) fail(part, "is empty");
    const int block = format_info(part.dtype).block_elements;
    if (part.cols % block != 0) {
      fail(part, "has rows of " + std::to_string(part.cols) + " elements, not a multiple of the " +
                     std::to_string(block) + " of " + format_info(part.dtype).name);
    }
    if (part.cols != first.cols || part.experts != first.experts) {
      fail(part, "is " + std::to_string(part.cols) + " wide with " + std::to_string(part.experts) +
                     " experts, but is to be joined with " + std::string(first.name) + " of " +
                     std::to_string(first.cols) + " and " + std::to_string(first.experts));
    }
  }
}

}  // namespace

template <class Format>
void PackedMatrix::pack_part(const Part& part, const HostMatrix& source, ThreadPool& pool) {
  const size_t row_bytes = format_bytes(part.dtype, cols_);
  pool.parallel_for(part.panels * experts_, 1, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      const int64_t expert = p / part.panels, panel = p % part.panels, row = panel * kPanelRows;
      const std::byte* file = source.data + row_bytes * static_cast<size_t>(expert * part.rows + row);
      const int rows = static_cast<int>(std::min<int64_t>(kPanelRows, part.rows - row));
      pack_panel<Format>(file, rows, cols_, const_cast<std::byte*>(panel_data(part, expert, panel)));
    }
  });
}

PackedMatrix PackedMatrix::pack(std::span<const HostMatrix> parts, ThreadPool& pool) {
  check_parts(parts);
  PackedMatrix m;
  m.cols_ = parts[0].cols;
  m.experts_ = parts[0].experts;
  size_t bytes = 0;
  for (const HostMatrix& source : parts) {
    const int64_t panels = panel_count(source.rows);
    m.parts_.push_back({source.dtype, m.rows_, source.rows, m.panels_, panels, bytes});
    m.rows_ += source.rows;
    (is_float_format(source.dtype) ? m.has_float_parts_ : m.has_block_parts_) = true;
    m.panels_ += panels;
    bytes += panel_bytes(source.dtype, m.cols_) * static_cast<size_t>(panels * m.experts_);
  }
  m.memory_ = PageMemory(bytes);
  for (size_t i = 0; i < parts.size(); ++i) {
    with_format(parts[i].dtype, [&]<class F>() { m.pack_part<F>(m.parts_[i], parts[i], pool); });
  }
  return m;
}

const std::byte* PackedMatrix::panel_data(const Part& part, int64_t expert, int64_t panel_of_part) const {
  const auto number = static_cast<size_t>(expert * part.panels + panel_of_part);
  return memory_.data() + part.offset + panel_bytes(part.dtype, cols_) * number;
}

PackedMatrix::Panel PackedMatrix::panel(int64_t index, int64_t expert) const {
  size_t i = 0;
  while (index >= parts_[i].first_panel + parts_[i].panels) ++i;
  const Part& part = parts_[i];
  const int64_t panel = index - part.first_panel, row = panel * kPanelRows;
  return {part.dtype, panel_data(part, expert, panel), part.first_row + row,
          static_cast<int>(std::min<int64_t>(kPanelRows, part.rows - row))};
}

void PackedMatrix::dequantize_row(int64_t row, float* dst, int64_t expert) const {
  CHECK(0 <= row && row < rows_ && 0 <= expert && expert < experts_);
  size_t i = 0;
  while (row >= parts_[i].first_row + parts_[i].rows) ++i;
  const Part& part = parts_[i];
  row -= part.first_row;
  const std::byte* panel = panel_data(part, expert, row / kPanelRows);
  with_format(part.dtype,
              [&]<class F>() { unpack_row<F>(panel, static_cast<int>(row % kPanelRows), cols_, dst); });
}

}  // namespace qwend::cpu
