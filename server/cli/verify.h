// `qwend verify`: the self-check as a table or as JSON.
#pragma once
#include <iosfwd>
#include <string>

#include "engine/verify/report.h"

namespace qwend::cli {

struct VerifyOptions {
  std::string model;              // empty: the embedded demo model
  std::string device = "auto";    // auto, cpu, cuda, cuda:N
  std::string kv_dtype = "auto";  // of the device's cache: auto, f16, f32
  int threads = 0;
  bool json = false;
  bool full = false;   // every row of every tensor, however large the model
  std::string prompt;  // empty: built-in texts
};

// Returns an exit code: 0 when everything is within its tolerance, 1 when not, 69 when there is no such
// device. Throws LoadError.
int run_verify(const VerifyOptions& options, std::ostream& out);

// One line a stage; `colour` marks the first that failed in red.
void print_verify_report(const verify::Report& report, bool colour, std::ostream& out);
std::string verify_report_json(const verify::Report& report);

}  // namespace qwend::cli
