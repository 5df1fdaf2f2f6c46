#include "engine/gguf/mapped_file.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <utility>

#include "engine/error.h"

namespace qwend::gguf {
namespace {

// ---- the SIGBUS guard. The handler may only touch lock-free atomics and memory that never goes away.

struct GuardSlot {
  std::atomic<bool> taken{false};
  std::atomic<uintptr_t> begin{0};
  std::atomic<uintptr_t> end{0};  // 0: not active
  std::array<char, 512> path{};
};

std::array<GuardSlot, 256> guard_slots;  // more shards than that are mapped without a guard
struct sigaction previous_action;

void write_all(const char* text, size_t size) {
  while (size > 0) {
    const ssize_t written = ::write(STDERR_FILENO, text, size);
    if (written <= 0) return;
    text += written;
    size -= static_cast<size_t>(written);
  }
}

void on_sigbus(int, siginfo_t* info, void*) {
  const auto address = reinterpret_cast<uintptr_t>(info->si_addr);
  for (const GuardSlot& slot : guard_slots) {
    if (address < slot.begin.load() || address >= slot.end.load()) continue;
    static constexpr char kWhat[] = ": the file was truncated or became unreadable while it was in use\n";
    write_all(slot.path.data(), std::strlen(slot.path.data()));
    write_all(kWhat, sizeof kWhat - 1);
    ::_exit(65);
  }
  ::sigaction(SIGBUS, &previous_action, nullptr);  // not ours: the access is repeated under the old action
}

void install_guard() {
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction action = {};
    action.sa_sigaction = on_sigbus;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    ::sigemptyset(&action.sa_mask);
    ::sigaction(SIGBUS, &action, &previous_action);
  });
}

int guard(std::span<const std::byte> bytes, const std::string& path) {
  install_guard();
  for (size_t i = 0; i < guard_slots.size(); ++i) {
    GuardSlot& slot = guard_slots[i];
    if (slot.taken.exchange(true)) continue;
    slot.path.fill('\0');
    path.copy(slot.path.data(), slot.path.size() - 1);
    const auto begin = reinterpret_cast<uintptr_t>(bytes.data());
    slot.begin = begin;
    slot.end = begin + bytes.size();
    return static_cast<int>(i);
  }
  return -1;
}

void unguard(int slot) {
  if (slot < 0) return;
  guard_slots[slot].end = 0;
  guard_slots[slot].taken = false;
}

// ---- opening

struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

[[noreturn]] void fail(const std::string& path, const std::string& what) {
  throw LoadError(path + ": " + what);
}

size_t size_of_regular_file(int fd, const std::string& path) {
  struct stat status = {};
  if (::fstat(fd, &status) != 0) fail(path, std::string("cannot be examined: ") + std::strerror(errno));
  if (S_ISDIR(status.st_mode)) fail(path, "is a directory, not a GGUF file");
  if (S_ISFIFO(status.st_mode))
    fail(path, "is a FIFO; a model must be a regular file, so that it can be mapped");
  if (!S_ISREG(status.st_mode)) fail(path, "is not a regular file");
  if (status.st_size == 0) fail(path, "is empty (0 bytes), not a GGUF file");
  return static_cast<size_t>(status.st_size);
}

}  // namespace

MappedFile::MappedFile(const std::string& path) {
  // O_NONBLOCK: opening a FIFO without a writer would wait for ever.
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.fd < 0) fail(path, std::string("cannot be opened: ") + std::strerror(errno));
  const size_t size = size_of_regular_file(file.fd, path);
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, file.fd, 0);
  if (address == MAP_FAILED) fail(path, std::string("cannot be mapped: ") + std::strerror(errno));
  bytes_ = {static_cast<const std::byte*>(address), size};
  guard_slot_ = guard(bytes_, path);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : bytes_(std::exchange(other.bytes_, {})), guard_slot_(std::exchange(other.guard_slot_, -1)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  std::swap(guard_slot_, other.guard_slot_);
  return *this;
}

MappedFile::~MappedFile() {
  unguard(guard_slot_);
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

}  // namespace qwend::gguf
