#include "kernels/cuda/matmul_skinny.cuh"

namespace qwend::cuda {
namespace skinny {
namespace {

// FP32 weights (routers, mostly): one warp a row, tokens in turn, everything in FP32.
__global__ void __launch_bounds__(256) float_kernel(const Args args) {
  const int lane = threadIdx.x % 32;
  const int64_t row = int64_t{blockIdx.x} * (blockDim.x / 32) + threadIdx.x / 32;
  if (row >= args.out_rows) return;
  const bool by_expert = args.pairs.offsets != nullptr;
  const int64_t expert = blockIdx.y, width = padded_width(args.part.cols);
  const int first = by_expert ? args.pairs.offsets[expert] : 0;
  const int last = by_expert ? args.pairs.offsets[expert + 1] : args.num_tokens;
  const float* const weights =
      reinterpret_cast<const float*>(args.part.data) + expert * args.part.rows * width;
  for (int t = first; t < last; ++t) {
    const int64_t from = args.input_row(t), at = from * args.in.stride;
    const __half* const x = args.in.rows + at;
    const __half* const low = args.in.low != nullptr ? args.in.low + at : nullptr;
    const auto dot = [&](int64_t r) {
      float sum = 0.0f;
      for (int64_t i = lane; i < args.part.cols; i += 32) {
        float v = __half2float(x[i]);
        if (low != nullptr) v += __half2float(low[i]);
        sum = fmaf(weights[r * width + i], v, sum);
      }
      for (int d = 16; d > 0; d /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, d);
      return args.in.scale != nullptr ? sum * args.in.scale[from] : sum;
    };
    const float y = dot(row);
    const bool paired = args.epilogue == Epilogue::SwiGlu;
    const float up = paired ? dot(args.up_row + row) : 0.0f;
    if (lane != 0) continue;
    const int64_t to = args.output_row(t);
    float* const out = args.out.data + to * args.out.stride + args.part.first_row + row;
    if (paired) {
      const float h = y / (1.0f + __expf(-y)) * up;
      *out = h;
      if (args.out.row_max != nullptr) atomicMax(args.out.row_max + to, __float_as_uint(fabsf(h)));
    } else {
      *out = args.epilogue == Epilogue::Add ? *out + y : y;
    }
  }
}

void launch_part(const Args& args, cudaStream_t stream) {
  switch (args.part.dtype) {
    case DType::F32: return launch_float(args, stream);
    case DType::F16: return launch_half(args, stream);
    default: break;
  }
  format_info(args.part.dtype).block_elements == 32 ? launch_blocks_of_32(args, stream)
                                                    : launch_blocks_of_256(args, stream);
}

// SwiGLU needs gate and up rows in one part, up starting at a whole tile: what neighbours of one format
// become.
bool pairs_up(const CudaMatrix& w) {
  return w.parts().size() == 1 && (w.parts()[0].dtype == DType::F32 || w.rows() / 2 % kTileRows == 0);
}

void run(const CudaMatrix& w, Args args, cudaStream_t stream) {
  if (args.epilogue == Epilogue::SwiGlu) {
    CHECK(pairs_up(w) && args.in.low == nullptr);
    args.part = w.parts()[0];
    args.up_row = args.out_rows = w.rows() / 2;
    return launch_part(args, stream);
  }
  for (const WeightPart& part : w.parts()) {
    args.part = part;
    args.out_rows = part.rows;
    launch_part(args, stream);
  }
}

}  // namespace

void launch_half(const Args& args, cudaStream_t stream) { launch<HalfFormat>(args, stream); }

void launch_float(const Args& args, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>((args.out_rows + 7) / 8),
                  args.pairs.offsets != nullptr ? static_cast<unsigned>(args.pairs.num_experts) : 1u);
  float_kernel<<<grid, 256, 0, stream>>>(args);
  CUDA_CHECK_LAUNCH();
}

}  // namespace skinny

bool skinny_serves(const CudaMatrix& w, Epilogue epilogue) {
  return epilogue != Epilogue::SwiGlu || skinny::pairs_up(w);
}

void matmul_skinny(const CudaMatrix& w, const HalfRows& in, int32_t num_tokens, Epilogue epilogue,
                   const MatmulOut& out, cudaStream_t stream) {
  CHECK(num_tokens > 0 && num_tokens <= kMaxSkinnyRows && in.stride >= padded_width(w.cols()));
  skinny::Args args;
  args.in = in, args.epilogue = epilogue, args.out = out, args.num_tokens = num_tokens;
  skinny::run(w, args, stream);
}

void matmul_experts(const CudaMatrix& w, const HalfRows& in, const ExpertPairs& pairs, Epilogue epilogue,
                    const MatmulOut& out, cudaStream_t stream) {
  CHECK(pairs.num_experts == w.experts() && in.stride >= padded_width(w.cols()));
  skinny::Args args;
  args.in = in, args.epilogue = epilogue, args.out = out, args.pairs = pairs;
  skinny::run(w, args, stream);
}

}  // namespace qwend::cuda
