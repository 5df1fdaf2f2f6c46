#include "server/json/json_writer.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "engine/text/detokenizer.h"

namespace qwend::json {
namespace {

void append_escaped(std::string& out, std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  for (const char c : text) {
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      default:
        if (const auto byte = static_cast<unsigned char>(c); byte < 0x20 || byte == 0x7f) {
          out += "\\u00";
          out += kHex[byte >> 4];
          out += kHex[byte & 15];
        } else {
          out += c;
        }
    }
  }
}

template <class T>
void append_finite_number(std::string& out, T number) {
  if (std::isnan(number)) {
    out += "null";
  } else if (std::isinf(number)) {
    out += number < 0 ? "-9999" : "9999";
  } else {
    char buffer[64];
    const auto end = std::to_chars(buffer, buffer + sizeof buffer, number).ptr;
    out.append(buffer, end);
  }
}

}  // namespace

void append_string(std::string& out, std::string_view text) {
  const bool ascii =
      std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
  out += '"';
  if (ascii) {
    append_escaped(out, text);
  } else {
    append_escaped(out, sanitize_utf8(text));
  }
  out += '"';
}

void append_number(std::string& out, double number) { append_finite_number(out, number); }
void append_number(std::string& out, float number) { append_finite_number(out, number); }

void append_value(std::string& out, const Value& value) {
  JsonWriter writer(out);
  if (const auto* flag = std::get_if<bool>(&value.data)) {
    writer.value(*flag);
  } else if (const auto* integer = std::get_if<int64_t>(&value.data)) {
    writer.value(*integer);
  } else if (const auto* large = std::get_if<uint64_t>(&value.data)) {
    writer.value(*large);
  } else if (const auto* d = std::get_if<double>(&value.data)) {
    writer.value(*d);
  } else if (const auto* s = std::get_if<std::string>(&value.data)) {
    writer.value(*s);
  } else if (const auto* array = std::get_if<ValueArray>(&value.data)) {
    out += '[';
    for (size_t i = 0; i < array->size(); ++i) {
      if (i > 0) out += ',';
      append_value(out, (*array)[i]);
    }
    out += ']';
  } else if (const auto* object = std::get_if<ValueObject>(&value.data)) {
    out += '{';
    for (size_t i = 0; i < object->size(); ++i) {
      if (i > 0) out += ',';
      append_string(out, (*object)[i].first);
      out += ':';
      append_value(out, (*object)[i].second);
    }
    out += '}';
  } else {
    writer.null();
  }
}

void JsonWriter::separate() {
  if (need_comma_) *out_ += ',';
  need_comma_ = true;
}

JsonWriter& JsonWriter::open(char bracket) {
  separate();
  *out_ += bracket;
  need_comma_ = false;
  return *this;
}

JsonWriter& JsonWriter::close(char bracket) {
  *out_ += bracket;
  need_comma_ = true;
  return *this;
}

JsonWriter& JsonWriter::key(std::string_view name) {
  separate();
  append_string(*out_, name);
  *out_ += ':';
  need_comma_ = false;
  return *this;
}

JsonWriter& JsonWriter::value(std::string_view text) {
  separate();
  append_string(*out_, text);
  return *this;
}

JsonWriter& JsonWriter::value(double number) {
  separate();
  append_number(*out_, number);
  return *this;
}

JsonWriter& JsonWriter::value(float number) {
  separate();
  append_number(*out_, number);
  return *this;
}

JsonWriter& JsonWriter::value(const Value& tree) {
  separate();
  append_value(*out_, tree);
  return *this;
}

JsonWriter& JsonWriter::raw(std::string_view json) {
  separate();
  *out_ += json;
  return *this;
}

}  // namespace qwend::json
