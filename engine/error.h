// The two kinds of failure that are not bugs: a bad file or setting (LoadError, thrown) and a client's
// mistake (Result, returned).
#pragma once
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>

#include "kernels/check.h"

namespace qwend {

// A file or setting that can't be used. what() is one line: file, section, offset or key, what, got, allowed.
// main prints it and exits with 65.
class LoadError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Either a value or an error; reading the wrong one is a broken invariant.
template <class T, class E>
class Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(E error) : state_(std::in_place_index<1>, std::move(error)) {}
  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }
  T& value() & { CHECK(ok()); return std::get<0>(state_); }
  const T& value() const& { CHECK(ok()); return std::get<0>(state_); }
  T&& value() && { CHECK(ok()); return std::get<0>(std::move(state_)); }
  const E& error() const { CHECK(!ok()); return std::get<1>(state_); }

 private:
  std::variant<T, E> state_;
};

}  // namespace qwend
