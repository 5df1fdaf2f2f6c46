// The kernel of a decode program: see decode_program.h for its phases. Instantiated for sets of block formats
// in files of their own, so that a model runs through code of its own formats alone: a phase of a small model
// is over before much code has been fetched.
#pragma once
#include "kernels/cuda/decode_attention.cuh"
#include "kernels/cuda/decode_inputs.cuh"
#include "kernels/cuda/decode_joined_row.cuh"
#include "kernels/cuda/decode_kernel.h"
#include "kernels/cuda/decode_producer.cuh"
#include "kernels/cuda/decode_product.cuh"

namespace qwend::cuda::decode {

inline constexpr int kCtaThreads = kThreads + kWarp;  // the last warp is the producer, from sm_90 on

template <int kHeadDim, class Formats>
class Step {
 public:
  __device__ Step(const DecodeTable& table, const DeviceStep& step, const float2* rope, float* logits,
                  uint32_t layers_run, const Layout& layout, unsigned char* shared)
      : table_(table),
        logits_(logits),
        layers_run_(layers_run),
        at_(layout),
        shared_(shared),
        rings_{at<Product>(layout.products),
               at<ShapeCut>(layout.cuts),
               table.maps,
               reinterpret_cast<std::byte*>(shared),
               at<uint64_t>(layout.barriers),
               table.num_products,
               layout.slots,
               table.slot_bytes,
               table.lanes_in_turn} {
    prepare(step, rope);
  }

  __device__ __forceinline__ void run() {
    if (warp_index() == kWarps) {
      if constexpr (kBulkCopies) Producer(rings_).run();
      return;
    }
    WeightStream stream(rings_);
    const Product* product = at<Product>(at_.products);
    const InputRow row = input_row();
#pragma unroll 1
    for (int32_t index = 0;; ++index) {
      const bool last = index == table_.num_layers;
      const DecodeLayer& layer = at<DecodeLayer>(at_.layers)[last ? index - 1 : index];
      const uint32_t number = layers_run_ + static_cast<uint32_t>(index) + 1;
#pragma unroll 1
      for (int kind = last ? kOutput : kQkv;; ++kind) {
        if (kind == kAttnOutput) {
          attend(layer, number, index);
          send_joined_row<kHeadDim>(table_, layer.row_parts[kind], splits(), number);
        }
        const int num_products = last ? table_.num_output_products : layer.num_products[kind];
        const bool normed = kind != kAttnOutput && kind != kDown;
        const bool idle = !normed && num_products == 1 && cut_of(*product).row_tiles == 0;
        if (!idle) {  // otherwise others have all of its tiles
          const uint8_t parts = last ? table_.output_row_parts : layer.row_parts[kind];
          fill_row(row, parts, kind, stretch_of(cut_of(*product)), layer, number, index);
          if (kind == kQkv) attention(layer, number).fetch();  // not before the row: it would wait behind
          // Here, beside what a product begins with: it waits for shared memory too.
          const float eps = last ? table_.output_eps : kind == kQkv ? table_.attn_eps : table_.ffn_eps;
          const float scale = normed ? rsqrtf(fmaf(sum_of_squares(row), table_.inverse_width, eps)) : 1.0f;
          multiply_all(stream, product, num_products, row);
          sync_workers();
          leave_sums(product, num_products, table_.matmuls[kind], last, scale, number);
          stream.refill();
        }
        product += num_products;
        if (last) return;
        if (kind == kDown) break;
      }
    }
  }

 private:
  template <class T>
  __device__ __forceinline__ T* at(uint32_t offset) const {
    return reinterpret_cast<T*>(shared_ + offset);
  }
  __device__ __forceinline__ const ShapeCut& cut_of(const Product& product) const {
    return at<ShapeCut>(at_.cuts)[product.cut];
  }
  __device__ __forceinline__ InputRow input_row() const {
    return {at<std::byte>(at_.bytes), at<RowGroup>(at_.groups), at<std::byte>(at_.halves),
            at<float>(at_.half_scales), at<float>(at_.squares)};
  }

  // Copies all that is small and asked for often.
  __device__ __forceinline__ void prepare(const DeviceStep& step, const float2* rope) {
    const auto thread = static_cast<int32_t>(threadIdx.x), threads = static_cast<int32_t>(blockDim.x);
    rings_.clear();
    if (thread < kSquares) at<float>(at_.squares)[thread] = 0.0f;
    auto* const cuts = at<ShapeCut>(at_.cuts);
    for (int32_t i = thread; i < table_.num_shapes; i += threads) {
      cut_shape(table_.shapes[i], cuts[i]);
      cuts[i].tile_sums = static_cast<uint32_t>(i * table_.max_records);
    }
    for (int32_t i = thread; i < table_.num_products; i += threads) {
      const DecodeProduct product = table_.products[i];
      at<Product>(at_.products)[i] = {product.data, product.supers, static_cast<uint32_t>(product.shape)};
      if constexpr (kBulkCopies) {
        if (table_.shapes[product.shape].dtype == DType::F16) acquire_map(table_.maps[i]);
      }
    }
    const auto words =
        static_cast<int32_t>(static_cast<size_t>(table_.num_layers) * sizeof(DecodeLayer) / sizeof(uint32_t));
    for (int32_t i = thread; i < words; i += threads)
      at<uint32_t>(at_.layers)[i] = reinterpret_cast<const uint32_t*>(table_.layers)[i];
    auto& token = *at<TokenMemory<kHeadDim>>(at_.token);
    for (int32_t i = thread; i < kHeadDim / 2; i += threads)
      token.angles[i] = rope[int64_t{step.positions[0]} * (kHeadDim / 2) + i];
    if (thread == 0) {
      token.slot = step.slot_mapping[0];
      token.context = step.context_lens[0];
      token.blocks = step.block_tables;
      token.splits = SplitPlan{table_.max_splits}.splits(token.context);
    }
    for (int32_t i = thread; i < table_.width; i += threads) at<float>(at_.residual)[i] = table_.embedding[i];
    __syncthreads();
    DecodeAttention<kHeadDim>::prepare(table_, token, *at<AttentionMemory<kHeadDim>>(at_.attention));
    for (int32_t i = thread; i < table_.num_shapes * table_.max_records; i += threads) {
      const int32_t shape = i / table_.max_records, tile = i % table_.max_records;
      if (tile < cuts[shape].row_tiles) at<TileSums>(at_.tile_sums)[i] = tile_sums(cuts[shape], tile);
    }
    __syncthreads();
  }

  __device__ __forceinline__ void attend(const DecodeLayer& layer, uint32_t number, int32_t index) const {
    attention(layer, number).run();
    prefetch_layer(index + 1);
  }
  __device__ __forceinline__ DecodeAttention<kHeadDim> attention(const DecodeLayer& layer,
                                                                 uint32_t number) const {
    return {table_, layer, number, *at<TokenMemory<kHeadDim>>(at_.token),
            *at<AttentionMemory<kHeadDim>>(at_.attention)};
  }

  // Into L2, by one CTA, long before they are asked for: vectors that a layer needs at once.
  __device__ __forceinline__ void prefetch_layer(int32_t index) const {
    if (index >= table_.num_layers ||
        static_cast<int32_t>(blockIdx.x) != index % static_cast<int32_t>(gridDim.x))
      return;
    const DecodeLayer& layer = at<DecodeLayer>(at_.layers)[index];
    prefetch(layer.attn_norm, table_.width);
    prefetch(layer.ffn_norm, table_.width);
    if (layer.bias != nullptr) prefetch(layer.bias, table_.matmuls[kQkv].rows);
  }
  __device__ __forceinline__ static void prefetch(const float* vector, int32_t size) {
    for (int32_t i = static_cast<int32_t>(threadIdx.x) * 32; i < size; i += kThreads * 32)
      asm volatile("prefetch.global.L2 [%0];" ::"l"(vector + i));
  }

  __device__ __forceinline__ int32_t splits() const { return at<TokenMemory<kHeadDim>>(at_.token)->splits; }

  struct Stretch {  // of columns that this CTA multiplies by
    uint32_t begin, end;
  };
  __device__ __forceinline__ static Stretch stretch_of(const ShapeCut& cut) {
    return {static_cast<uint32_t>(cut.share.col_begin * kTileCols),
            static_cast<uint32_t>(cut.share.col_end * kTileCols)};
  }

  // The input of a product: its stretch of columns, or all of them where their sum of squares is wanted.
  __device__ __forceinline__ void fill_row(const InputRow& row, uint8_t parts, int kind,
                                           const Stretch& stretch, const DecodeLayer& layer, uint32_t number,
                                           int32_t index) const {
    if (kind == kAttnOutput) {
      receive_joined_row(table_, row, parts, stretch.begin, stretch.end, number);
    } else if (kind == kDown) {
      const DecodeMatmul& m = table_.matmuls[kGateUp];
      fill(row, parts, stretch.begin, stretch.end, stretch.begin, stretch.end,
           HiddenSource{m.sums, static_cast<uint32_t>(table_.ffn), static_cast<uint32_t>(m.rows) / 2, m.slots,
                        number});
    } else {
      const DecodeMatmul& added = table_.matmuls[kind == kGateUp ? kAttnOutput : kDown];
      const float* const norm = kind == kOutput ? table_.output_norm
                                : kind == kQkv  ? layer.attn_norm
                                                : layer.ffn_norm;
      const auto width = static_cast<uint32_t>(table_.width);
      fill(row, parts, 0, (width + 63) / 64 * 64, stretch.begin, stretch.end,
           NormSource{at<float>(at_.residual), norm, width, index == 0 && kind == kQkv ? nullptr : added.sums,
                      static_cast<uint32_t>(added.rows) / 2, added.slots,
                      kind == kGateUp ? number : number - 1});
    }
  }

  __device__ __forceinline__ void multiply_all(WeightStream& stream, const Product* product, int num_products,
                                               const InputRow& row) const {
    float* records = at<float>(at_.records);
#pragma unroll 1
    for (int i = 0; i < num_products; ++i) {
      const ShapeCut& cut = cut_of(product[i]);
      multiply<Formats>(stream, cut, row, records);
      records += (cut.row_tiles + kWarps) * 16;
    }
  }

  __device__ __forceinline__ void leave_sums(const Product* product, int num_products,
                                             const DecodeMatmul& matmul, bool last, float scale,
                                             uint32_t number) const {
    const float* records = at<float>(at_.records);
#pragma unroll 1
    for (int i = 0; i < num_products; ++i) {
      const ShapeCut& cut = cut_of(product[i]);
      for_sums(cut, at<TileSums>(at_.tile_sums) + cut.tile_sums, records, scale,
               [&](const float2& sum, int32_t matrix_row, const TileSums& to) {
                 if (last) {
                   *reinterpret_cast<float2*>(logits_ + matrix_row) = sum;
                   return;
                 }
                 uint64_t* pair = matmul.sums + (to.slot * matmul.rows + matrix_row) / 2;
                 send(pair, sum.x, sum.y, number);
#pragma unroll 1
                 for (int s = 0; s < to.nobodys; ++s) send(pair += matmul.rows / 2, 0.0f, 0.0f, number);
               });
      records += (cut.row_tiles + kWarps) * 16;
    }
  }

  const DecodeTable& table_;
  float* const logits_;
  const uint32_t layers_run_;
  const Layout& at_;
  unsigned char* const shared_;
  const Rings rings_;
};

template <int kHeadDim, class Formats>
__global__ void __launch_bounds__(kCtaThreads, 1)
    decode_step_kernel(const __grid_constant__ DecodeTable table, const __grid_constant__ DeviceStep step,
                       const float2* rope, float* logits, uint32_t layers_run,
                       const __grid_constant__ Layout layout) {
  extern __shared__ __align__(kBoxAlignment) unsigned char shared[];
  Step<kHeadDim, Formats>(table, step, rope, logits, layers_run, layout, shared).run();
}

template <int kHeadDim, class Formats>
void start(const Launch& launch) {
  const auto kernel = decode_step_kernel<kHeadDim, Formats>;
  [[maybe_unused]] static const bool raised = [&] {
    CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    static_cast<int>(shared_limit())));
    return true;
  }();
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<uint32_t>(launch.ctas));
  config.blockDim = dim3(kCtaThreads);
  config.dynamicSmemBytes = launch.layout.size;
  config.stream = launch.stream;
  cudaLaunchAttribute cooperative{};  // CTAs wait for each other: all must be resident
  cooperative.id = cudaLaunchAttributeCooperative;
  cooperative.val.cooperative = 1;
  config.attrs = &cooperative, config.numAttrs = 1;
  CUDA_CHECK(cudaLaunchKernelEx(&config, kernel, launch.table, launch.step, launch.rope, launch.logits,
                                launch.layers_run, launch.layout));
}

template <class Formats>
void start(const Launch& launch) {
  launch.table.attention.head_dim == 64 ? start<64, Formats>(launch) : start<128, Formats>(launch);
}

}  // namespace qwend::cuda::decode
