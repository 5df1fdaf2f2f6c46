// Where the reference data is: the folder named when the build was configured, or by the environment variable
// of the same name, for machines that only run the tests.
#pragma once
#include <cstdlib>
#include <filesystem>

namespace qwend::test {

inline std::filesystem::path reference_data() {
  const char* elsewhere = std::getenv("QWEND_REFERENCE_DATA");
  return elsewhere != nullptr && *elsewhere != '\0' ? elsewhere : QWEND_REFERENCE_DATA;
}

}  // namespace qwend::test
