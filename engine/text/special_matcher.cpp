#include "engine/text/special_matcher.h"

namespace qwend {

void SpecialMatcher::add(std::string_view text, int32_t token, TokenType type) {
  if (text.empty()) return;
  starts_[static_cast<unsigned char>(text[0])] = true;
  int32_t node = 0;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    int32_t next = child(node, byte);
    if (next < 0) {
      next = static_cast<int32_t>(nodes_.size());
      nodes_.push_back({byte, nodes_[static_cast<size_t>(node)].first_child, -1});
      nodes_[static_cast<size_t>(node)].first_child = next;
    }
    node = next;
  }
  Node& last = nodes_[static_cast<size_t>(node)];
  if (last.token >= 0) return;
  last.token = token;
  last.user_defined = type == TokenType::UserDefined;
}

SpecialMatcher::Match SpecialMatcher::find(std::string_view text, size_t from, Specials specials) const {
  const Match none = {text.size(), text.size(), -1};
  if (specials == Specials::None) return none;
  for (size_t begin = from; begin < text.size(); ++begin) {
    if (!starts_[static_cast<unsigned char>(text[begin])]) continue;
    Match longest = none;
    int32_t node = 0;
    for (size_t i = begin; i < text.size(); ++i) {
      node = child(node, static_cast<unsigned char>(text[i]));
      if (node < 0) break;
      const Node& reached = nodes_[static_cast<size_t>(node)];
      const bool permitted = specials == Specials::All || reached.user_defined;
      if (reached.token >= 0 && permitted) longest = {begin, i + 1, reached.token};
    }
    if (longest.token >= 0) return longest;
  }
  return none;
}

int32_t SpecialMatcher::find_exact(std::string_view text) const {
  int32_t node = 0;
  for (const char c : text) {
    node = child(node, static_cast<unsigned char>(c));
    if (node < 0) return -1;
  }
  return nodes_[static_cast<size_t>(node)].token;
}

int32_t SpecialMatcher::child(int32_t node, unsigned char byte) const {
  int32_t next = nodes_[static_cast<size_t>(node)].first_child;
  while (next >= 0 && nodes_[static_cast<size_t>(next)].byte != byte)
    next = nodes_[static_cast<size_t>(next)].next_sibling;
  return next;
}

}  // namespace qwend
