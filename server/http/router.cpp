#include "server/http/router.h"

#include <algorithm>
#include <optional>

#include "kernels/check.h"

namespace qwend::http {

namespace {

// "/v1/models" -> {"v1", "models"}; "/" -> {""}. A trailing slash gives a last empty segment.
std::vector<std::string_view> split(std::string_view path) {
  std::vector<std::string_view> segments;
  path.remove_prefix(1);
  for (;;) {
    const size_t slash = path.find('/');
    segments.push_back(path.substr(0, slash));
    if (slash == std::string_view::npos) return segments;
    path.remove_prefix(slash + 1);
  }
}

// What {name} parts matched, or nothing. The last part, if a parameter, takes all that is left.
std::optional<std::vector<std::string>> match_segments(const std::vector<std::string>& pattern, bool root,
                                                       const std::vector<std::string_view>& path) {
  if (root) {
    if (path.size() == 1 && path[0].empty()) return std::vector<std::string>();
    return std::nullopt;
  }
  const bool open_end = pattern.back().empty();
  if (path.size() < pattern.size() || (path.size() > pattern.size() && !open_end)) return std::nullopt;
  std::vector<std::string> params;
  for (size_t i = 0; i < pattern.size(); ++i) {
    if (!pattern[i].empty()) {
      if (pattern[i] != path[i]) return std::nullopt;
    } else {
      params.emplace_back(path[i]);
    }
  }
  for (size_t i = pattern.size(); i < path.size(); ++i) params.back().append("/").append(path[i]);
  return params;
}

}  // namespace

void Router::add(std::string method, const std::string& pattern, Handler handler, bool open) {
  CHECK(!pattern.empty() && pattern.front() == '/');
  Route route{std::move(method), {}, 0, std::move(handler), open};
  if (pattern != "/") {
    for (std::string_view segment : split(pattern)) {
      CHECK(!segment.empty());
      const bool param = segment.front() == '{' && segment.back() == '}';
      route.num_params += param ? 1 : 0;
      route.segments.emplace_back(param ? std::string_view() : segment);
    }
  }
  const auto more_literal = [](const Route& a, const Route& b) {
    if (a.num_params != b.num_params) return a.num_params < b.num_params;
    return a.segments.size() > b.segments.size();
  };
  routes_.insert(std::ranges::upper_bound(routes_, route, more_literal), std::move(route));
}

Router::Match Router::match(std::string_view method, std::string_view path) const {
  Match result;
  if (path.empty() || path.front() != '/') return result;
  const auto segments = split(path);
  const bool odd = std::ranges::any_of(segments, [&](std::string_view segment) {
    return segment == "." || segment == ".." || (segment.empty() && path != "/");
  });
  if (odd) return result;
  const auto allow = [&](std::string_view name) {
    if (result.allow.find(name) != std::string::npos) return;
    if (!result.allow.empty()) result.allow += ", ";
    result.allow += name;
  };
  for (const Route& route : routes_) {
    auto params = match_segments(route.segments, route.segments.empty(), segments);
    if (!params) continue;
    result.open = result.open || route.open;
    allow(route.method);
    if (route.method == "GET") allow("HEAD");
    const bool serves = route.method == method || (method == "HEAD" && route.method == "GET");
    if (serves && result.handler == nullptr) {
      result.handler = &route.handler;
      result.params = std::move(*params);
    }
  }
  return result;
}

}  // namespace qwend::http
