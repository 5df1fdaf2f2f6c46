// A file mapped into memory, read-only.
#pragma once
#include <cstddef>
#include <span>
#include <string>

namespace qwend::gguf {

// Owns one mapping of a whole regular file; the descriptor is closed at once. Movable, immutable, any thread.
//
// Reading a page that the file no longer has (it was truncated, or its disk failed) raises SIGBUS. The first
// mapping therefore installs a handler: for an address in one of our mappings it prints one line that names
// the file and ends the process with exit code 65; any other SIGBUS goes to the handler that was there
// before.
class MappedFile {
 public:
  // Throws LoadError: missing, unreadable, a directory, a FIFO or another thing that is not a regular file,
  // empty.
  explicit MappedFile(const std::string& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::span<const std::byte> bytes_;
  int guard_slot_ = -1;
};

}  // namespace qwend::gguf
