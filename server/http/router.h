// Maps method and path to handlers.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "server/http/http_server.h"

namespace qwend::http {

// Filled before the server runs, read-only (and so thread-safe) afterwards. Plain comparison of path
// segments: a few dozen routes need no tree, and regular expressions could be made to recurse by a long path.
class Router {
 public:
  struct Match {
    const Handler* handler = nullptr;  // null: unknown path (allow empty) or wrong method
    bool open = false;                 // the path is a health route
    std::vector<std::string> params;
    std::string allow;  // methods of this path: "GET, HEAD"; empty: unknown path
  };

  void add(std::string method, const std::string& pattern, Handler handler, bool open);
  // HEAD is served by GET's handler. Paths with empty, "." or ".." segments match nothing.
  Match match(std::string_view method, std::string_view path) const;

 private:
  struct Route {
    std::string method;
    std::vector<std::string> segments;  // "" stands for a parameter
    size_t num_params = 0;
    Handler handler;
    bool open = false;
  };
  std::vector<Route> routes_;  // more literal patterns first, so that they win over {name}
};

}  // namespace qwend::http
