// The product's driver: prepares the activations, deals panels out to the workers and finishes results.
#include "kernels/cpu/matmul.h"

#include <algorithm>
#include <cstring>

#include "kernels/check.h"
#include "kernels/cpu/matmul_kernels.h"
#include "kernels/cpu/matmul_layout.h"

namespace qwend::cpu {
namespace {

// Columns multiplied at a time when there are many tokens, so that a piece of an expanded panel (about 40 KB)
// stays in the nearest cache while the tokens pass over it. A multiple of every block length.
constexpr int64_t kPieceColumns = 1024;
// Token groups that share one expansion of a panel; bounds the sums kept for them.
constexpr int64_t kGroupsAtOnce = 64;
// Below this many activations one worker prepares them all: waking the others would cost more.
constexpr int64_t kSerialValues = 32768;

// Tokens are multiplied in groups of nearly equal size. Group g is tokens first(g) .. first(g + 1).
struct TokenGroups {
  int64_t tokens;
  int64_t count;
  TokenGroups(int64_t all, int64_t most) : tokens(all), count((all + most - 1) / most) {}
  int64_t first(int64_t group) const { return group * tokens / count; }
  int64_t size(int64_t group) const { return first(group + 1) - first(group); }
};

// One product, as its workers see it.
struct Product {
  const KernelSet& kernels;
  const PackedMatrix& w;
  const InputRows& x;
  const OutputRows& y;
  Epilogue epilogue;
  int64_t expert;
  const float* row_scale;
  TokenGroups block_groups, float_groups;
  ActivationUnit* units = nullptr;  // [group][unit][token of the group], if a part is quantised
  float* values = nullptr;          // [group][column][token of the group], if a part is not

  const float* input(int64_t token) const { return x.data + (x.index ? x.index[token] : token) * x.stride; }
  float* output(int64_t token) const { return y.data + (y.index ? y.index[token] : token) * y.stride; }
  const TokenGroups& groups(DType dtype) const {
    return is_float_format(dtype) ? float_groups : block_groups;
  }
};

// ---- activations

void quantize_group(const Product& p, int64_t group) {
  const int64_t first = p.block_groups.first(group), size = p.block_groups.size(group);
  ActivationUnit* out = p.units + first * (p.w.cols() / kUnit);
  for (int64_t t = 0; t < size; ++t) p.kernels.quantize(p.input(first + t), p.w.cols(), out + t, size);
}

void interleave_group(const Product& p, int64_t group) {
  const int64_t first = p.float_groups.first(group), size = p.float_groups.size(group), cols = p.w.cols();
  float* out = p.values + first * cols;
  for (int64_t t = 0; t < size; ++t) {
    const float* in = p.input(first + t);
    for (int64_t c = 0; c < cols; ++c) out[c * size + t] = in[c];
  }
}

template <class PrepareGroup>
void prepare(ThreadPool& pool, const Product& p, const TokenGroups& groups, PrepareGroup prepare_group) {
  const int64_t values = p.x.count * p.w.cols();
  const int64_t grain = values < kSerialValues ? groups.count : 1;
  pool.parallel_for(groups.count, grain, [&](int64_t begin, int64_t end) {
    for (int64_t g = begin; g < end; ++g) prepare_group(p, g);
  });
}

// ---- sums of one panel: sums[token - first token of the first group][32]

void multiply_block_panel(const Product& p, const PackedMatrix::Panel& panel, int64_t first_group,
                          int64_t last_group, std::byte* expanded, float* sums) {
  const BlockKernels& kernels = p.kernels.block[static_cast<size_t>(panel.dtype)];
  const int64_t cols = p.w.cols(), all_units = cols / kUnit;
  if (p.x.count == 1) return kernels.one(panel.data, cols, p.units, sums);
  const size_t packed_unit_bytes = panel_bytes(panel.dtype, cols) / static_cast<size_t>(all_units);
  for (int64_t c = 0; c < cols; c += kPieceColumns) {
    const int64_t piece_cols = std::min(kPieceColumns, cols - c), unit = c / kUnit;
    const std::byte* piece = panel.data + packed_unit_bytes * static_cast<size_t>(unit);
    if (kernels.expand != nullptr) {
      kernels.expand(piece, piece_cols, expanded);
      piece = expanded;
    }
    float* group_sums = sums;
    for (int64_t g = first_group; g < last_group; ++g) {
      const int64_t size = p.block_groups.size(g);
      const ActivationUnit* x = p.units + p.block_groups.first(g) * all_units + unit * size;
      kernels.many[size](piece, piece_cols, x, group_sums);
      group_sums += size * kPanelRows;
    }
  }
}

void multiply_float_panel(const Product& p, const PackedMatrix::Panel& panel, int64_t first_group,
                          int64_t last_group, float* sums) {
  const FloatKernels& kernels = p.kernels.floats[static_cast<size_t>(panel.dtype)];
  const int64_t cols = p.w.cols();
  if (p.x.count == 1) return kernels.many[1](panel.data, cols, p.input(0), sums);
  const size_t column_bytes = panel_bytes(panel.dtype, 1);
  for (int64_t c = 0; c < cols; c += kPieceColumns) {
    const int64_t piece_cols = std::min(kPieceColumns, cols - c);
    const std::byte* piece = panel.data + column_bytes * static_cast<size_t>(c);
    float* group_sums = sums;
    for (int64_t g = first_group; g < last_group; ++g) {
      const int64_t size = p.float_groups.size(g);
      kernels.many[size](piece, piece_cols, p.values + p.float_groups.first(g) * cols + c * size, group_sums);
      group_sums += size * kPanelRows;
    }
  }
}

void multiply_panel(const Product& p, const PackedMatrix::Panel& panel, int64_t first_group,
                    int64_t last_group, std::byte* expanded, float* sums) {
  const TokenGroups& groups = p.groups(panel.dtype);
  const int64_t tokens = groups.first(last_group) - groups.first(first_group);
  std::memset(sums, 0, sizeof(float) * static_cast<size_t>(tokens * kPanelRows));
  if (is_float_format(panel.dtype)) {
    multiply_float_panel(p, panel, first_group, last_group, sums);
  } else {
    multiply_block_panel(p, panel, first_group, last_group, expanded, sums);
  }
}

// ---- results

void finish_token(const Product& p, int64_t token, const PackedMatrix::Panel& panel, const float* sums) {
  float* out = p.output(token) + panel.first_row;
  switch (p.epilogue) {
    case Epilogue::Store:
      for (int i = 0; i < panel.rows; ++i) out[i] = sums[i];
      break;
    case Epilogue::Add:
      for (int i = 0; i < panel.rows; ++i) out[i] += sums[i];
      break;
    case Epilogue::AddScaled:
      for (int i = 0; i < panel.rows; ++i) out[i] += p.row_scale[token] * sums[i];
      break;
    case Epilogue::SwiGlu: break;
  }
}

void finish_swiglu_token(const Product& p, int64_t token, const PackedMatrix::Panel& gate,
                         const float* gate_sums, const float* up_sums) {
  float result[kPanelRows];
  p.kernels.swiglu(gate_sums, up_sums, result);
  std::memcpy(p.output(token) + gate.first_row, result, sizeof(float) * static_cast<size_t>(gate.rows));
}

// ---- a worker's scratch

struct Scratch {
  float* sums;
  float* up_sums;
  std::byte* expanded;

  static constexpr int64_t kSumTokens = kGroupsAtOnce * std::max(kMaxBlockTokens, kMaxFloatTokens);
  static constexpr size_t kSumBytes = static_cast<size_t>(kSumTokens) * kPanelRows * sizeof(float);
  static constexpr size_t kExpandedBytes = kPieceColumns / kUnit * size_t{2048};  // at most 1536 a unit
  static constexpr size_t kBytes = 2 * kSumBytes + kExpandedBytes;

  explicit Scratch(std::byte* memory)
      : sums(reinterpret_cast<float*>(memory)),
        up_sums(reinterpret_cast<float*>(memory + kSumBytes)),
        expanded(memory + 2 * kSumBytes) {}
};

void run_panel(const Product& p, int64_t index, const Scratch& scratch) {
  const PackedMatrix::Panel panel = p.w.panel(index, p.expert);
  const TokenGroups& groups = p.groups(panel.dtype);
  for (int64_t g = 0; g < groups.count; g += kGroupsAtOnce) {
    const int64_t last = std::min(groups.count, g + kGroupsAtOnce);
    multiply_panel(p, panel, g, last, scratch.expanded, scratch.sums);
    for (int64_t t = groups.first(g), i = 0; t < groups.first(last); ++t, ++i) {
      finish_token(p, t, panel, scratch.sums + i * kPanelRows);
    }
  }
}

void run_swiglu_panel(const Product& p, int64_t index, const Scratch& scratch) {
  const PackedMatrix::Panel gate = p.w.panel(index, p.expert);
  const PackedMatrix::Panel up = p.w.panel(index + p.w.panels() / 2, p.expert);
  const TokenGroups& groups = p.groups(gate.dtype);
  CHECK(is_float_format(gate.dtype) == is_float_format(up.dtype));
  for (int64_t g = 0; g < groups.count; g += kGroupsAtOnce) {
    const int64_t last = std::min(groups.count, g + kGroupsAtOnce);
    multiply_panel(p, gate, g, last, scratch.expanded, scratch.sums);
    multiply_panel(p, up, g, last, scratch.expanded, scratch.up_sums);
    for (int64_t t = groups.first(g), i = 0; t < groups.first(last); ++t, ++i) {
      finish_swiglu_token(p, t, gate, scratch.sums + i * kPanelRows, scratch.up_sums + i * kPanelRows);
    }
  }
}

void grow(PageMemory& memory, size_t bytes) {
  if (memory.size() < bytes) memory = PageMemory(bytes);
}

}  // namespace

const KernelSet& kernel_set(Isa isa) {
  CHECK(isa <= best_isa());
#if defined(__x86_64__)
  if (isa == Isa::Avx512) return avx512_kernels();
  if (isa == Isa::Avx2) return avx2_kernels();
#endif
  return scalar_kernels();
}

Matmul::Matmul(ThreadPool& pool, Isa isa)
    : pool_(pool), kernels_(kernel_set(isa)), scratch_(static_cast<size_t>(pool.size())) {
  for (PageMemory& memory : scratch_) memory = PageMemory(Scratch::kBytes);
}
Matmul::~Matmul() = default;

void Matmul::run(const PackedMatrix& w, const InputRows& x, const OutputRows& y, Epilogue epilogue,
                 int64_t expert, const float* row_scale) {
  CHECK(0 <= expert && expert < w.experts());
  CHECK((epilogue == Epilogue::AddScaled) == (row_scale != nullptr));
  if (x.count == 0) return;
  Product p{kernels_,
            w,
            x,
            y,
            epilogue,
            expert,
            row_scale,
            {x.count, kernels_.block_tokens},
            {x.count, kernels_.float_tokens}};
  if (w.has_block_parts()) {
    grow(units_, sizeof(ActivationUnit) * static_cast<size_t>(x.count * (w.cols() / kUnit)));
    p.units = reinterpret_cast<ActivationUnit*>(units_.data());
    prepare(pool_, p, p.block_groups, quantize_group);
  }
  if (w.has_float_parts() && x.count > 1) {
    grow(values_, sizeof(float) * static_cast<size_t>(x.count * w.cols()));
    p.values = reinterpret_cast<float*>(values_.data());
    prepare(pool_, p, p.float_groups, interleave_group);
  }

  const bool swiglu = epilogue == Epilogue::SwiGlu;
  if (swiglu) CHECK(w.panels() % 2 == 0 && w.panel(w.panels() / 2, expert).first_row == w.rows() / 2);
  const int64_t tasks = swiglu ? w.panels() / 2 : w.panels();
  const int64_t grain = std::max<int64_t>(1, tasks / (8 * pool_.size()));
  pool_.parallel_for(tasks, grain, [&](int worker, int64_t begin, int64_t end) {
    const Scratch scratch(scratch_[static_cast<size_t>(worker)].data());
    for (int64_t i = begin; i < end; ++i) swiglu ? run_swiglu_panel(p, i, scratch) : run_panel(p, i, scratch);
  });
}

}  // namespace qwend::cpu
