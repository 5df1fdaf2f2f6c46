// `qwend serve`: loads a model and serves it until SIGTERM or SIGINT.
#pragma once
#include "server/cli/options.h"

namespace qwend::cli {
// Returns an exit code. Throws LoadError.
int run_serve(const ServeOptions& options);
}  // namespace qwend::cli
