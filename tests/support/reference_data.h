// Where the project's sources and the reference data are: the folders named when the build was configured, or
// by the environment variables of the same names, for machines that only run the tests.
#pragma once
#include <cstdlib>
#include <filesystem>

namespace qwend::test {

inline std::filesystem::path folder_or(const char* variable, const char* configured) {
  const char* elsewhere = std::getenv(variable);
  return elsewhere != nullptr && *elsewhere != '\0' ? elsewhere : configured;
}

inline std::filesystem::path reference_data() {
  return folder_or("QWEND_REFERENCE_DATA", QWEND_REFERENCE_DATA);
}
inline std::filesystem::path source_folder() { return folder_or("QWEND_SOURCE_DIR", QWEND_SOURCE_DIR); }

}  // namespace qwend::test
