#include "kernels/quant/formats.h"

#include <array>
#include <cstring>

#include "kernels/check.h"

namespace qwend {
namespace {

using DequantizeFn = void (*)(const std::byte* src, float* dst, int64_t blocks);

template <class F>
void dequantize_blocks(const std::byte* src, float* dst, int64_t blocks) {
  for (int64_t i = 0; i < blocks; ++i) {
    typename F::Block block;
    std::memcpy(&block, src + i * sizeof(block), sizeof(block));
    if constexpr (quant::BlockFormat<F>) {
      quant::dequantize_block<F>(block, dst + i * F::kBlock);
    } else {
      dst[i] = F::value(block);
    }
  }
}

struct Entry {
  FormatInfo info;
  DequantizeFn dequantize;
};

template <class... F>
constexpr auto make_table(quant::FormatList<F...>) {
  return std::array{Entry{{F::kType, F::kName, F::kGgufId, F::kBlock, sizeof(typename F::Block)},
                          &dequantize_blocks<F>}...};
}
constexpr auto kTable = make_table(quant::AllFormats{});

const Entry& entry(DType dtype) {
  for (const Entry& e : kTable) {
    if (e.info.dtype == dtype) return e;
  }
  CHECK(!"not a weight format");
  __builtin_unreachable();
}

struct NamedId {
  uint32_t id;
  const char* name;
};
// Types that GGUF knows and qwend does not read.
constexpr NamedId kOtherTypes[] = {
    {4, "Q4_2"},    {5, "Q4_3"},        {9, "Q8_1"},        {15, "Q8_K"},       {16, "IQ2_XXS"},
    {17, "IQ2_XS"}, {18, "IQ3_XXS"},    {19, "IQ1_S"},      {21, "IQ3_S"},      {22, "IQ2_S"},
    {24, "I8"},     {25, "I16"},        {26, "I32"},        {27, "I64"},        {28, "F64"},
    {29, "IQ1_M"},  {31, "Q4_0_4_4"},   {32, "Q4_0_4_8"},   {33, "Q4_0_8_8"},   {34, "TQ1_0"},
    {35, "TQ2_0"},  {36, "IQ4_NL_4_4"}, {37, "IQ4_NL_4_8"}, {38, "IQ4_NL_8_8"}, {39, "MXFP4"},
    {40, "NVFP4"},  {41, "Q1_0"},       {42, "Q2_0"},
};

}  // namespace

const FormatInfo* format_by_gguf_id(uint32_t id) {
  for (const Entry& e : kTable) {
    if (e.info.gguf_id == id) return &e.info;
  }
  return nullptr;
}

const char* gguf_type_name(uint32_t id) {
  if (const FormatInfo* info = format_by_gguf_id(id)) return info->name;
  for (const NamedId& other : kOtherTypes) {
    if (other.id == id) return other.name;
  }
  return nullptr;
}

const FormatInfo& format_info(DType dtype) { return entry(dtype).info; }

size_t format_bytes(DType dtype, int64_t elements) {
  const FormatInfo& info = format_info(dtype);
  CHECK(elements % info.block_elements == 0);
  return static_cast<size_t>(elements / info.block_elements) * static_cast<size_t>(info.block_bytes);
}

void dequantize(DType dtype, const void* src, float* dst, int64_t n) {
  const Entry& e = entry(dtype);
  CHECK(n % e.info.block_elements == 0);
  e.dequantize(static_cast<const std::byte*>(src), dst, n / e.info.block_elements);
}

}  // namespace qwend
