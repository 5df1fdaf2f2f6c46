// Where a model runs. The one place that makes backends.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

#include "kernels/backend.h"

namespace qwend {

// A device that was asked for can't be used. what() is one line; main prints it and exits with 69.
class DeviceError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// What a setting says: "auto" (the first usable CUDA device, else the CPU), "cpu", "cuda" (the first usable
// one), "cuda:1".
struct DeviceChoice {
  enum class Kind : uint8_t { Auto, Cpu, Cuda } kind = Kind::Auto;
  std::optional<int32_t> index;  // of a CUDA device, where it is named

  static std::optional<DeviceChoice> parse(std::string_view text);  // nothing for any other text
};

// A device of this machine.
struct Device {
  std::optional<CudaDeviceInfo> cuda;  // none: the CPU
  bool is_cuda() const { return cuda.has_value(); }
  std::string label() const;  // "cpu", "cuda:0"
};
// Throws DeviceError when what was asked for is not there. `usable`: what cuda_devices() returned.
Device find_device(const DeviceChoice& choice, std::span<const CudaDeviceInfo> usable);
Device find_device(const DeviceChoice& choice);

struct BackendLimits {
  int32_t max_tokens = 0;      // of a step
  int32_t max_logit_rows = 0;  // of a step
  int32_t threads = 0;         // of the CPU; 0: one a core
};
// Throws DeviceError when the device fails to start, std::bad_alloc when the host's memory is short.
std::unique_ptr<Backend> make_backend(const Device& device, const BackendLimits& limits);

}  // namespace qwend
