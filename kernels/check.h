// CHECK: an invariant that stays on in release builds. A failure is a bug in qwend, never a client's
// mistake (that is a Result) nor a bad file (that is a LoadError).
#pragma once
#include <cstdio>
#include <cstdlib>

#define CHECK(condition)                                                                            \
  do {                                                                                              \
    if (!(condition)) [[unlikely]] {                                                                \
      std::fprintf(stderr, "%s:%d: broken invariant: %s\n", __FILE__, __LINE__, #condition);        \
      std::abort();                                                                                 \
    }                                                                                               \
  } while (false)
