// The product's driver: prepares the activations, deals panels out to the workers and finishes results.
#include "kernels/cpu/matmul.h"

#include <algorithm>
#include <cstring>

#include "kernels/check.h"
#include "kernels/cpu/matmul_kernels.h"
#include "kernels/cpu/matmul_layout.h"
#include "kernels/cpu/vector_ops.h"

namespace qwend::cpu {
namespace {

// Blocking with many tokens. A worker takes up to 4 panels by up to 32 groups of tokens, and goes over them a
// piece of columns at a time: the activations of a group (up to 18 KB) are then read from the first-level
// cache for all panels but the first, the panels' pieces (34 KB each) from the second-level cache for all
// groups. Pieces are multiples of every block length.
constexpr int kPanelsAtOnce = 4;
constexpr int64_t kGroupsAtOnce = 32;
constexpr int32_t kFewTokens = 24;
// With few tokens a worker takes this much of the weights at a time: long enough for the prefetchers, short
// enough that the others need not wait for a worker which has lost its core.
constexpr int64_t kStreamBytes = 256 << 10;
constexpr int64_t kBlockPieceColumns = 1024;
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
  // A token's row as it enters the product: in place, or normalised in `row` [cols].
  const float* prepared(int64_t token, float* row) const {
    if (x.norm == nullptr) return input(token);
    vector_ops().rms_norm(input(token), x.norm, x.eps, w.cols(), row);
    return row;
  }
};

// ---- activations

void quantize_group(const Product& p, int64_t group, float* row) {
  const int64_t first = p.block_groups.first(group), size = p.block_groups.size(group);
  ActivationUnit* out = p.units + first * (p.w.cols() / kUnit);
  for (int64_t t = 0; t < size; ++t) {
    p.kernels.quantize(p.prepared(first + t, row), p.w.cols(), out + t, size);
  }
}

void interleave_group(const Product& p, int64_t group, float* row) {
  const int64_t first = p.float_groups.first(group), size = p.float_groups.size(group), cols = p.w.cols();
  float* out = p.values + first * cols;
  for (int64_t t = 0; t < size; ++t) {
    const float* in = p.prepared(first + t, row);
    for (int64_t c = 0; c < cols; ++c) out[c * size + t] = in[c];
  }
}

// rows: [cols] of each worker, for a normalised row.
template <class PrepareGroup>
void prepare(ThreadPool& pool, const Product& p, const TokenGroups& groups, std::vector<FloatBuffer>& rows,
             PrepareGroup prepare_group) {
  const int64_t values = p.x.count * p.w.cols();
  const int64_t grain = values < kSerialValues ? groups.count : 1;
  pool.parallel_for(groups.count, grain, [&](int worker, int64_t begin, int64_t end) {
    float* row = rows[static_cast<size_t>(worker)].data();
    for (int64_t g = begin; g < end; ++g) prepare_group(p, g, row);
  });
}

// ---- a tile: a few panels by a range of token groups

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

// Asks for the activations of the next group while this one is computed: pieces of them lie apart by whole
// rows, which the hardware prefetchers do not foresee.
void prefetch(const void* from, size_t bytes) {
  for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch(static_cast<const std::byte*>(from) + i, 0, 2);
}

// ---- results

void finish_token(const Product& p, int64_t token, const PackedMatrix::Panel& panel, const float* sums) {
  float* out = p.output(token) + panel.first_row;
  switch (p.epilogue) {
    case Epilogue::Store: std::memcpy(out, sums, sizeof(float) * static_cast<size_t>(panel.rows)); break;
    case Epilogue::Add:
      for (int i = 0; i < panel.rows; ++i) out[i] += sums[i];
      break;
    case Epilogue::AddScaled:
      for (int i = 0; i < panel.rows; ++i) out[i] += p.row_scale[token] * sums[i];
      break;
    case Epilogue::SwiGlu: break;
  }
}

// Whole panels leave the kernel as results where their rows lie at equal distances; other sums pass through
// the worker's scratch.
bool stores_results(const Product& p, const PackedMatrix::Panel& panel) {
  const bool plain = p.epilogue == Epilogue::Store || p.epilogue == Epilogue::Add;
  return plain && panel.rows == kPanelRows && (p.y.index == nullptr || p.x.count == 1);
}

void finish_swiglu_token(const Product& p, int64_t token, const PackedMatrix::Panel& gate,
                         const float* gate_sums, const float* up_sums) {
  float* out = p.output(token) + gate.first_row;
  if (gate.rows == kPanelRows) return p.kernels.swiglu(gate_sums, up_sums, out);
  float result[kPanelRows];
  p.kernels.swiglu(gate_sums, up_sums, result);
  std::memcpy(out, result, sizeof(float) * static_cast<size_t>(gate.rows));
}

void finish_group(const Product& p, const Tile& tile, int64_t first, int64_t tokens, const Scratch& scratch,
                  int64_t offset) {
  const bool swiglu = p.epilogue == Epilogue::SwiGlu;
  const int results = swiglu ? tile.count / 2 : tile.count;  // SwiGLU: gate panels, then their up panels
  for (int i = 0; i < results; ++i) {
    if (stores_results(p, tile.panels[i])) continue;
    for (int64_t t = 0; t < tokens; ++t) {
      const float* sums = scratch.sums(i) + offset + t * kPanelRows;
      if (swiglu) {
        finish_swiglu_token(p, first + t, tile.panels[i], sums,
                            scratch.sums(i + results) + offset + t * kPanelRows);
      } else {
        finish_token(p, first + t, tile.panels[i], sums);
      }
    }
  }
}

// ---- tiles

// scratch: of the panel's sums for tokens first .. in this product.
Sums sums_of(const Product& p, const PackedMatrix::Panel& panel, int64_t first, bool first_piece,
             bool last_piece, float* scratch) {
  const float* from = first_piece ? nullptr : scratch;
  if (!last_piece || !stores_results(p, panel)) return {from, scratch};
  return {from, p.output(first) + panel.first_row, p.y.stride, p.epilogue == Epilogue::Add};
}

void run_one_token(const Product& p, const Tile& tile, const Scratch& scratch) {
  for (int i = 0; i < tile.count; ++i) {
    const PackedMatrix::Panel& panel = tile.panels[i];
    const auto type = static_cast<size_t>(panel.dtype);
    const Sums sums = sums_of(p, panel, 0, true, true, scratch.sums(i));
    if (is_float_format(panel.dtype)) {
      p.kernels.floats[type].many[1](panel.data, p.w.cols(), p.values ? p.values : p.input(0), sums);
    } else {
      p.kernels.block[type].one(panel.data, p.w.cols(), p.units, sums);
    }
  }
  finish_group(p, tile, 0, 1, scratch, 0);
}

// Calls multiply(group, panel, sums) for all groups and panels of the tile, in a pass over one piece of the
// columns. A group's results are finished just after its last piece, while they are in the first-level cache.
template <class Multiply>
void for_each_group(const Product& p, const Tile& tile, const Scratch& scratch, const TokenGroups& groups,
                    bool first_piece, bool last_piece, Multiply multiply) {
  for (int64_t g = tile.first_group; g < tile.last_group; ++g) {
    const int64_t first = groups.first(g), size = groups.size(g);
    // A product of one piece needs no sums but the current group's.
    const bool only_piece = first_piece && last_piece;
    const int64_t offset = only_piece ? 0 : (first - groups.first(tile.first_group)) * kPanelRows;
    for (int i = 0; i < tile.count; ++i) {
      multiply(g, i, sums_of(p, tile.panels[i], first, first_piece, last_piece, scratch.sums(i) + offset));
    }
    if (last_piece) finish_group(p, tile, first, size, scratch, offset);
  }
}

void run_block_tile(const Product& p, const Tile& tile, const Scratch& scratch) {
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
    const auto multiply = [&](int64_t g, int i, const Sums& sums) {
      const int64_t first = p.block_groups.first(g), size = p.block_groups.size(g);
      if (i == 0 && g + 1 < tile.last_group && piece_cols < cols) {
        const int64_t next_size = p.block_groups.size(g + 1);
        prefetch(p.units + (first + size) * all_units + unit * next_size,
                 sizeof(ActivationUnit) * static_cast<size_t>(piece_cols / kUnit * next_size));
      }
      const ActivationUnit* x = p.units + first * all_units + unit * size;
      const BlockKernels& kernels = p.kernels.block[static_cast<size_t>(tile.panels[i].dtype)];
      kernels.many[size](pieces[i], piece_cols, x, sums);
    };
    for_each_group(p, tile, scratch, p.block_groups, c == 0, c + piece_cols == cols, multiply);
  }
}

void run_float_tile(const Product& p, const Tile& tile, const Scratch& scratch) {
  const int64_t cols = p.w.cols();
  for (int64_t c = 0; c < cols; c += kFloatPieceColumns) {
    const int64_t piece_cols = std::min(kFloatPieceColumns, cols - c);
    const auto multiply = [&](int64_t g, int i, const Sums& sums) {
      const int64_t first = p.float_groups.first(g), size = p.float_groups.size(g);
      if (i == 0 && g + 1 < tile.last_group && piece_cols < cols) {
        const int64_t next_size = p.float_groups.size(g + 1);
        prefetch(p.values + (first + size) * cols + c * next_size,
                 sizeof(float) * static_cast<size_t>(piece_cols * next_size));
      }
      const float* x = p.values + first * cols + c * size;
      const PackedMatrix::Panel& panel = tile.panels[i];
      const FloatKernels& kernels = p.kernels.floats[static_cast<size_t>(panel.dtype)];
      kernels.many[size](panel.data + panel_bytes(panel.dtype, c), piece_cols, x, sums);
    };
    for_each_group(p, tile, scratch, p.float_groups, c == 0, c + piece_cols == cols, multiply);
  }
}

void run_tile(const Product& p, const Tile& tile, const Scratch& scratch) {
  if (p.x.count == 1) {
    run_one_token(p, tile, scratch);
  } else if (is_float_format(tile.panels[0].dtype)) {
    run_float_tile(p, tile, scratch);
  } else {
    run_block_tile(p, tile, scratch);
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
    : pool_(pool),
      kernels_(kernel_set(isa)),
      rows_(static_cast<size_t>(pool.size())),
      scratch_(static_cast<size_t>(pool.size())) {
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
  if (x.norm != nullptr) {
    for (FloatBuffer& row : rows_) row.reserve(w.cols());
  }
  if (w.has_block_parts()) {
    grow(units_, sizeof(ActivationUnit) * static_cast<size_t>(x.count * (w.cols() / kUnit)));
    p.units = reinterpret_cast<ActivationUnit*>(units_.data());
    prepare(pool_, p, p.block_groups, rows_, quantize_group);
  }
  if (w.has_float_parts() && (x.count > 1 || x.norm != nullptr)) {
    grow(values_, sizeof(float) * static_cast<size_t>(x.count * w.cols()));
    p.values = reinterpret_cast<float*>(values_.data());
    prepare(pool_, p, p.float_groups, rows_, interleave_group);
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
