// /openapi.json and the page at /: what they tell is what the tables hold.
#include <set>

#include "server/handlers/route_table.h"
#include "server/openai/chat_request.h"
#include "tests/server/api_fixture.h"

using namespace qwend;
using namespace qwend::test;

TEST_CASE("the API describes every route and every parameter", "[server][openapi]") {
  ApiFixture api;
  const Json document = api.call(handle_openapi, "").json();
  CHECK(document["openapi"] == "3.1.0");
  const Json& schemas = document["components"]["schemas"];
  for (const Route& route : routes()) {
    INFO(route.method << " " << route.path);
    std::string method = route.method;
    for (char& c : method) c = static_cast<char>(std::tolower(c));
    REQUIRE(document["paths"][route.path].contains(method));
    const Json& operation = document["paths"][route.path][method];
    CHECK(operation["parameters"].size() == (std::string_view(route.path).find('{') != std::string::npos));
    REQUIRE(operation.contains("requestBody") == (route.body != nullptr));
    if (route.body == nullptr) continue;
    const std::string reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"];
    const std::string name = reference.substr(reference.rfind('/') + 1);
    REQUIRE(schemas.contains(name));
    for (const std::string_view required : route.body().required)
      CHECK(schemas[name]["properties"].contains(std::string(required)));
  }
  const Json& chat = schemas["ChatRequest"]["properties"];
  for (const auto& field : chat_fields()) CHECK(chat.contains(std::string(field.name)));
  for (const auto& field : generation_fields()) CHECK(chat.contains(std::string(field.name)));
  CHECK(chat["temperature"]["anyOf"][0]["maximum"] == 2);
  CHECK(chat["functions"]["type"] == "null");
  CHECK(schemas["ResponseRequest"]["properties"]["metadata"]["anyOf"][0]["type"] == "object");
}

TEST_CASE("the page names the model, safely", "[server][openapi]") {
  ApiFixture api;
  api.app->model.id = "a<b>&\"c";
  const FakeResponder page = api.call(handle_index, "");
  CHECK(page.content_type == "text/html; charset=utf-8");
  CHECK(page.body.find("a&lt;b>&amp;&quot;c") != std::string::npos);
  CHECK(page.body.find("a<b>") == std::string::npos);
  CHECK(page.body.find("<form") != std::string::npos);
  api.app->model.task = ModelTask::Embed;
  CHECK(api.call(handle_index, "").body.find("<form") == std::string::npos);
}
