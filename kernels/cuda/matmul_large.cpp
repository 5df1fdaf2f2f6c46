// LargeMatmul: cuBLASLt products, a stretch of weight rows at a time.
//
// FP16 weights, and FP16 copies of others, are read where they are. The rest is expanded, and sums that an
// epilogue reads once more are written, a stretch of rows at a time: as many as scratch holds. Boxed products
// read the same operands, and have no sums to write.
#include <algorithm>
#include <cmath>

#include "kernels/check.h"
#include "kernels/cuda/library_gemm.h"
#include "kernels/cuda/matmul.h"
#include "kernels/cuda/matmul_boxed.h"
#include "kernels/cuda/matmul_large_epilogue.h"
#include "kernels/quant/formats.h"

namespace qwend::cuda {
namespace {

// The library's usual tiles. Stretches are whole tiles, in numbers that keep all multiprocessors busy.
constexpr int64_t kGemmTileRows = 128, kGemmTileTokens = 256;
// Columns of `product` that rounding its parts up to 4 may take.
constexpr int64_t kAlignmentColumns = 8;

int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }
int64_t round_down(int64_t n, int64_t unit) { return n / unit * unit; }

// How many of the `left` rows to take next. A short rest is taken along: alone it would leave most of the
// device idle for a round of tiles. Whole groups of 8 rows keep what follows aligned.
int64_t next_stretch(int64_t left, int64_t stretch, int64_t capacity) {
  CHECK(capacity > 0);
  if (left <= std::min(capacity, stretch + stretch / 2)) return left;
  const int64_t count = std::min(stretch, capacity);
  return count > 8 ? round_down(count, 8) : count;
}

}  // namespace

struct LargeMatmul::Impl {
  Impl(int32_t tokens, const Scratch& bytes, cudaStream_t on, int32_t boxed_from)
      : max_tokens(tokens),
        least_boxed(has_boxed_products() ? boxed_from : INT32_MAX),
        product_bytes(bytes.product),
        stream(on),
        library(on) {
    CHECK(tokens > 0 && bytes.expanded >= sizeof(__half));
    int device = 0;
    CUDA_CHECK(cudaGetDevice(&device));
    CUDA_CHECK(cudaDeviceGetAttribute(&num_sms, cudaDevAttrMultiProcessorCount, device));
    scratch = DeviceBuffer<__half>::zeroed(bytes.expanded / sizeof(__half));
  }

  void reserve(int64_t max_rows);
  void run(const CudaMatrix& w, const HalfRows& in, int32_t num_tokens, Epilogue epilogue,
           const MatmulOut& out);
  void run_part(const WeightPart& part, const HalfRows& in, int32_t num_tokens, Epilogue epilogue,
                const MatmulOut& out);
  void run_swiglu(const CudaMatrix& w, const HalfRows& in, int32_t num_tokens, const MatmulOut& out);
  std::optional<Addend> sums(const CudaMatrix& w, const HalfRows& in, int32_t num_tokens);
  std::optional<BoxedWeights> boxed_rows(const CudaMatrix& w, int32_t num_tokens);
  bool run_boxed_gated(const CudaMatrix& w, const HalfRows& in, int32_t num_tokens, const HalfRowsOut& out);

  int64_t stretch_rows(int64_t capacity, int32_t num_tokens) const;
  // Columns of sums of `element` bytes that `product` holds.
  int64_t product_columns(int32_t num_tokens, size_t element = sizeof(float)) const {
    return static_cast<int64_t>(product.bytes() / element) / num_tokens - kAlignmentColumns;
  }
  Operand weights(const WeightPart& part, int64_t first, int64_t count, __half* expanded);
  void multiply_planes(Gemm g, const HalfRows& in, const float* low);

  const int32_t max_tokens, least_boxed;
  const size_t product_bytes;
  const cudaStream_t stream;
  int num_sms = 0;
  LibraryGemm library;
  DeviceBuffer<__half> scratch;  // expanded weights
  DeviceBuffer<float> product;   // sums on their way to an epilogue
};

namespace {

// Rows of FP16 that are there already, padded_width(cols) apart, or nullptr.
const __half* rows_in_place(const WeightPart& part) {
  return part.dtype == DType::F16 ? reinterpret_cast<const __half*>(part.data) : part.half_copy;
}
bool read_in_place(const WeightPart& part) { return rows_in_place(part) != nullptr; }
int64_t expanded_bytes(const WeightPart& part) {
  return read_in_place(part) ? 0 : padded_width(part.cols) * static_cast<int64_t>(sizeof(__half));
}

const WeightPart& part_of(const CudaMatrix& w, int64_t row) {
  for (const WeightPart& part : w.parts()) {
    if (row >= part.first_row && row < part.first_row + part.rows) return part;
  }
  CHECK(!"row of no part");
  __builtin_unreachable();
}

}  // namespace

void LargeMatmul::Impl::reserve(int64_t max_rows) {
  // Two halves of a stretch (gate and up) are of one tile at least.
  const size_t smallest = size_t{2} * kGemmTileRows * static_cast<size_t>(max_tokens);
  const size_t whole = static_cast<size_t>(max_rows + kAlignmentColumns) * static_cast<size_t>(max_tokens);
  const size_t wanted = std::min(whole, product_bytes / sizeof(float));
  const size_t size = std::max(wanted, smallest);
  // Zeroed: the initcheck tool does not see what the library stores, and would report every read of it.
  if (product.size() < size) product = DeviceBuffer<float>::zeroed(size);
}

// The most rows that scratch holds (`capacity`), less what keeps their tiles from filling the multiprocessors
// in whole rounds. At least one.
int64_t LargeMatmul::Impl::stretch_rows(int64_t capacity, int32_t num_tokens) const {
  const int64_t token_tiles = (num_tokens + kGemmTileTokens - 1) / kGemmTileTokens;
  const int64_t rounds = capacity / kGemmTileRows * token_tiles / num_sms;
  return rounds > 0 ? std::max(int64_t{1}, rounds * num_sms / token_tiles) * kGemmTileRows : capacity;
}

// Rows first .. first + count of a part as FP16: where they are, or expanded.
Operand LargeMatmul::Impl::weights(const WeightPart& part, int64_t first, int64_t count, __half* expanded) {
  const int64_t stride = padded_width(part.cols);
  if (read_in_place(part)) return {rows_in_place(part) + first * stride, stride};
  expand_half(part, 0, first, count, expanded, stride, stream);
  return {expanded, stride};
}

// g with each plane of `in` as its second operand: into sums of their own, in one call, where `low` is given,
// else one after the other into the same sums.
void LargeMatmul::Impl::multiply_planes(Gemm g, const HalfRows& in, const float* low) {
  g.b = {in.rows, in.stride};
  if (low != nullptr) {
    g.second_b = in.low - in.rows, g.second_c = low - static_cast<const float*>(g.c.data);
    CHECK(g.second_b > 0 && g.second_c > 0);
    return library.multiply(g);
  }
  library.multiply(g);
  if (in.low == nullptr) return;
  g.b = {in.low, in.stride};
  g.beta = 1.0f;
  library.multiply(g);
}

void LargeMatmul::Impl::run(const CudaMatrix& w, const HalfRows& in, int32_t num_tokens, Epilogue epilogue,
                            const MatmulOut& out) {
  CHECK(w.experts() == 1 && num_tokens > 0 && num_tokens <= max_tokens);
  CHECK(in.stride >= round_up(w.cols(), 8) && in.stride % 8 == 0);
  if (epilogue == Epilogue::SwiGlu && run_boxed_gated(w, in, num_tokens, out.half)) return;
  const bool through_product =
      epilogue == Epilogue::SwiGlu || (epilogue == Epilogue::Add && in.scale != nullptr);
  if (through_product) reserve(w.rows());  // nothing to do where callers did so at start-up
  if (epilogue == Epilogue::SwiGlu) return run_swiglu(w, in, num_tokens, out);
  for (const WeightPart& part : w.parts()) run_part(part, in, num_tokens, epilogue, out);
}

// Store: into the destination, scaled there. Add: the library adds unscaled sums itself; scaled ones pass
// through `product`.
void LargeMatmul::Impl::run_part(const WeightPart& part, const HalfRows& in, int32_t num_tokens,
                                 Epilogue epilogue, const MatmulOut& out) {
  const bool through_product = epilogue == Epilogue::Add && in.scale != nullptr;
  CHECK(out.low == nullptr || (epilogue == Epilogue::Store && in.scale == nullptr && in.low != nullptr));
  int64_t capacity = part.rows;
  if (!read_in_place(part)) {
    capacity = std::min(capacity, static_cast<int64_t>(scratch.bytes()) / expanded_bytes(part));
  }
  if (through_product) capacity = std::min(capacity, product_columns(num_tokens));
  const int64_t stretch = stretch_rows(capacity, num_tokens);

  for (int64_t first = 0, count = 0; first < part.rows; first += count) {
    count = next_stretch(part.rows - first, stretch, capacity);
    const FloatRows target{out.data + part.first_row + first, out.stride};
    Gemm g;
    g.a = weights(part, first, count, scratch.data());
    g.rows = count;
    g.depth = round_up(part.cols, 8);  // zeros beyond cols, in activations and in expanded weights
    g.num_tokens = num_tokens;
    g.beta = epilogue == Epilogue::Add && !through_product ? 1.0f : 0.0f;
    const FloatRows sums = through_product ? FloatRows{product.data(), round_up(count, 4)} : target;
    g.c = {sums.data, sums.stride};
    multiply_planes(g, in, out.low != nullptr ? out.low + part.first_row + first : nullptr);
    if (through_product) {
      add_rows(sums, count, num_tokens, in.scale, target, stream);
    } else if (in.scale != nullptr) {
      scale_rows(target, count, num_tokens, in.scale, stream);
    }
  }
}

namespace {

// Rows of the next of equal stretches, whole tiles of 128 where `capacity` leaves the choice.
int64_t equal_stretch(int64_t left, int64_t capacity) {
  CHECK(capacity >= 8);
  if (left <= capacity) return left;
  const int64_t stretches = (left + capacity - 1) / capacity;
  const int64_t count = round_up((left + stretches - 1) / stretches, kGemmTileRows);
  return count <= capacity ? count : round_down(capacity, capacity >= kGemmTileRows ? kGemmTileRows : 8);
}

bool whole_eights(const CudaMatrix& w) {
  return w.cols() % 8 == 0 && std::ranges::all_of(w.parts(), [](const WeightPart& p) {
           return p.rows % 8 == 0 && p.first_row % 8 == 0;
         });
}

}  // namespace

std::optional<Addend> LargeMatmul::Impl::sums(const CudaMatrix& w, const HalfRows& in, int32_t num_tokens) {
  const int64_t stride = round_up(w.rows(), 4);
  reserve(w.rows());
  if (in.scale == nullptr || in.low != nullptr || stride * num_tokens > static_cast<int64_t>(product.size()))
    return {};
  run(w, in.unscaled(), num_tokens, Epilogue::Store, {product.data(), stride});
  return Addend{product.data(), stride, in.scale};
}

std::optional<BoxedWeights> LargeMatmul::Impl::boxed_rows(const CudaMatrix& w, int32_t num_tokens) {
  const int64_t stride = padded_width(w.cols());
  const BoxedWeights all{nullptr, w.rows(), w.cols(), stride};
  const auto with_rows = [&](const __half* rows) {
    BoxedWeights found = all;
    found.rows = rows;
    return found;
  };
  if (num_tokens < least_boxed || !whole_eights(w) || w.experts() != 1) return {};
  const __half* const first = rows_in_place(w.parts().front());
  if (first != nullptr && std::ranges::all_of(w.parts(), [&](const WeightPart& p) {
        return rows_in_place(p) == first + p.first_row * stride;
      })) {
    return with_rows(first);
  }
  const auto size = static_cast<size_t>(w.rows() * stride);
  if (std::ranges::any_of(w.parts(), read_in_place) || scratch.size() < size) return {};
  for (const WeightPart& part : w.parts())
    expand_half(part, 0, 0, part.rows, scratch.data() + part.first_row * stride, stride, stream);
  return with_rows(scratch.data());
}

// False, and nothing done, where these products don't serve.
bool LargeMatmul::Impl::run_boxed_gated(const CudaMatrix& w, const HalfRows& in, int32_t num_tokens,
                                        const HalfRowsOut& out) {
  const int64_t half = w.rows() / 2;
  const bool serves = num_tokens >= least_boxed && whole_eights(w) && half % 8 == 0 && in.scale != nullptr &&
                      in.norm != nullptr && out.stride % 8 == 0 &&
                      reinterpret_cast<uintptr_t>(out.rows) % 16 == 0;
  if (!serves) return false;
  for (int64_t i = 0, count = 0; i < half; i += count) {
    const WeightPart &gate = part_of(w, i), &up = part_of(w, half + i);
    const int64_t gate_row = i - gate.first_row, up_row = half + i - up.first_row;
    const int64_t pair_bytes = expanded_bytes(gate) + expanded_bytes(up);
    const int64_t left = std::min({gate.rows - gate_row, up.rows - up_row, half - i});
    if (boxed_blocks_serve(w) && pair_bytes > 0 && gate.dtype == up.dtype &&
        format_info(gate.dtype).block_elements > 1 && gate_row % kTileRows == 0 && up_row % kTileRows == 0) {
      count = left;
      boxed_gated_blocks(gate, gate_row, up, up_row, count, in, num_tokens, w.row_norms(), i, out, stream);
      continue;
    }
    const int64_t capacity = pair_bytes > 0 ? static_cast<int64_t>(scratch.bytes()) / pair_bytes : left;
    if (i == 0 && capacity < std::min(left, int64_t{8})) return false;
    count = equal_stretch(left, capacity);
    const auto rows_of = [&](const WeightPart& part, int64_t row, __half* expanded) {
      const Operand rows = weights(part, row, count, expanded);
      return BoxedWeights{rows.data, count, w.cols(), rows.stride};
    };
    const BoxedWeights gate_rows = rows_of(gate, gate_row, scratch.data());
    boxed_gated(gate_rows, rows_of(up, up_row, scratch.data() + count * expanded_bytes(gate) / 2), in,
                num_tokens, w.row_norms(), i, out, stream);
  }
  return true;
}

// What to multiply sums by for FP16 to hold them, or 0 where they stay FP32. A sum is at most a weight row's
// norm times the activations', whose values lie below 2^14: with that below 2^15, nothing overflows, and as
// sums are some sqrt(cols) below it, those that matter keep their 11 bits. Half the bytes to write and to
// read back, of which a prompt's gate and up have the most of all. Rows of unquantised weights stay FP32:
// there the bits are missed.
float half_sums_factor(const CudaMatrix& w, const HalfRows& in) {
  const auto block_format = [](const WeightPart& p) {
    return p.dtype != DType::F16 && p.dtype != DType::F32 && p.rows % 8 == 0;
  };
  const float bound = w.largest_row_norm() * std::sqrt(static_cast<float>(w.cols()));
  const bool serves =
      in.scale != nullptr && w.rows() % 16 == 0 && std::ranges::all_of(w.parts(), block_format);
  if (!serves || !(bound > 0x1p-60f && bound < 0x1p60f)) return 0.0f;
  return std::exp2(std::floor(1.0f - std::log2(bound)));
}

// Gate rows i .. i + count and the up rows that belong to them, side by side in `product`: one call where
// both are read in place from one part, or are neighbours once expanded.
void LargeMatmul::Impl::run_swiglu(const CudaMatrix& w, const HalfRows& in, int32_t num_tokens,
                                   const MatmulOut& out) {
  CHECK(w.rows() % 2 == 0 && in.low == nullptr && in.norm != nullptr && out.half.rows != nullptr);
  const int64_t half = w.rows() / 2;
  const float factor = half_sums_factor(w, in);
  for (int64_t i = 0, count = 0; i < half; i += count) {
    const WeightPart &gate = part_of(w, i), &up = part_of(w, half + i);
    const int64_t gate_row = i - gate.first_row, up_row = half + i - up.first_row;
    const int64_t pair_bytes = expanded_bytes(gate) + expanded_bytes(up);
    SumRows sums{product.data(), 0, factor != 0.0f ? CUDA_R_16F : CUDA_R_32F};
    int64_t capacity = product_columns(num_tokens, sums.element()) / 2;
    if (pair_bytes > 0) capacity = std::min(capacity, static_cast<int64_t>(scratch.bytes()) / pair_bytes);
    if (capacity < 8) sums.type = CUDA_R_32F;  // rows that FP16 sums would not be aligned in
    const int64_t left = std::min({gate.rows - gate_row, up.rows - up_row, half - i});
    count = next_stretch(left, std::max(int64_t{1}, stretch_rows(2 * capacity, num_tokens) / 2), capacity);

    const bool neighbours = !read_in_place(gate) && !read_in_place(up);
    const bool one_part = read_in_place(gate) && &gate == &up;
    const int64_t up_column = neighbours ? count : round_up(count, 4);
    sums.stride = round_up(up_column + count, 4);
    CHECK(sums.stride * num_tokens <= static_cast<int64_t>(product.bytes() / sums.element()));
    Gemm g;
    g.a = weights(gate, gate_row, count, scratch.data());
    const Operand up_rows = weights(up, up_row, count, scratch.data() + count * expanded_bytes(gate) / 2);
    g.rows = neighbours ? 2 * count : count;
    g.depth = round_up(w.cols(), 8);
    g.b = {in.rows, in.stride};
    g.num_tokens = num_tokens;
    g.alpha = sums.type == CUDA_R_16F ? factor : 1.0f;
    g.c = sums;
    if (one_part) g.second_a = up_rows.data - g.a.data, g.second_c = up_column;
    library.multiply(g);
    if (!neighbours && !one_part) {
      g.a = up_rows;
      g.c.data = sums.at(up_column);
      library.multiply(g);
    }
    const auto finish = [&]<class Element>(const Element* gate_sums) {
      swiglu_rows<Element>({gate_sums, gate_sums + up_column, sums.stride, 1.0f / g.alpha}, i, count,
                           num_tokens, in, w.row_norms(), out.half, stream);
    };
    sums.type == CUDA_R_16F ? finish(static_cast<const __half*>(sums.data))
                            : finish(static_cast<const float*>(sums.data));
  }
}

LargeMatmul::LargeMatmul(int32_t max_tokens, const Scratch& scratch, cudaStream_t stream, int32_t least_boxed)
    : impl_(std::make_unique<Impl>(max_tokens, scratch, stream, least_boxed)) {}
LargeMatmul::~LargeMatmul() = default;
void LargeMatmul::reserve(int64_t max_rows) { impl_->reserve(max_rows); }
std::optional<Addend> LargeMatmul::sums(const CudaMatrix& w, const HalfRows& in, int32_t num_tokens) {
  return impl_->sums(w, in, num_tokens);
}
std::optional<BoxedWeights> LargeMatmul::boxed_rows(const CudaMatrix& w, int32_t num_tokens) {
  return impl_->boxed_rows(w, num_tokens);
}
void LargeMatmul::run(const CudaMatrix& w, const HalfRows& in, int32_t num_tokens, Epilogue epilogue,
                      const MatmulOut& out) {
  impl_->run(w, in, num_tokens, epilogue, out);
}

}  // namespace qwend::cuda
