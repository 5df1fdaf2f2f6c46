#include "engine/text/value.h"

#include <utf8proc.h>

#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>

namespace qwend {
namespace {

// Shortest digits that read back as the same number; exponent form below 1e-4 and from 1e16 on.
std::string python_float(double value) {
  char scientific[40] = {};  // [-]d[.ddd]e[+-]dd, and a NUL
  const auto end =
      std::to_chars(scientific, scientific + sizeof scientific, value, std::chars_format::scientific).ptr;
  const std::string_view text(scientific, static_cast<size_t>(end - scientific));
  const size_t e = text.find('e');
  const int exponent = std::atoi(scientific + e + 1);
  std::string digits(text.substr(0, e));
  std::string sign;
  if (digits.front() == '-') {
    sign = "-";
    digits.erase(0, 1);
  }
  if (exponent < -4 || exponent >= 16) {
    char suffix[16];
    std::snprintf(suffix, sizeof suffix, "e%c%02d", exponent < 0 ? '-' : '+', std::abs(exponent));
    return sign + digits + suffix;
  }
  std::erase(digits, '.');
  if (exponent < 0) return sign + "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  const auto point = static_cast<size_t>(exponent) + 1;
  if (digits.size() <= point) return sign + digits + std::string(point - digits.size(), '0') + ".0";
  return sign + digits.insert(point, ".");
}

std::string number_text(double value, const char* nan, const char* infinity) {
  if (std::isnan(value)) return nan;
  if (std::isinf(value)) return value < 0 ? std::string("-") + infinity : infinity;
  return python_float(value);
}

std::string json_string(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      case '\b': out += "\\b"; break;
      case '\f': out += "\\f"; break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          char escape[8];
          std::snprintf(escape, sizeof escape, "\\u%04x", c);
          out += escape;
        } else {
          out += c;
        }
    }
  }
  return out + '"';
}

// str.isprintable(): everything but the categories Other and Separator, of which only the space counts.
bool is_printable(utf8proc_int32_t code_point) {
  if (code_point == ' ') return true;
  switch (utf8proc_category(code_point)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP: return false;
    default: return true;
  }
}

std::string repr_escape(utf8proc_int32_t code_point) {
  switch (code_point) {
    case '\n': return "\\n";
    case '\r': return "\\r";
    case '\t': return "\\t";
    case '\\': return "\\\\";
  }
  char escape[16];
  const char* format = code_point < 0x100 ? "\\x%02x" : code_point < 0x10000 ? "\\u%04x" : "\\U%08x";
  std::snprintf(escape, sizeof escape, format, static_cast<unsigned>(code_point));
  return escape;
}

std::string repr_string(std::string_view text) {
  const bool double_quotes = text.find('\'') != text.npos && text.find('"') == text.npos;
  const char quote = double_quotes ? '"' : '\'';
  std::string out(1, quote);
  for (size_t i = 0; i < text.size();) {
    utf8proc_int32_t code_point = 0;
    const utf8proc_ssize_t length =
        utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()) + i,
                         static_cast<utf8proc_ssize_t>(text.size() - i), &code_point);
    if (length < 1) {  // not UTF-8: Python has no such strings; shown byte by byte
      out += repr_escape(static_cast<unsigned char>(text[i++]));
      continue;
    }
    if (code_point == quote) {
      out += '\\';
      out += quote;
    } else if (code_point == '\\' || !is_printable(code_point)) {
      out += repr_escape(code_point);
    } else {
      out += text.substr(i, static_cast<size_t>(length));
    }
    i += static_cast<size_t>(length);
  }
  return out + quote;
}

// Both notations walk the tree in the same way; they differ in their words and in how they quote.
struct Notation {
  const char *null, *yes, *no, *nan, *infinity;
  std::string (*quote)(std::string_view);
};
constexpr Notation kJson = {"null", "true", "false", "NaN", "Infinity", json_string};
constexpr Notation kRepr = {"None", "True", "False", "nan", "inf", repr_string};

void write(const Value& value, const Notation& notation, std::string& out);

struct Writer {
  const Notation& notation;
  std::string& out;

  void operator()(std::nullptr_t) const { out += notation.null; }
  void operator()(bool value) const { out += value ? notation.yes : notation.no; }
  void operator()(int64_t value) const { out += std::to_string(value); }
  void operator()(uint64_t value) const { out += std::to_string(value); }
  void operator()(double value) const { out += number_text(value, notation.nan, notation.infinity); }
  void operator()(const std::string& value) const { out += notation.quote(value); }
  void operator()(const ValueArray& values) const {
    out += '[';
    for (const Value& value : values) {
      if (&value != &values.front()) out += ", ";
      write(value, notation, out);
    }
    out += ']';
  }
  void operator()(const ValueObject& members) const {
    out += '{';
    for (const auto& [key, value] : members) {
      if (&key != &members.front().first) out += ", ";
      out += notation.quote(key);
      out += ": ";
      write(value, notation, out);
    }
    out += '}';
  }
};

void write(const Value& value, const Notation& notation, std::string& out) {
  std::visit(Writer{notation, out}, value.data);
}

}  // namespace

const Value* Value::find(std::string_view key) const {
  const auto* members = std::get_if<ValueObject>(&data);
  if (!members) return nullptr;
  for (const auto& [name, value] : *members) {
    if (name == key) return &value;
  }
  return nullptr;
}

std::string to_python_json(const Value& value) {
  std::string out;
  write(value, kJson, out);
  return out;
}

std::string to_python_str(const Value& value) {
  if (const auto* text = std::get_if<std::string>(&value.data)) return *text;
  std::string out;
  write(value, kRepr, out);
  return out;
}

}  // namespace qwend
