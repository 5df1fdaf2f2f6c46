#include "server/process_stats.h"

#include <sys/resource.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <system_error>

namespace qwend {

namespace {

// Unix time of the machine's start, from /proc/stat.
double boot_time() {
  std::ifstream file("/proc/stat");
  for (std::string name; file >> name;) {
    double value = 0;
    if (name == "btime" && file >> value) return value;
    std::getline(file, name);
  }
  return 0;
}

}  // namespace

ProcessStats read_process_stats() {
  ProcessStats stats;
  std::string line;
  if (std::ifstream file("/proc/self/stat"); std::getline(file, line)) {
    // pid (name) state …: the name may contain anything, so fields are counted from its closing bracket
    // (proc(5)).
    std::istringstream fields(line.substr(line.rfind(')') + 1));
    std::string field;
    for (int number = 3; number <= 24 && fields >> field; ++number) {
      const double value = number > 3 ? std::strtod(field.c_str(), nullptr) : 0;
      if (number == 20) stats.threads = value;
      if (number == 22) stats.start_time = boot_time() + value / static_cast<double>(::sysconf(_SC_CLK_TCK));
      if (number == 23) stats.virtual_bytes = value;
      if (number == 24) stats.resident_bytes = value * static_cast<double>(::sysconf(_SC_PAGESIZE));
    }
  }
  rusage usage{};
  if (::getrusage(RUSAGE_SELF, &usage) == 0) {
    const auto seconds = [](const timeval& time) {
      return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
    };
    stats.cpu_seconds = seconds(usage.ru_utime) + seconds(usage.ru_stime);
  }
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) stats.max_fds = static_cast<double>(limit.rlim_cur);
  std::error_code error;
  for (std::filesystem::directory_iterator it("/proc/self/fd", error), end; !error && it != end;
       it.increment(error)) {
    ++stats.open_fds;
  }
  return stats;
}

}  // namespace qwend
