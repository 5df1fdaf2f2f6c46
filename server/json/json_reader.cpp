#include "server/json/json_reader.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <vector>

namespace qwend::json {
namespace {

// nlohmann's event parser is iterative, so depth costs no stack here; the caps keep the tree that we build
// safe to copy and destroy recursively.
class ValueBuilder final : public nlohmann::json_sax<nlohmann::json> {
 public:
  bool null() override { return scalar(Value{nullptr}); }
  bool boolean(bool v) override { return scalar(Value{v}); }
  bool number_integer(number_integer_t v) override { return scalar(Value{static_cast<int64_t>(v)}); }
  bool number_unsigned(number_unsigned_t v) override {
    constexpr auto kSignedMax = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
    return v <= kSignedMax ? scalar(Value{static_cast<int64_t>(v)}) : scalar(Value{static_cast<uint64_t>(v)});
  }
  bool number_float(number_float_t v, const string_t&) override {
    return scalar(Value{static_cast<double>(v)});
  }
  bool string(string_t& v) override { return scalar(Value{std::move(v)}); }
  bool binary(binary_t&) override { return false; }  // JSON text has none

  bool start_object(size_t) override { return open(Value{ValueObject{}}); }
  bool start_array(size_t) override { return open(Value{ValueArray{}}); }
  bool key(string_t& name) override {
    std::get<ValueObject>(open_.back().data).emplace_back(std::move(name), Value{});
    return true;
  }
  bool end_object() override {
    if (const std::string* twice = duplicate_key(std::get<ValueObject>(open_.back().data)))
      return fail("duplicate key \"" + twice->substr(0, 64) + "\"");
    return close();
  }
  bool end_array() override { return close(); }

  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception& e) override {
    // "[json.exception.parse_error.101] parse error at line 1, column 2: WHAT; last read: 'BYTES'": keep
    // WHAT.
    std::string_view what = e.what();
    if (const size_t colon = what.find(": "); colon != what.npos) what.remove_prefix(colon + 2);
    if (const size_t semicolon = what.find("; last read"); semicolon != what.npos)
      what = what.substr(0, semicolon);
    if (e.id == 406) what = "number out of range";
    return fail(std::string(what) + " (byte " + std::to_string(position) + ")");
  }

  Value take_root() { return std::move(root_); }
  const std::string& error() const { return error_; }

 private:
  bool fail(std::string what) {
    error_ = "The request body is not valid JSON: " + std::move(what) + ".";
    return false;
  }

  bool count() {
    return ++values_ <= kMaxValues || fail("more than " + std::to_string(kMaxValues) + " values");
  }

  bool scalar(Value value) {
    if (!count()) return false;
    place(std::move(value));
    return true;
  }

  bool open(Value container) {
    if (!count()) return false;
    if (open_.size() >= kMaxDepth) return fail("nested deeper than " + std::to_string(kMaxDepth) + " levels");
    open_.push_back(std::move(container));
    return true;
  }

  bool close() {
    Value done = std::move(open_.back());
    open_.pop_back();
    place(std::move(done));
    return true;
  }

  void place(Value value) {
    if (open_.empty()) {
      root_ = std::move(value);
    } else if (auto* array = std::get_if<ValueArray>(&open_.back().data)) {
      array->push_back(std::move(value));
    } else {
      std::get<ValueObject>(open_.back().data).back().second = std::move(value);
    }
  }

  // By sorting: a hash set could be made quadratic by chosen keys.
  static const std::string* duplicate_key(const ValueObject& object) {
    if (object.size() < 2) return nullptr;
    std::vector<const std::string*> keys;
    keys.reserve(object.size());
    for (const auto& member : object) keys.push_back(&member.first);
    std::sort(keys.begin(), keys.end(), [](auto* a, auto* b) { return *a < *b; });
    const auto twice =
        std::adjacent_find(keys.begin(), keys.end(), [](auto* a, auto* b) { return *a == *b; });
    return twice == keys.end() ? nullptr : *twice;
  }

  std::vector<Value> open_;  // containers not yet closed, outermost first
  Value root_;
  size_t values_ = 0;
  std::string error_;
};

}  // namespace

Result<Value, ParseError> parse(std::string_view text) {
  // nlohmann takes a NUL for the end of the text; JSON has none anywhere.
  if (const size_t nul = text.find('\0'); nul != text.npos)
    return "The request body is not valid JSON: NUL (byte " + std::to_string(nul + 1) + ").";
  ValueBuilder builder;
  if (nlohmann::json::sax_parse(text.begin(), text.end(), &builder)) return builder.take_root();
  return builder.error();
}

}  // namespace qwend::json
