namespace qwend { int server_layer = 0; }
