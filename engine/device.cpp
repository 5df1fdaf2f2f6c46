#include "engine/device.h"

#include <charconv>

namespace qwend {
namespace {

std::string describe(std::span<const CudaDeviceInfo> usable) {
  std::string text;
  for (const CudaDeviceInfo& device : usable) {
    text += (text.empty() ? "" : ", ") + ("cuda:" + std::to_string(device.index)) + " (" + device.name + ")";
  }
  return text;
}

[[noreturn]] void refuse(const DeviceChoice& choice, std::span<const CudaDeviceInfo> usable) {
  const std::string asked = choice.index ? "cuda:" + std::to_string(*choice.index) : "cuda";
  if (!usable.empty())
    throw DeviceError("device " + asked + ": not usable; usable here: " + describe(usable));
  throw DeviceError("device " + asked +
                    ": no usable CUDA device; it takes an NVIDIA GPU of compute capability 8.0 or newer, its "
                    "driver, and a build with CUDA (--device cpu runs without)");
}

}  // namespace

std::optional<DeviceChoice> DeviceChoice::parse(std::string_view text) {
  if (text == "auto") return DeviceChoice{Kind::Auto, {}};
  if (text == "cpu") return DeviceChoice{Kind::Cpu, {}};
  if (text == "cuda") return DeviceChoice{Kind::Cuda, {}};
  constexpr std::string_view kPrefix = "cuda:";
  if (!text.starts_with(kPrefix)) return std::nullopt;
  int32_t index = -1;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data() + kPrefix.size(), end, index);
  if (error != std::errc() || rest != end || index < 0) return std::nullopt;
  return DeviceChoice{Kind::Cuda, index};
}

std::string Device::label() const { return cuda ? "cuda:" + std::to_string(cuda->index) : "cpu"; }

Device find_device(const DeviceChoice& choice, std::span<const CudaDeviceInfo> usable) {
  if (choice.kind == DeviceChoice::Kind::Cpu) return {};
  for (const CudaDeviceInfo& device : usable) {
    if (!choice.index || *choice.index == device.index) return {device};
  }
  if (choice.kind == DeviceChoice::Kind::Auto) return {};
  refuse(choice, usable);
}

Device find_device(const DeviceChoice& choice) {
  if (choice.kind == DeviceChoice::Kind::Cpu) return {};  // no CUDA context for a run on the CPU
  return find_device(choice, cuda_devices());
}

std::unique_ptr<Backend> make_backend(const Device& device, const BackendLimits& limits) {
  if (!device.is_cuda()) return make_cpu_backend(limits.max_tokens, limits.max_logit_rows, limits.threads);
  try {
    return make_cuda_backend(device.cuda->index, limits.max_tokens, limits.max_logit_rows);
  } catch (const std::runtime_error& error) {
    throw DeviceError(device.label() + " (" + device.cuda->name + "): " + error.what());
  }
}

}  // namespace qwend
