// GET /: a page for people who open the server's address in a browser.
#include "server/handlers/handlers.h"
#include "server/handlers/route_table.h"

namespace qwend {
namespace {

constexpr std::string_view kHead = R"(<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>qwend</title>
<style>
body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:3rem auto;padding:0 1rem}
pre,code{background:#8882;border-radius:4px;padding:.1em .3em} pre{padding:1em;overflow:auto;white-space:pre-wrap}
td{padding-right:1em;vertical-align:top} textarea{width:100%;box-sizing:border-box;font:inherit}
</style>
<h1>qwend</h1>
)";

constexpr std::string_view kTry = R"(<h2>Try it</h2>
<form id="form"><textarea id="text" rows="3">Write a haiku about rain.</textarea><button>Send</button></form>
<pre id="answer" hidden></pre>
<script>
document.getElementById("form").onsubmit = async event => {
  event.preventDefault();
  const out = document.getElementById("answer");
  out.hidden = false;
  out.textContent = "";
  const messages = [{role: "user", content: document.getElementById("text").value}];
  const reply = await fetch("v1/chat/completions", {method: "POST",
    headers: {"Content-Type": "application/json"}, body: JSON.stringify({messages, stream: true, max_tokens: 512})});
  if (!reply.ok) { out.textContent = (await reply.json()).error.message; return; }
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let text = "", part; !(part = await reader.read()).done;) {
    const events = (text + part.value).split("\n\n");
    text = events.pop();
    for (const event of events) {
      if (!event.startsWith("data: {")) continue;
      const chunk = JSON.parse(event.slice(6)), delta = chunk.choices?.[0]?.delta ?? {};
      out.textContent += chunk.error?.message ?? (delta.reasoning_content ?? "") + (delta.content ?? "");
    }
  }
};
</script>
)";

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '"')
      out += "&quot;";
    else
      out += c;
  }
  return out;
}

std::string endpoint_rows() {
  std::string rows;
  for (const Route& route : routes()) {
    const std::string path(route.path);
    const bool link = std::string_view(route.method) == "GET" && path.find('{') == std::string::npos;
    const std::string shown =
        link ? "<a href=\"" + path.substr(path == "/" ? 0 : 1) + "\">" + path + "</a>" : path;
    rows +=
        "<tr><td>" + std::string(route.method) + "<td><code>" + shown + "</code><td>" + route.summary + "\n";
  }
  return rows;
}

}  // namespace

void handle_index(App& app, const http::Request&, http::Responder& responder) {
  const std::string model = escaped(app.model.id);
  std::string page(kHead);
  page += "<p>An OpenAI-compatible server for <b>" + model + "</b>, up to " +
          std::to_string(app.model.max_model_len) +
          " tokens. Point a client's base URL at <code id=\"base\">/v1</code>; the model is called <code>" +
          model + "</code>.</p>\n";
  page += "<script>document.getElementById(\"base\").textContent = new URL(\"v1\", location).href</script>\n";
  if (app.model.task == ModelTask::Generate) page += kTry;
  page += "<h2>Endpoints</h2>\n<table>\n" + endpoint_rows() +
          "</table>\n<p>Parameters: <a href=\"openapi.json\">openapi.json</a>. Measurements: "
          "<a href=\"metrics\">metrics</a>.</p>\n</html>\n";
  responder.reply(200, "text/html; charset=utf-8", std::move(page));
}

}  // namespace qwend
