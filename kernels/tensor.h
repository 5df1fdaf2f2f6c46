// Element types and non-owning views.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace qwend {

// How the elements of a matrix are stored. The block formats are those of GGUF files; quant/formats.h
// has one description for each (block length, bytes, decode, GGUF id).
enum class DType : uint8_t {
  F32, F16, BF16, I32,
  Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS,
};

// A matrix in host memory as it stands in the file: `rows` rows of `cols` elements, packed, row by row;
// `experts` such matrices one after the other. cols is the input width (GGUF ne0), rows the output
// width (ne1), experts is ne2. Never owns; the bytes must outlive the view.
struct HostMatrix {
  std::string_view name;  // tensor name, for messages
  const std::byte* data = nullptr;
  DType dtype = DType::F32;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t experts = 1;
};

}  // namespace qwend
