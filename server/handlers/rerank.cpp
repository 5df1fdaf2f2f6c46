// POST /v1/rerank
#include <algorithm>
#include <numeric>

#include "engine/pooling.h"
#include "server/handlers/pooled.h"
#include "server/json/json_writer.h"
#include "server/openai/embedding_request.h"
#include "server/openai/ids.h"

namespace qwend {
namespace {

// Qwen3-Reranker's prompt; {instruction} is its own default unless the client gives one.
constexpr std::string_view kTemplate =
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the "
    "Instruct "
    "provided. Note that the answer can only be \"yes\" or \"no\".<|im_end|>\n<|im_start|>user\n<Instruct>: "
    "{instruction}\n<Query>: {query}\n<Document>: {document}<|im_end|>\n<|im_start|>assistant\n<think>\n\n"
    "</think>\n\n";
constexpr std::string_view kInstruction =
    "Given a web search query, retrieve relevant passages that answer the query";

// Markup of the template may become control tokens, clients' words can't.
std::vector<TextSegment> fill_in(std::string_view pattern,
                                 std::span<const std::pair<std::string_view, std::string_view>> values) {
  std::vector<TextSegment> segments;
  while (!pattern.empty()) {
    size_t first = pattern.size();
    const std::pair<std::string_view, std::string_view>* found = nullptr;
    for (const auto& value : values) {
      const size_t begin = pattern.find(value.first);
      if (begin >= first) continue;
      first = begin;
      found = &value;
    }
    segments.push_back({std::string(pattern.substr(0, first)), Specials::All});
    if (found == nullptr) break;
    segments.push_back({std::string(found->second), Specials::None});
    pattern.remove_prefix(first + found->first.size());
  }
  return segments;
}

// What follows the document stays whole: a prompt that is too long loses the end of the document.
std::vector<int32_t> encode(const App& app, const std::vector<TextSegment>& segments) {
  std::vector<int32_t> tokens = app.tokenizer->encode(segments);
  const auto limit = static_cast<size_t>(app.model.max_model_len);
  if (tokens.size() <= limit) return tokens;
  const size_t tail = app.tokenizer->encode(segments.back().text, segments.back().specials).size();
  if (tail >= limit) return tokens;  // refused as too long
  const size_t excess = tokens.size() - limit;
  const auto tail_begin = tokens.end() - static_cast<ptrdiff_t>(tail);
  tokens.erase(tail_begin - static_cast<ptrdiff_t>(std::min(excess, tokens.size() - tail)), tail_begin);
  return tokens;
}

std::vector<PooledPrompt> tokenize(const App& app, const RerankRequest& request) {
  // The file's template has the default instruction written into it.
  const bool own = !app.model.rerank_template.empty() && request.instruction.empty();
  const std::string_view pattern = own ? std::string_view(app.model.rerank_template) : kTemplate;
  const std::string_view instruction = request.instruction.empty() ? kInstruction : request.instruction;
  std::vector<PooledPrompt> prompts;
  for (size_t i = 0; i < request.documents.size(); ++i) {
    const std::pair<std::string_view, std::string_view> values[] = {
        {"{instruction}", instruction}, {"{query}", request.query}, {"{document}", request.documents[i]}};
    prompts.push_back({encode(app, fill_in(pattern, values)), at("documents", i)});
  }
  return prompts;
}

std::string render(const App& app, const http::Request& http_request, const RerankRequest& request,
                   const PooledOutput& output) {
  std::vector<double> scores;
  for (const std::vector<float>& hidden : output.hidden)
    scores.push_back(rerank_score(app.model.rerank_row, hidden));
  std::vector<size_t> order(scores.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, [&](size_t a, size_t b) { return scores[a] > scores[b]; });
  if (request.top_n) order.resize(std::min(order.size(), static_cast<size_t>(*request.top_n)));

  std::string out;
  json::JsonWriter writer(out);
  writer.begin_object()
      .member("id", make_id("rerank-", http_request.request_id))
      .member("object", "list")
      .member("model", app.model.id);
  writer.key("results").begin_array();
  for (const size_t i : order) {
    writer.begin_object().member("index", static_cast<uint64_t>(i)).member("relevance_score", scores[i]);
    if (request.return_documents)
      writer.key("document").begin_object().member("text", request.documents[i]).end_object();
    writer.end_object();
  }
  const int32_t tokens = output.totals.usage.prompt_tokens;
  writer.end_array().key("usage").begin_object();
  writer.member("prompt_tokens", tokens).member("total_tokens", tokens).end_object().end_object();
  return out;
}

Result<RerankRequest, ApiError> parse(const App& app, const http::Request& request) {
  auto body = parse_body(request);
  if (!body) return body.error();
  auto parsed = parse_rerank_request(body.value(), parse_context(app));
  if (!parsed) return parsed;
  if (Problem problem = check_model(app, parsed.value().model, ModelTask::Rerank)) return *problem;
  return parsed;
}

}  // namespace

void handle_rerank(App& app, const http::Request& request, http::Responder& responder) {
  const auto parsed = parse(app, request);
  if (!parsed) return reply_error(app, responder, parsed.error());
  const auto output = run_pooled(app, request, responder, tokenize(app, parsed.value()));
  if (output) reply_json(responder, render(app, request, parsed.value(), *output));
}

}  // namespace qwend
