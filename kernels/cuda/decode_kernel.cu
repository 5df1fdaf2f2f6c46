// The kernel of a decode program: see decode_program.h for its phases.
#include "kernels/cuda/decode_attention.cuh"
#include "kernels/cuda/decode_inputs.cuh"
#include "kernels/cuda/decode_kernel.h"
#include "kernels/cuda/decode_stream.cuh"

namespace qwend::cuda::decode {
namespace {

enum Phase : int32_t { kAttnInput, kAttention, kAttnOutput, kGateUp, kDown, kNumPhases };

// ---- shared memory

// Offsets. Worked out by the host: as constants they take no registers, and a value that a thread of this
// kernel spills comes back from L2, as L1 is given to the rings.
struct Layout {
  uint32_t cuts, tile_warps, products, layers, token, reduced, scale, residual;
  uint32_t attention, records, totals, staged, inputs;  // attention shares its place with what products need
  uint32_t bytes;
};

template <int kHeadDim, int kSlots>
Layout layout_of(const DecodeTable& table) {
  Layout at{};
  auto used = static_cast<uint32_t>(kWarps * kSlots * table.slot_bytes);
  const auto take = [&](size_t bytes) {
    const uint32_t from = used;
    used += static_cast<uint32_t>((bytes + 127) / 128 * 128);
    return from;
  };
  const auto columns = static_cast<size_t>(table.max_block_cols),
             width = static_cast<size_t>(table.width + 63) / 64 * 64;
  at.cuts = take(static_cast<size_t>(table.num_shapes) * sizeof(ShapeCut));
  at.tile_warps = take(static_cast<size_t>(table.num_shapes * table.max_records) * sizeof(uchar2));
  at.products = take(static_cast<size_t>(table.num_products) * sizeof(Product));
  at.layers = take(static_cast<size_t>(table.num_layers) * sizeof(DecodeLayer));
  at.token = take(sizeof(TokenMemory<kHeadDim>));
  at.reduced = take(kWarps * sizeof(float2));
  at.scale = take(sizeof(float));
  at.residual = take(width * sizeof(float));
  at.attention = used;
  at.records = take(static_cast<size_t>(table.max_records) * 16 * sizeof(float));
  at.totals = take((columns / 256 + 1) * kTotalsOfStretch * sizeof(__half));
  at.staged = take((columns > width ? columns : width) * sizeof(float));
  at.inputs = take(2 * (columns + 16) * sizeof(__half));
  constexpr uint32_t kAttention = sizeof(AttentionMemory<kHeadDim>);
  if (used < at.attention + kAttention) used = at.attention + kAttention;
  at.bytes = used;
  return at;
}

// ---- the phases

template <int kHeadDim, int kSlots>
class Step {
 public:
  __device__ Step(const DecodeTable& table, const DeviceStep& step, const float2* rope, float* logits,
                  uint32_t layers_run, const Layout& layout, unsigned char* shared)
      : table_(table),
        logits_(logits),
        layers_run_(layers_run),
        at_(layout),
        shared_(shared),
        cuts_(at<ShapeCut>(at_.cuts)),
        products_(at<Product>(at_.products)),
        layers_(at<DecodeLayer>(at_.layers)),
        token_(*at<TokenMemory<kHeadDim>>(at_.token)),
        residual_(at<float>(at_.residual)) {
    prepare(step, rope);
  }

  __device__ __forceinline__ void run() {
    WeightStream<kSlots> stream(
        products_, table_.num_products,
        reinterpret_cast<std::byte*>(shared_) + warp_index() * kSlots * table_.slot_bytes, table_.slot_bytes);
    const Product* product = products_;
    const int32_t phases = table_.num_layers * kNumPhases + 1;
#pragma unroll 1
    for (int32_t p = 0; p < phases; ++p) {
      const int32_t kind = p % kNumPhases, index = p / kNumPhases;
      const bool last = p + 1 == phases;
      const DecodeLayer& layer = layers_[last ? index - 1 : index];
      const uint32_t number = layers_run_ + static_cast<uint32_t>(index) + 1;
      if (kind == kAttention) {
        auto& memory = *at<AttentionMemory<kHeadDim>>(at_.attention);
        DecodeAttention<kHeadDim>(table_, layer, number, token_, memory).run();
        prefetch_layer(index + 1);
        continue;
      }
      const DecodeMatmul& matmul = last                  ? table_.output
                                   : kind == kAttnInput  ? table_.qkv
                                   : kind == kAttnOutput ? table_.attn_output
                                   : kind == kGateUp     ? table_.gate_up
                                                         : table_.down;
      const int32_t num_products = last                 ? table_.num_output_products
                                   : kind == kAttnInput ? layer.num_products[0]
                                                        : layer.num_products[kind - 1];
      const InputMemory inputs = input_memory(matmul);
      const Stretch stretch = stretch_of(*product->cut);
      const bool idle = kind != kAttnInput && kind != kGateUp && !has_share(product, num_products);
      if (idle) {  // others make this row
        product += num_products;
        continue;
      }
      if (kind == kAttnInput || kind == kGateUp) {
        const bool first = kind == kAttnInput;
        normalise(inputs, stretch,
                  last    ? table_.output_norm
                  : first ? layer.attn_norm
                          : layer.ffn_norm,
                  last    ? table_.output_eps
                  : first ? table_.attn_eps
                          : table_.ffn_eps,
                  p == 0  ? nullptr
                  : first ? table_.down_sums
                          : table_.attn_output_sums,
                  first ? table_.down : table_.attn_output, first ? number - 1 : number);
      } else if (kind == kAttnOutput) {
        fill_joined(inputs, stretch, number);
      } else {
        fill_hidden(inputs, stretch, number);
      }

      auto* const records = at<float>(at_.records);
      const InputPlanes planes{inputs.planes, inputs.stride, inputs.totals};
      int32_t used = 0;
#pragma unroll 1
      for (int32_t i = 0; i < num_products; ++i) {
        multiply(stream, *product[i].cut, planes, records + used * 16);
        used += product[i].cut->row_tiles + kWarps;
      }
      __syncthreads();
      DecodeLine* const out = kind == kAttnInput    ? table_.qkv_sums
                              : kind == kAttnOutput ? table_.attn_output_sums
                              : kind == kGateUp     ? table_.gate_up_sums
                                                    : table_.down_sums;
      used = 0;
#pragma unroll 1
      for (int32_t i = 0; i < num_products; ++i, ++product) {
        for_sums(*product->cut, records + used * 16, *inputs.scale,
                 [&](int32_t row, const float2& sum, int32_t slot, int32_t nobodys) {
                   if (last) {
                     *reinterpret_cast<float2*>(logits_ + row) = sum;
                     return;
                   }
                   DecodeLine* line = out + (int64_t{slot} * matmul.rows + row) / 2;
                   send(line, sum.x, sum.y, number);
#pragma unroll 1
                   for (int32_t s = 0; s < nobodys; ++s) send(line += matmul.rows / 2, 0.0f, 0.0f, number);
                 });
        used += product->cut->row_tiles + kWarps;
      }
    }
  }

 private:
  template <class T>
  __device__ __forceinline__ T* at(uint32_t offset) const {
    return reinterpret_cast<T*>(shared_ + offset);
  }

  // Copies all that is small and asked for often.
  __device__ __forceinline__ void prepare(const DeviceStep& step, const float2* rope) {
    const auto thread = static_cast<int32_t>(threadIdx.x);
    for (int32_t i = thread; i < table_.num_shapes; i += kThreads) {
      const DecodeShape shape = table_.shapes[i];
      cut_shape(shape, shape.slots_a_group, cuts_[i]);
      cuts_[i].tile_warps = at<uchar2>(at_.tile_warps) + i * table_.max_records;
    }
    for (int32_t i = thread; i < table_.num_products; i += kThreads) {
      const DecodeProduct product = table_.products[i];
      products_[i] = {product.data, product.supers, cuts_ + product.shape};
    }
    const auto words =
        static_cast<int32_t>(static_cast<size_t>(table_.num_layers) * sizeof(DecodeLayer) / sizeof(uint32_t));
    for (int32_t i = thread; i < words; i += kThreads)
      reinterpret_cast<uint32_t*>(layers_)[i] = reinterpret_cast<const uint32_t*>(table_.layers)[i];
    for (int32_t i = thread; i < kHeadDim / 2; i += kThreads)
      token_.angles[i] = rope[int64_t{step.positions[0]} * (kHeadDim / 2) + i];
    if (thread == 0) {
      token_.slot = step.slot_mapping[0];
      token_.context = step.context_lens[0];
      token_.blocks = step.block_tables;
    }
    for (int32_t i = thread; i < table_.width; i += kThreads) residual_[i] = table_.embedding[i];
    __syncthreads();
    for (int32_t i = thread; i < table_.num_shapes * table_.max_records; i += kThreads) {
      const int32_t shape = i / table_.max_records, tile = i % table_.max_records;
      if (tile < cuts_[shape].row_tiles) cuts_[shape].tile_warps[tile] = warps_of(cuts_[shape], tile);
    }
    __syncthreads();
  }

  // Into L2, by one CTA, long before they are asked for: vectors that a layer needs at once.
  __device__ __forceinline__ void prefetch_layer(int32_t index) const {
    if (index >= table_.num_layers ||
        static_cast<int32_t>(blockIdx.x) != index % static_cast<int32_t>(gridDim.x))
      return;
    const DecodeLayer& layer = layers_[index];
    prefetch(layer.attn_norm, table_.width);
    prefetch(layer.ffn_norm, table_.width);
    if (layer.bias != nullptr) prefetch(layer.bias, table_.qkv.rows);
  }
  __device__ __forceinline__ static void prefetch(const float* vector, int32_t size) {
    for (int32_t i = static_cast<int32_t>(threadIdx.x) * 32; i < size; i += kThreads * 32)
      asm volatile("prefetch.global.L2 [%0];" ::"l"(vector + i));
  }

  struct Stretch {  // of columns that this CTA multiplies by
    int32_t begin, end;
  };
  __device__ __forceinline__ static Stretch stretch_of(const ShapeCut& cut) {
    const int32_t cols = cut.shape.dtype == DType::F16 ? 32 : 64;  // of a tile
    return {cut.share.col_begin * cols, cut.share.col_end * cols};
  }
  __device__ __forceinline__ static bool has_share(const Product* product, int32_t num_products) {
    bool any = false;
    for (int32_t i = 0; i < num_products; ++i) any |= product[i].cut->row_tiles > 0;
    return any;
  }
  __device__ __forceinline__ InputMemory input_memory(const DecodeMatmul& matmul) const {
    return {at<__half>(at_.inputs), decode_block_cols(matmul) + 16, at<__half>(at_.totals),
            at<float>(at_.scale),   at<float2>(at_.reduced),        at<float>(at_.staged)};
  }

  // n = RMSNorm(x), after x += sums (nullptr: nothing). Each thread keeps its columns of x.
  __device__ __forceinline__ void normalise(const InputMemory& inputs, const Stretch& stretch,
                                            const float* norm, float eps, const DecodeLine* sums,
                                            const DecodeMatmul& added, uint32_t number) const {
    const int32_t width = table_.width;
    fill_planes(
        inputs, 0, (width + 63) / 64 * 64, stretch.begin, stretch.end,
        [&](int32_t column, float& squares) {
          float4 v = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
          if (column >= width) return v;
          const float4 w = load_early4(norm + column);
          if (sums != nullptr) v = receive4(sums, added, column, number);
          auto* const x = reinterpret_cast<float4*>(residual_ + column);
          v = {x->x + v.x, x->y + v.y, x->z + v.z, x->w + v.w};
          *x = v;
          squares += v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
          return make_float4(v.x * w.x, v.y * w.y, v.z * w.z, v.w * w.w);
        },
        [&](float squares) { return 1.0f / sqrtf(squares / static_cast<float>(width) + eps); });
  }
  __device__ __forceinline__ void fill_joined(const InputMemory& inputs, const Stretch& stretch,
                                              uint32_t number) const {
    const int32_t splits = SplitPlan{table_.max_splits}.splits(token_.context);
    fill_planes(
        inputs, stretch.begin, stretch.end, stretch.begin, stretch.end,
        [&](int32_t column, float&) {
          if (column >= table_.attention.num_heads * kHeadDim) return make_float4(0.0f, 0.0f, 0.0f, 0.0f);
          return join_splits4<kHeadDim>(table_, splits, column, number);
        },
        [](float) { return 1.0f; });
  }
  __device__ __forceinline__ void fill_hidden(const InputMemory& inputs, const Stretch& stretch,
                                              uint32_t number) const {
    fill_planes(
        inputs, stretch.begin, stretch.end, stretch.begin, stretch.end,
        [&](int32_t column, float&) {
          if (column >= table_.ffn) return make_float4(0.0f, 0.0f, 0.0f, 0.0f);
          return receive_swiglu4(table_, column, number);
        },
        [](float) { return 1.0f; });
  }

  const DecodeTable& table_;
  float* const logits_;
  const uint32_t layers_run_;
  const Layout& at_;
  unsigned char* const shared_;
  ShapeCut* const cuts_;
  Product* const products_;
  DecodeLayer* const layers_;
  TokenMemory<kHeadDim>& token_;
  float* const residual_;
};

template <int kHeadDim, int kSlots>
__global__ void __launch_bounds__(kThreads, 1)
    decode_step_kernel(const __grid_constant__ DecodeTable table, const __grid_constant__ DeviceStep step,
                       const float2* rope, float* logits, uint32_t layers_run,
                       const __grid_constant__ Layout layout) {
  extern __shared__ __align__(128) unsigned char shared[];
  Step<kHeadDim, kSlots>(table, step, rope, logits, layers_run, layout, shared).run();
}

// Asked for once: every launch compares with it.
size_t shared_limit() {
  static const size_t limit = [] {
    int device = 0, bytes = 0;
    CUDA_CHECK(cudaGetDevice(&device));
    CUDA_CHECK(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
    return static_cast<size_t>(bytes);
  }();
  return limit;
}

template <int kHeadDim, int kSlots>
bool fits(const DecodeTable& table) {
  return layout_of<kHeadDim, kSlots>(table).bytes <= shared_limit();
}

template <int kHeadDim, int kSlots>
void start(const Launch& launch) {
  const auto kernel = decode_step_kernel<kHeadDim, kSlots>;
  [[maybe_unused]] static const bool raised = [&] {
    CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    static_cast<int>(shared_limit())));
    return true;
  }();
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<uint32_t>(launch.ctas));
  config.blockDim = dim3(kThreads);
  const Layout layout = layout_of<kHeadDim, kSlots>(launch.table);
  config.dynamicSmemBytes = layout.bytes;
  config.stream = launch.stream;
  cudaLaunchAttribute cooperative{};  // CTAs wait for each other: all must be resident
  cooperative.id = cudaLaunchAttributeCooperative;
  cooperative.val.cooperative = 1;
  config.attrs = &cooperative, config.numAttrs = 1;
  CUDA_CHECK(cudaLaunchKernelEx(&config, kernel, launch.table, launch.step, launch.rope, launch.logits,
                                launch.layers_run, layout));
}

}  // namespace

// Deep rings where they fit: look-ahead is what hides the waits.
bool fits(const DecodeTable& table) {
  return table.attention.head_dim == 64 ? fits<64, 2>(table) : fits<128, 2>(table);
}

void launch(const Launch& launch) {
  if (launch.table.attention.head_dim == 64) {
    fits<64, 3>(launch.table) ? start<64, 3>(launch) : start<64, 2>(launch);
  } else {
    fits<128, 3>(launch.table) ? start<128, 3>(launch) : start<128, 2>(launch);
  }
}

}  // namespace qwend::cuda::decode
