namespace qwend { int kernels_layer = 0; }
