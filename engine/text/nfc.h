// Unicode Normalization Form C.
#pragma once
#include <string>
#include <string_view>

namespace qwend {

// True when the text is certainly in NFC already. False: it may need work (Unicode's quick check).
bool nfc_quick_check(std::string_view text);

// The NFC form of the text; bytes that are not UTF-8 stay as they are. Linear in the length for any input:
// runs of combining marks are ordered by a counting sort, where utf8proc_NFC moves marks one step at a time.
std::string to_nfc(std::string_view text);

}  // namespace qwend
