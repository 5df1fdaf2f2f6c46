#include "engine/text/nfc.h"

#include <utf8proc.h>

#include <array>
#include <vector>

#include "engine/text/unicode.h"
#include "engine/text/utf8.h"
#include "kernels/check.h"

namespace qwend {

namespace {

using CodePoints = std::vector<utf8proc_int32_t>;

uint32_t combining_class(utf8proc_int32_t c) {
  return static_cast<uint32_t>(utf8proc_get_property(c)->combining_class);
}

// Normalises stretches of text between NFC boundaries; keeps its buffers from one to the next.
class Normalizer {
 public:
  // Appends the NFC form of `text`, which is valid UTF-8, to out.
  void append(std::string_view text, std::string& out) {
    decompose(text);
    order_marks();
    const auto composed = static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE);
    const auto length =
        utf8proc_normalize_utf32(chars_.data(), static_cast<utf8proc_ssize_t>(chars_.size()), composed);
    CHECK(length >= 0);
    for (utf8proc_ssize_t i = 0; i < length; ++i) {
      append_utf8(out, static_cast<char32_t>(chars_[static_cast<size_t>(i)]));
    }
  }

 private:
  void decompose(std::string_view text) {
    chars_.clear();
    const char* const end = text.data() + text.size();
    for (const char* at = text.data(); at < end;) {
      const Utf8Char c = decode_utf8(at, end);
      constexpr utf8proc_ssize_t kMaxParts = 8;
      utf8proc_int32_t parts[kMaxParts];
      int boundclass = 0;
      const auto count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c.code_point), parts,
                                                 kMaxParts, UTF8PROC_DECOMPOSE, &boundclass);
      CHECK(count >= 0 && count <= kMaxParts);
      chars_.insert(chars_.end(), parts, parts + count);
      at += c.size;
    }
  }

  // Canonical ordering: stable sort by combining class of each run of characters whose class is not 0.
  void order_marks() {
    for (size_t begin = 0; begin < chars_.size();) {
      if (combining_class(chars_[begin]) == 0) {
        ++begin;
        continue;
      }
      size_t end = begin;
      bool sorted = true;
      for (uint32_t previous = 0; end < chars_.size(); ++end) {
        const uint32_t current = combining_class(chars_[end]);
        if (current == 0) break;
        sorted = sorted && previous <= current;
        previous = current;
      }
      if (!sorted) counting_sort(begin, end);
      begin = end;
    }
  }

  void counting_sort(size_t begin, size_t end) {
    std::array<size_t, 257> start{};  // of each combining class in the sorted run
    for (size_t i = begin; i < end; ++i) ++start[combining_class(chars_[i]) + 1];
    for (size_t k = 1; k < start.size(); ++k) start[k] += start[k - 1];
    run_.assign(chars_.begin() + static_cast<ptrdiff_t>(begin), chars_.begin() + static_cast<ptrdiff_t>(end));
    for (const utf8proc_int32_t c : run_) chars_[begin + start[combining_class(c)]++] = c;
  }

  CodePoints chars_, run_;
};

// The first character that is not an NFC boundary. `before`: the start of the stretch that it belongs to,
// which is the boundary in front of it if there is one.
struct Suspect {
  const char* before;
  const char* at;  // the text's end when there is none
};

Suspect find_suspect(const char* at, const char* end) {
  const UnicodeTable& table = UnicodeTable::instance();
  const char* before = at;
  while (at < end) {
    const size_t ascii = ascii_prefix({at, end});
    if (ascii > 0) {
      at += ascii;
      before = at - 1;
      continue;
    }
    const Utf8Char c = decode_utf8(at, end);
    if (c.valid() && !table.is_nfc_boundary(c.code_point)) return {before, at};
    before = c.valid() ? at : at + c.size;
    at += c.size;
  }
  return {end, end};
}

const char* skip_non_boundaries(const char* at, const char* end) {
  const UnicodeTable& table = UnicodeTable::instance();
  while (at < end) {
    const Utf8Char c = decode_utf8(at, end);
    if (!c.valid() || table.is_nfc_boundary(c.code_point)) break;
    at += c.size;
  }
  return at;
}

}  // namespace

bool nfc_quick_check(std::string_view text) {
  const char* const end = text.data() + text.size();
  return find_suspect(text.data(), end).at == end;
}

std::string to_nfc(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  Normalizer normalizer;
  const char* const end = text.data() + text.size();
  for (const char* at = text.data(); at < end;) {
    const Suspect suspect = find_suspect(at, end);
    out.append(at, suspect.before);
    at = skip_non_boundaries(suspect.at, end);
    if (suspect.before < at) normalizer.append({suspect.before, at}, out);
  }
  return out;
}

}  // namespace qwend
