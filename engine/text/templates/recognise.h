// Which family a chat template belongs to.
#pragma once
#include <optional>
#include <string_view>

#include "engine/text/chat_template.h"

namespace qwend::templates {

struct Recognised {
  ChatTemplateTraits traits;
  bool exact = true;  // false: a revision with rules that we don't know
};

// Judges by features (the markup and the variables that a template uses), never by whole texts: files differ
// in revisions. Nothing when no family fits.
std::optional<Recognised> recognise(std::string_view template_text);

}  // namespace qwend::templates
