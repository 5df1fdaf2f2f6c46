#include "engine/text/templates/recognise.h"

#include <algorithm>
#include <string>
#include <vector>

#include "engine/text/templates/python_text.h"

namespace qwend::templates {
namespace {

constexpr std::string_view kJsonTools = "You may call one or more functions to assist with the user query.";
constexpr std::string_view kJsonCalls =
    "return a json object with function name and arguments within <tool_call></tool_call> XML tags";
constexpr std::string_view kXmlTools = "You have access to the following functions:";
constexpr std::string_view kXmlCalls = "If you choose to call a function ONLY reply in the following format";

// A template is of this family when it has every `feature` and none of `foreign`.
struct Signature {
  ChatFamily family;
  std::vector<std::string_view> features;
  std::vector<std::string_view> foreign;
};

// The first that fits counts: the more particular stand before the more general.
const std::vector<Signature>& signatures() {
  static const std::vector<Signature> all = {
      {ChatFamily::DeepSeekR1, {"<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>"}, {"<|im_start|>"}},
      {ChatFamily::Qwen35, {"<|im_start|>", "<function=", "<parameter=", "</think>"}, {}},
      {ChatFamily::Qwen3Coder, {"<|im_start|>", "<function=", "<parameter="}, {}},
      {ChatFamily::Qwen3,
       {"<|im_start|>", kJsonTools, kJsonCalls, "</think>", "last_query", "enable_thinking"},
       {}},
      {ChatFamily::Qwen3Thinking, {"<|im_start|>", kJsonTools, kJsonCalls, "</think>", "last_query"}, {}},
      {ChatFamily::QwQ, {"<|im_start|>", kJsonTools, kJsonCalls, "</think>"}, {}},
      {ChatFamily::Qwen3Instruct,
       {"<|im_start|>", kJsonTools, kJsonCalls},
       {"think>"}},  // Qwen2.5 with a default text
      {ChatFamily::ChatML,
       {"<|im_start|>", "<|im_end|>", "message"},
       {"tool_call", "think>", "enable_thinking"}},
  };
  return all;
}

bool fits(const Signature& signature, std::string_view text) {
  const auto has = [&](std::string_view part) { return contains(text, part); };
  return std::all_of(signature.features.begin(), signature.features.end(), has) &&
         std::none_of(signature.foreign.begin(), signature.foreign.end(), has);
}

// ---- the default system text

// Jinja string literal -> text.
std::string unescape(std::string_view literal) {
  std::string out;
  for (size_t i = 0; i < literal.size(); ++i) {
    if (literal[i] != '\\' || i + 1 == literal.size()) {
      out += literal[i];
      continue;
    }
    const char c = literal[++i];
    out += c == 'n' ? '\n' : c == 't' ? '\t' : c;
  }
  return out;
}

size_t end_of_literal(std::string_view text, size_t start, char quote) {
  for (size_t i = start; i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (text[i] == quote) {
      return i;
    }
  }
  return text.size();
}

// The first text that follows "<|im_start|>system\n" in the template, either in a string literal or as it
// stands.
std::string find_default_system(std::string_view text) {
  constexpr std::string_view kOpen = "<|im_start|>system", kClose = "<|im_end|>";
  for (size_t at = text.find(kOpen); at != text.npos; at = text.find(kOpen, at + 1)) {
    const char quote = at > 0 ? text[at - 1] : ' ';
    const bool literal = quote == '\'' || quote == '"';
    const std::string_view newline = literal ? "\\n" : "\n";
    size_t start = at + kOpen.size();
    if (!text.substr(start).starts_with(newline)) continue;
    start += newline.size();
    const size_t end =
        std::min(text.find(kClose, start), literal ? end_of_literal(text, start, quote) : text.size());
    const std::string_view found = text.substr(start, end - start);
    if (found.empty()) continue;
    if (literal) return unescape(found);
    if (!contains(found, "{{") && !contains(found, "{%")) return std::string(found);
  }
  return "";
}

// ---- revisions

bool is_known_revision(ChatFamily family, std::string_view text) {
  if (contains(text, "reasoning_effort")) return false;
  switch (family) {
    case ChatFamily::Qwen3Coder:
    case ChatFamily::Qwen35: return contains(text, kXmlTools) && contains(text, kXmlCalls);
    case ChatFamily::DeepSeekR1: return !contains(text, "is_last_user");
    default: return true;
  }
}

}  // namespace

std::optional<Recognised> recognise(std::string_view template_text) {
  for (const Signature& signature : signatures()) {
    if (!fits(signature, template_text)) continue;
    Recognised result;
    ChatTemplateTraits& traits = result.traits;
    traits.family = signature.family;
    traits.default_system = find_default_system(template_text);
    if (traits.family == ChatFamily::Qwen3Instruct && !traits.default_system.empty())
      traits.family = ChatFamily::Qwen25;
    traits.thinking_by_default = !contains(template_text, "enable_thinking is true") ||
                                 contains(template_text, "enable_thinking is false");
    traits.opens_thinking = contains(template_text, "<|im_start|>assistant\\n<think>\\n'") ||
                            contains(template_text, "<|im_start|>assistant\\n<think>\\n\"") ||
                            contains(template_text, "<｜Assistant｜><think>");
    traits.knows_preserve_thinking = contains(template_text, "preserve_thinking");
    result.exact = is_known_revision(traits.family, template_text);
    return result;
  }
  return std::nullopt;
}

}  // namespace qwend::templates
