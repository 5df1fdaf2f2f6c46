// JSON text built directly, without a tree: cheap enough for one stream event a token.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "engine/text/value.h"

namespace qwend::json {

// Appends text as a JSON string with its quotes. The result is valid UTF-8 whatever the input: invalid
// sequences become U+FFFD.
void append_string(std::string& out, std::string_view text);
// Shortest form that reads back the same; infinities and NaN, which JSON lacks, become -9999 and 9999 and
// null.
void append_number(std::string& out, double number);
void append_number(std::string& out, float number);
void append_value(std::string& out, const Value& value);

// Appends to a string it does not own. Puts the commas; begin/end pairs and key/value order are the caller's
// business.
//   JsonWriter(out).begin_object().key("id").value(id).end_object();
class JsonWriter {
 public:
  explicit JsonWriter(std::string& out) : out_(&out) {}
  JsonWriter& begin_object() { return open('{'); }
  JsonWriter& end_object() { return close('}'); }
  JsonWriter& begin_array() { return open('['); }
  JsonWriter& end_array() { return close(']'); }
  JsonWriter& key(std::string_view name);

  JsonWriter& value(std::string_view text);
  JsonWriter& value(const char* text) { return text == nullptr ? null() : value(std::string_view(text)); }
  JsonWriter& value(const std::string& text) { return value(std::string_view(text)); }
  JsonWriter& value(bool flag) { return raw(flag ? "true" : "false"); }
  JsonWriter& value(int64_t number) { return raw(std::to_string(number)); }
  JsonWriter& value(uint64_t number) { return raw(std::to_string(number)); }
  JsonWriter& value(int32_t number) { return raw(std::to_string(number)); }
  JsonWriter& value(double number);
  JsonWriter& value(float number);
  JsonWriter& value(const Value& tree);
  JsonWriter& null() { return raw("null"); }
  JsonWriter& raw(std::string_view json);  // a complete JSON value

  template <class T>
  JsonWriter& member(std::string_view name, const T& v) {
    return key(name).value(v);
  }

 private:
  JsonWriter& open(char bracket);
  JsonWriter& close(char bracket);
  void separate();

  std::string* out_;
  bool need_comma_ = false;
};

}  // namespace qwend::json
