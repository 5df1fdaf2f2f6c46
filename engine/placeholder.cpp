namespace qwend { int engine_layer = 0; }
