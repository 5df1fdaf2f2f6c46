#include "engine/gguf/tensor_type.h"

#include <array>
#include <string_view>

#include "kernels/check.h"

namespace qwend::gguf {
namespace {

struct Supported {
  uint32_t id;
  DType dtype;
  std::string_view name;
  BlockSize size;
};

constexpr std::array kSupported = {
    Supported{0, DType::F32, "F32", {1, 4}},          Supported{1, DType::F16, "F16", {1, 2}},
    Supported{30, DType::BF16, "BF16", {1, 2}},       Supported{26, DType::I32, "I32", {1, 4}},
    Supported{8, DType::Q8_0, "Q8_0", {32, 34}},      Supported{2, DType::Q4_0, "Q4_0", {32, 18}},
    Supported{3, DType::Q4_1, "Q4_1", {32, 20}},      Supported{6, DType::Q5_0, "Q5_0", {32, 22}},
    Supported{7, DType::Q5_1, "Q5_1", {32, 24}},      Supported{10, DType::Q2_K, "Q2_K", {256, 84}},
    Supported{11, DType::Q3_K, "Q3_K", {256, 110}},   Supported{12, DType::Q4_K, "Q4_K", {256, 144}},
    Supported{13, DType::Q5_K, "Q5_K", {256, 176}},   Supported{14, DType::Q6_K, "Q6_K", {256, 210}},
    Supported{20, DType::IQ4_NL, "IQ4_NL", {32, 18}}, Supported{23, DType::IQ4_XS, "IQ4_XS", {256, 136}},
};

struct Refused {
  uint32_t id;
  std::string_view name;
};

constexpr std::array kUnsupported = {
    Refused{9, "Q8_1"},     Refused{15, "Q8_K"},  Refused{16, "IQ2_XXS"}, Refused{17, "IQ2_XS"},
    Refused{18, "IQ3_XXS"}, Refused{19, "IQ1_S"}, Refused{21, "IQ3_S"},   Refused{22, "IQ2_S"},
    Refused{24, "I8"},      Refused{25, "I16"},   Refused{27, "I64"},     Refused{28, "F64"},
    Refused{29, "IQ1_M"},   Refused{34, "TQ1_0"}, Refused{35, "TQ2_0"},   Refused{39, "MXFP4"},
    Refused{40, "NVFP4"},   Refused{41, "Q1_0"},  Refused{42, "Q2_0"},
};

constexpr std::array kRemoved = {
    Refused{4, "Q4_2"},      Refused{5, "Q4_3"},        Refused{31, "Q4_0_4_4"},   Refused{32, "Q4_0_4_8"},
    Refused{33, "Q4_0_8_8"}, Refused{36, "IQ4_NL_4_4"}, Refused{37, "IQ4_NL_4_8"}, Refused{38, "IQ4_NL_8_8"},
};

std::string supported_names() {
  std::string names;
  for (const Supported& type : kSupported) {
    if (!names.empty()) names += ", ";
    names += type.name;
  }
  return names;
}

}  // namespace

std::optional<DType> dtype_by_id(uint32_t id) {
  for (const Supported& type : kSupported) {
    if (type.id == id) return type.dtype;
  }
  return std::nullopt;
}

BlockSize block_size(DType dtype) {
  for (const Supported& type : kSupported) {
    if (type.dtype == dtype) return type.size;
  }
  CHECK(!"a DType without a block size");
  return {};
}

std::string why_refused(uint32_t id) {
  const std::string allowed = "; allowed: " + supported_names();
  for (const Refused& type : kRemoved) {
    if (type.id == id) {
      return "type " + std::to_string(id) + " (" + std::string(type.name) + ") was removed from the format" +
             allowed;
    }
  }
  for (const Refused& type : kUnsupported) {
    if (type.id == id) {
      return "type " + std::to_string(id) + " (" + std::string(type.name) + ") is not supported" + allowed;
    }
  }
  return "type " + std::to_string(id) + " is unknown" + allowed;
}

}  // namespace qwend::gguf
