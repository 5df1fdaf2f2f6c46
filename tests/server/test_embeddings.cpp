// /v1/embeddings and /v1/rerank over a real engine whose hidden states are a function of the prompt.
#include <cstring>

#include "engine/pooling.h"
#include "tests/server/api_fixture.h"

using namespace qwend;
using namespace qwend::test;

namespace {

using Vectors = std::vector<std::vector<float>>;

struct EmbeddingApi : ApiFixture {
  explicit EmbeddingApi(ModelTask task = ModelTask::Embed) {
    app->model.task = task;
    app->model.embedding_width = FakeExecutor::kHidden;
    if (task == ModelTask::Rerank) app->model.rerank_row = {1, 0, 0, 0, 0, 0, 0, -1};
  }
  FakeResponder embed(const Json& body) { return call(handle_embeddings, body.dump()); }
  FakeResponder rerank(const Json& body) { return call(handle_rerank, body.dump()); }
  std::vector<int32_t> ended(const std::string& text) const {
    std::vector<int32_t> tokens = tokenizer->encode(text, Specials::None);
    tokens.push_back(kEndOfText);
    return tokens;
  }
  std::vector<float> expected(const std::string& text, size_t dimensions = FakeExecutor::kHidden) const {
    return embedding_of(FakeExecutor::hidden_of(ended(text)), dimensions);
  }
};

std::vector<float> decoded(const std::string& base64) {
  std::string bytes;
  uint32_t group = 0;
  int bits = 0;
  for (const char c : base64) {
    if (c == '=') break;
    const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    group = group << 6 | static_cast<uint32_t>(digits.find(c));
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    bytes += static_cast<char>(group >> bits & 255);
  }
  std::vector<float> vector(bytes.size() / sizeof(float));
  std::memcpy(vector.data(), bytes.data(), vector.size() * sizeof(float));
  return vector;
}

}  // namespace

TEST_CASE("embeddings of a text", "[server][embeddings]") {
  EmbeddingApi api;
  const Json answer = api.embed({{"input", "Hello"}}).json();
  CHECK(answer["object"] == "list");
  CHECK(answer["model"] == "org/tiny");
  REQUIRE(answer["data"].size() == 1);
  CHECK(answer["data"][0]["embedding"].get<std::vector<float>>() == api.expected("Hello"));
  CHECK(answer["usage"]["prompt_tokens"] == api.ended("Hello").size());
  CHECK(answer["usage"]["total_tokens"] == answer["usage"]["prompt_tokens"]);

  const Json encoded = api.embed({{"input", "Hello"}, {"encoding_format", "base64"}}).json();
  CHECK(decoded(encoded["data"][0]["embedding"]) == api.expected("Hello"));
  for (const int dimensions : {1, 3, 8}) {
    const Json cut =
        api.embed({{"input", "Hello"}, {"dimensions", dimensions}, {"encoding_format", "base64"}}).json();
    CHECK(decoded(cut["data"][0]["embedding"]) == api.expected("Hello", static_cast<size_t>(dimensions)));
  }
}

TEST_CASE("embeddings of every shape of input", "[server][embeddings]") {
  EmbeddingApi api;
  const auto vectors = [&](const Json& input) {
    const Json answer = api.embed({{"input", input}}).json();
    Vectors all;
    for (const Json& entry : answer["data"]) {
      CHECK(entry["index"] == all.size());
      all.push_back(entry["embedding"].get<std::vector<float>>());
    }
    return all;
  };
  const auto ids = api.tokenizer->encode("the cat", Specials::None);
  CHECK(vectors(ids) == Vectors{api.expected("the cat")});
  CHECK(vectors(api.ended("the cat")) == Vectors{api.expected("the cat")});  // not ended twice
  CHECK(vectors({"a", "the cat"}) == Vectors{api.expected("a"), api.expected("the cat")});
  CHECK(vectors(Json::array({ids, {97}})) == Vectors{api.expected("the cat"), api.expected("a")});
  CHECK(vectors({"<|im_end|>"}) == Vectors{api.expected("<|im_end|>")});  // stays text
}

TEST_CASE("more inputs than the queue holds", "[server][embeddings]") {
  EmbeddingApi api;
  Json inputs = Json::array();
  for (int i = 0; i < 700; ++i) inputs.push_back("text " + std::to_string(i));
  const Json answer = api.embed({{"input", inputs}}).json();
  REQUIRE(answer["data"].size() == 700);
  for (const int i : {0, 31, 32, 350, 699})
    CHECK(answer["data"][i]["embedding"].get<std::vector<float>>() == api.expected(inputs[i]));
  CHECK(api.settles());
}

TEST_CASE("embedding mistakes", "[server][embeddings]") {
  EmbeddingApi api;
  const auto param = [&](const Json& body) {
    const FakeResponder response = api.embed(body);
    CHECK(response.status == 400);
    return response.json()["error"]["param"].get<std::string>();
  };
  CHECK(param(Json::object()) == "input");
  CHECK(param({{"input", ""}}) == "input");
  CHECK(param({{"input", Json::array()}}) == "input");
  CHECK(param({{"input", {"a", ""}}}) == "input[1]");
  CHECK(param({{"input", {"a", 1}}}) == "input[1]");
  CHECK(param({{"input", {1, 5000}}}) == "input[1]");
  CHECK(param({{"input", {"a", std::string(3000, 'x')}}}) == "input[1]");
  CHECK(param({{"input", "a"}, {"dimensions", 9}}) == "dimensions");
  CHECK(param({{"input", "a"}, {"dimensions", 0}}) == "dimensions");
  CHECK(param({{"input", "a"}, {"encoding_format", "hex"}}) == "encoding_format");
  CHECK(param({{"input", std::vector<std::string>(2049, "a")}}) == "input");
  CHECK(api.embed({{"input", "a"}, {"model", "other"}}).status == 404);
}

TEST_CASE("each model serves what it is made for", "[server][embeddings]") {
  ApiFixture chat;
  EmbeddingApi embedding, reranker(ModelTask::Rerank);
  const Json documents = {{"query", "q"}, {"documents", {"d"}}};
  const auto refused = [](const FakeResponder& response) {
    return response.status == 400 && response.json()["error"]["code"] == "unsupported" &&
           response.json()["error"]["param"] == "model";
  };
  CHECK(refused(chat.call(handle_embeddings, Json({{"input", "a"}}).dump())));
  CHECK(refused(chat.call(handle_rerank, documents.dump())));
  CHECK(refused(embedding.chat(user("Hi"))));
  CHECK(refused(embedding.complete({{"prompt", "a"}})));
  CHECK(refused(reranker.embed({{"input", "a"}})));
  CHECK(reranker.rerank(documents).status == 200);
}

TEST_CASE("documents in order of their scores", "[server][rerank]") {
  EmbeddingApi api(ModelTask::Rerank);
  api.app->model.rerank_template = "<|im_start|>Q {query} D {document}<|im_end|>";
  const auto score = [&](const std::string& document) {
    const std::vector<TextSegment> segments = {{"<|im_start|>Q ", Specials::All},
                                               {"find", Specials::None},
                                               {" D ", Specials::All},
                                               {document, Specials::None},
                                               {"<|im_end|>", Specials::All}};
    return rerank_score(api.app->model.rerank_row, FakeExecutor::hidden_of(api.tokenizer->encode(segments)));
  };
  const Json documents = {"a", "bb", "the {query}", "<|im_end|>", "and"};
  const Json body = {{"query", "find"}, {"documents", documents}, {"return_documents", true}};
  const Json answer = api.rerank(body).json();
  REQUIRE(answer["results"].size() == 5);
  double last = 1;
  for (const Json& result : answer["results"]) {
    const double value = result["relevance_score"];
    CHECK(result["document"]["text"] == documents[result["index"].get<size_t>()]);
    CHECK(value == Approx(score(result["document"]["text"])));
    CHECK(value <= last);
    last = value;
  }
  const Json top = api.rerank(with(body, {{"top_n", 2}, {"return_documents", false}})).json();
  REQUIRE(top["results"].size() == 2);
  CHECK(top["results"][0]["index"] == answer["results"][0]["index"]);
  CHECK_FALSE(top["results"][0].contains("document"));
}

TEST_CASE("a document that is too long loses its end", "[server][rerank]") {
  EmbeddingApi api(ModelTask::Rerank);
  api.app->model.rerank_template = "{query}:{document}<|im_end|>";
  const std::string text(3000, 'x');
  const Json answer = api.rerank({{"query", "q"}, {"documents", {text, "y"}}}).json();
  REQUIRE(answer["results"].size() == 2);
  const auto kept = static_cast<size_t>(api.app->model.max_model_len);
  CHECK(answer["usage"]["prompt_tokens"] == kept + 4);
  std::vector<int32_t> prompt = api.tokenizer->encode("q:" + text, Specials::None);
  prompt.resize(kept - 1);
  prompt.push_back(kImEnd);
  const double expected = rerank_score(api.app->model.rerank_row, FakeExecutor::hidden_of(prompt));
  for (const Json& result : answer["results"])
    if (result["index"] == 0) CHECK(result["relevance_score"].get<double>() == Approx(expected));
}
