// The product's driver: prepares the activations, deals panels out to the workers and finishes results.
#include "kernels/cpu/matmul.h"

#include <algorithm>
#include <cstring>

#include "kernels/check.h"
#include "kernels/cpu/matmul_kernels.h"
#include "kernels/cpu/matmul_layout.h"

namespace qwend::cpu {
namespace {

// Blocking with many tokens. A worker takes up to 4 panels by up to 32 groups of tokens, and goes over them a
// piece of columns at a time: the activations of a group (9 to 12 KB) are then read from the first-level
// cache for all panels but the first, the panels' pieces (17 KB each) from the second-level cache for all
// groups. Pieces are multiples of every block length.
constexpr int kPanelsAtOnce = 4;
constexpr int64_t kGroupsAtOnce = 32;
constexpr int32_t kFewTokens = 24;
// With few tokens a worker takes this much of the weights at a time: long enough for the prefetchers, short
// enough that the others need not wait for a worker which has lost its core.
constexpr int64_t kStreamBytes = 256 << 10;
constexpr int64_t kBlockPieceColumns = 512;
constexpr int64_t kFloatPieceColumns = 256;
// Below this many activations (about 5 us of work) one worker prepares them all: a barrier would cost more.
constexpr int64_t kSerialValues = 8192;

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

// ---- tiles: a few panels by a range of token groups

// A worker's memory.
struct Scratch {
  static constexpr size_t kSumTokens = kGroupsAtOnce * std::max(kMaxBlockTokens, kMaxFloatTokens);
  static constexpr size_t kPanelSums = kSumTokens * kPanelRows;
  static constexpr size_t kExpandedBytes = kBlockPieceColumns / kUnit * size_t{1536};  // at most, of a panel
  static constexpr size_t kBytes = kPanelsAtOnce * (kPanelSums * sizeof(float) + kExpandedBytes);

  explicit Scratch(std::byte* from) : memory(from) {}
  // [token of the tile][32]
  float* sums(int panel) const {
    return reinterpret_cast<float*>(memory) + kPanelSums * static_cast<size_t>(panel);
  }
  std::byte* expanded(int panel) const {
    return memory + kPanelsAtOnce * kPanelSums * sizeof(float) + kExpandedBytes * static_cast<size_t>(panel);
  }
  std::byte* memory;
};

struct Tile {
  PackedMatrix::Panel panels[kPanelsAtOnce];  // all quantised or all float
  int count = 0;
  int64_t first_group = 0, last_group = 0;
};

// Asks for the activations of the next group while this one is computed: they lie apart by whole rows.
void prefetch(const void* from, size_t bytes) {
  for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch(static_cast<const std::byte*>(from) + i, 0, 2);
}

void multiply_one_token(const Product& p, const Tile& tile, const Scratch& scratch) {
  for (int i = 0; i < tile.count; ++i) {
    const PackedMatrix::Panel& panel = tile.panels[i];
    if (is_float_format(panel.dtype)) {
      p.kernels.floats[static_cast<size_t>(panel.dtype)].many[1](panel.data, p.w.cols(), p.input(0),
                                                                 scratch.sums(i));
    } else {
      p.kernels.block[static_cast<size_t>(panel.dtype)].one(panel.data, p.w.cols(), p.units, scratch.sums(i));
    }
  }
}

void multiply_block_tile(const Product& p, const Tile& tile, const Scratch& scratch) {
  const int64_t cols = p.w.cols(), all_units = cols / kUnit;
  for (int64_t c = 0; c < cols; c += kBlockPieceColumns) {
    const int64_t piece_cols = std::min(kBlockPieceColumns, cols - c), unit = c / kUnit;
    const std::byte* pieces[kPanelsAtOnce];
    for (int i = 0; i < tile.count; ++i) {
      const PackedMatrix::Panel& panel = tile.panels[i];
      const BlockKernels& kernels = p.kernels.block[static_cast<size_t>(panel.dtype)];
      pieces[i] = panel.data + panel_bytes(panel.dtype, c);
      if (kernels.expand == nullptr) continue;
      kernels.expand(pieces[i], piece_cols, scratch.expanded(i));
      pieces[i] = scratch.expanded(i);
    }
    for (int64_t g = tile.first_group; g < tile.last_group; ++g) {
      const int64_t first = p.block_groups.first(g), size = p.block_groups.size(g);
      const int64_t sums = (first - p.block_groups.first(tile.first_group)) * kPanelRows;
      const ActivationUnit* x = p.units + first * all_units + unit * size;
      if (g + 1 < tile.last_group) {
        const int64_t next_size = p.block_groups.size(g + 1);
        prefetch(p.units + (first + size) * all_units + unit * next_size,
                 sizeof(ActivationUnit) * static_cast<size_t>(piece_cols / kUnit * next_size));
      }
      for (int i = 0; i < tile.count; ++i) {
        const BlockKernels& kernels = p.kernels.block[static_cast<size_t>(tile.panels[i].dtype)];
        kernels.many[size](pieces[i], piece_cols, x, scratch.sums(i) + sums);
      }
    }
  }
}

void multiply_float_tile(const Product& p, const Tile& tile, const Scratch& scratch) {
  const int64_t cols = p.w.cols();
  for (int64_t c = 0; c < cols; c += kFloatPieceColumns) {
    const int64_t piece_cols = std::min(kFloatPieceColumns, cols - c);
    for (int64_t g = tile.first_group; g < tile.last_group; ++g) {
      const int64_t first = p.float_groups.first(g), size = p.float_groups.size(g);
      const int64_t sums = (first - p.float_groups.first(tile.first_group)) * kPanelRows;
      const float* x = p.values + first * cols + c * size;
      if (g + 1 < tile.last_group) {
        const int64_t next_size = p.float_groups.size(g + 1);
        prefetch(p.values + (first + size) * cols + c * next_size,
                 sizeof(float) * static_cast<size_t>(piece_cols * next_size));
      }
      for (int i = 0; i < tile.count; ++i) {
        const PackedMatrix::Panel& panel = tile.panels[i];
        const FloatKernels& kernels = p.kernels.floats[static_cast<size_t>(panel.dtype)];
        kernels.many[size](panel.data + panel_bytes(panel.dtype, c), piece_cols, x, scratch.sums(i) + sums);
      }
    }
  }
}

// ---- results

// kRows: of the panel, or 0 for panel.rows. A constant count leaves no loop, which halves the time of a
// token.
template <int kRows>
void finish_token(const Product& p, int64_t token, const PackedMatrix::Panel& panel,
                  const float* __restrict sums) {
  const int rows = kRows > 0 ? kRows : panel.rows;
  float* __restrict out = p.output(token) + panel.first_row;
  switch (p.epilogue) {
    case Epilogue::Store: std::memcpy(out, sums, sizeof(float) * static_cast<size_t>(rows)); break;
    case Epilogue::Add:
      for (int i = 0; i < rows; ++i) out[i] += sums[i];
      break;
    case Epilogue::AddScaled:
      for (int i = 0; i < rows; ++i) out[i] += p.row_scale[token] * sums[i];
      break;
    case Epilogue::SwiGlu: break;
  }
}

void finish_swiglu_token(const Product& p, int64_t token, const PackedMatrix::Panel& gate,
                         const float* gate_sums, const float* up_sums) {
  float* out = p.output(token) + gate.first_row;
  if (gate.rows == kPanelRows) return p.kernels.swiglu(gate_sums, up_sums, out);
  float result[kPanelRows];
  p.kernels.swiglu(gate_sums, up_sums, result);
  std::memcpy(out, result, sizeof(float) * static_cast<size_t>(gate.rows));
}

void run_tile(const Product& p, const Tile& tile, const Scratch& scratch) {
  const bool floats = is_float_format(tile.panels[0].dtype);
  const TokenGroups& groups = floats ? p.float_groups : p.block_groups;
  const int64_t first = groups.first(tile.first_group), tokens = groups.first(tile.last_group) - first;
  for (int i = 0; i < tile.count; ++i) {
    std::memset(scratch.sums(i), 0, sizeof(float) * static_cast<size_t>(tokens * kPanelRows));
  }
  if (p.x.count == 1) {
    multiply_one_token(p, tile, scratch);
  } else if (floats) {
    multiply_float_tile(p, tile, scratch);
  } else {
    multiply_block_tile(p, tile, scratch);
  }
  const bool swiglu = p.epilogue == Epilogue::SwiGlu;
  const int results = swiglu ? tile.count / 2 : tile.count;  // SwiGLU: gate panels, then their up panels
  for (int i = 0; i < results; ++i) {
    for (int64_t t = 0; t < tokens; ++t) {
      const float* sums = scratch.sums(i) + t * kPanelRows;
      if (swiglu) {
        finish_swiglu_token(p, first + t, tile.panels[i], sums, scratch.sums(i + results) + t * kPanelRows);
      } else if (tile.panels[i].rows == kPanelRows) {
        finish_token<kPanelRows>(p, first + t, tile.panels[i], sums);
      } else {
        finish_token<0>(p, first + t, tile.panels[i], sums);
      }
    }
  }
}

// Runs panels begin .. end (of the gate for SwiGLU), which may not mix quantised and float ones.
void run_panels(const Product& p, int64_t begin, int64_t end, const Scratch& scratch) {
  Tile tile;
  for (int64_t i = begin; i < end; ++i) tile.panels[tile.count++] = p.w.panel(i, p.expert);
  if (p.epilogue == Epilogue::SwiGlu) {
    for (int64_t i = begin; i < end; ++i)
      tile.panels[tile.count++] = p.w.panel(i + p.w.panels() / 2, p.expert);
  }
  const int64_t groups = (is_float_format(tile.panels[0].dtype) ? p.float_groups : p.block_groups).count;
  for (tile.first_group = 0; tile.first_group < groups; tile.first_group = tile.last_group) {
    tile.last_group = std::min(groups, tile.first_group + kGroupsAtOnce);
    run_tile(p, tile, scratch);
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
  CHECK(!swiglu || !(w.has_block_parts() && w.has_float_parts()));
  const int64_t panels = swiglu ? w.panels() / 2 : w.panels();
  // With few tokens memory is the limit, and one panel after the other the best stream.
  const int64_t at_once = x.count <= kFewTokens ? 1 : swiglu ? kPanelsAtOnce / 2 : kPanelsAtOnce;
  const int64_t share = std::max<int64_t>(1, panels / (4 * pool_.size()));
  const int64_t stream = std::max<int64_t>(1, kStreamBytes / static_cast<int64_t>(w.mean_panel_bytes()));
  const int64_t grain = std::min(share, x.count <= kFewTokens ? stream : at_once);
  pool_.parallel_for(panels, grain, [&](int worker, int64_t begin, int64_t end) {
    const Scratch scratch(scratch_[static_cast<size_t>(worker)].data());
    while (begin < end) {
      int64_t last = begin + 1;
      const bool floats = is_float_format(w.panel(begin, expert).dtype);
      while (last < std::min(end, begin + at_once) && is_float_format(w.panel(last, expert).dtype) == floats)
        ++last;
      run_panels(p, begin, last, scratch);
      begin = last;
    }
  });
}

}  // namespace qwend::cpu
