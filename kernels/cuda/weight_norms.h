// How large a matrix can make its outputs.
#pragma once
#include "kernels/cuda/weights.h"

namespace qwend::cuda {

// norms [2], zeroed: the largest L2 norm of rows [0, rows / 2) and of the others, of a matrix without
// experts. Reads the weights once.
void largest_row_norms(const CudaMatrix& matrix, float* norms, cudaStream_t stream);

}  // namespace qwend::cuda
