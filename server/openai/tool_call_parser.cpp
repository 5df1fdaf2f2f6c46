#include "server/openai/tool_call_parser.h"

#include "kernels/check.h"
#include "server/openai/call_body.h"
#include "server/openai/text_scan.h"
#include "server/openai/tools.h"

namespace qwend {
namespace {

std::unique_ptr<CallBody> make_body(const ToolCallOptions& options) {
  CHECK(options.format != ToolCallFormat::None);
  return options.format == ToolCallFormat::Xml ? make_xml_call_body(options.tools) : make_json_call_body();
}

}  // namespace

ToolCallParser::ToolCallParser(ToolCallOptions options)
    : options_(std::move(options)), body_(make_body(options_)) {}

ToolCallParser::~ToolCallParser() = default;

void ToolCallParser::push(std::string_view text, Output& out) {
  out_ = &out;
  for (const char c : text) feed(c);
}

void ToolCallParser::feed(char c) {
  switch (state_) {
    case State::Content: return feed_content(c);
    case State::Body: return feed_body(c);
    case State::Close: return feed_close(c);
  }
}

void ToolCallParser::feed_content(char c) {
  held_ += c;
  const size_t begin = std::min(held_.find_first_not_of(kJsonSpace), held_.size());
  const std::string_view text = std::string_view(held_).substr(begin);
  for (const std::string_view tag : body_->open_tags()) {
    if (text == tag) return open(tag);
    if (tag.starts_with(text)) return;
  }
  // Not a tag after all. A new one, or white space ahead of one, can only begin with this character.
  const bool hold = kJsonSpace.find(c) != std::string_view::npos || c == '<';
  if (hold) held_.pop_back();
  out_->content += held_;
  held_.assign(hold ? 1 : 0, c);
}

void ToolCallParser::open(std::string_view tag) {
  raw_ = std::move(held_);
  held_.clear();
  announced_ = false;
  state_ = State::Body;
  body_->begin(tag);
}

void ToolCallParser::feed_body(char c) {
  if (!announced_) raw_ += c;
  switch (body_->feed(c, *this)) {
    case CallBody::Status::More: return;
    case CallBody::Status::Malformed: return malformed(body_->rest());
    case CallBody::Status::Done: break;
  }
  state_ = State::Close;
  const std::string rest = body_->rest();
  for (const char again : rest) feed(again);
}

void ToolCallParser::malformed(const std::string& rest) {
  state_ = State::Content;
  if (!announced_) {
    CHECK(raw_.ends_with(rest) && raw_.size() > rest.size());
    out_->content.append(raw_, 0, raw_.size() - rest.size());
    raw_.clear();
  }
  for (const char again : std::string(rest)) feed(again);  // another call may begin in it
}

void ToolCallParser::feed_close(char c) {
  if (held_.empty() && kJsonSpace.find(c) != std::string_view::npos) return;
  held_ += c;
  if (held_ == kCallCloseTag) {
    held_.clear();
    state_ = State::Content;
  } else if (!kCallCloseTag.starts_with(held_)) {  // no closing tag: the call stands, the text goes on
    const std::string text = std::move(held_);
    held_.clear();
    state_ = State::Content;
    for (const char again : text) feed(again);
  }
}

bool ToolCallParser::is_known(std::string_view name) const {
  return options_.tools != nullptr && find_tool(*options_.tools, name) != nullptr;
}

bool ToolCallParser::announce(std::string_view name) {
  if (options_.known_names_only && !is_known(name)) return false;
  announced_ = true;
  raw_.clear();
  if (++calls_ == 1 || options_.parallel) out_->calls.push_back({calls_ - 1, std::string(name), ""});
  return true;
}

void ToolCallParser::arguments(std::string_view text) {
  if (calls_ > 1 && !options_.parallel) return;
  std::vector<ToolCallDelta>& calls = out_->calls;
  if (calls.empty() || calls.back().index != calls_ - 1) calls.push_back({calls_ - 1, "", ""});
  calls.back().arguments += text;
}

void ToolCallParser::finish(Output& out) {
  out_ = &out;
  const bool space_after_calls = calls_ > 0 && held_.find_first_not_of(kJsonSpace) == std::string::npos;
  if (state_ == State::Content && !space_after_calls) out.content += held_;
  if (state_ == State::Body && !announced_) out.content += raw_;
  if (state_ == State::Body && announced_) body_->finish(*this);
  held_.clear();
  raw_.clear();
  state_ = State::Content;
}

}  // namespace qwend
