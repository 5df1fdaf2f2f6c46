// What the kernel says about this process.
#pragma once

namespace qwend {

struct ProcessStats {
  double resident_bytes = 0, virtual_bytes = 0;
  double cpu_seconds = 0;  // user and system
  double open_fds = 0, max_fds = 0;
  double threads = 0;
  double start_time = 0;  // unix seconds
};

// Reads /proc; what can't be read stays 0. Thread-safe; costs some microseconds and one more per open
// descriptor.
ProcessStats read_process_stats();

}  // namespace qwend
