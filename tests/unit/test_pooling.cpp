// What marks embedding models and rerankers, and what is made of a hidden state.
#include <cmath>

#include "engine/error.h"
#include "engine/pooling.h"
#include "tests/support/catch2.h"
#include "tests/support/test_vocabulary.h"
#include "tests/support/tiny_model.h"

using namespace qwend;
using namespace qwend::test;

namespace {

ModelTask task_of(const TinyModel& model, const char* path = "tiny.gguf") {
  const GgufImage image = model.image();
  return find_task(gguf::File::from_memory(image.bytes, path), model.arch);
}

}  // namespace

TEST_CASE("the task is what the file says", "[unit][pooling]") {
  TinyModel model("qwen3");
  CHECK(task_of(model) == ModelTask::Generate);
  for (const auto& [pooling, task] :
       {std::pair{0, ModelTask::Generate}, {3, ModelTask::Embed}, {4, ModelTask::Rerank}}) {
    model.key("pooling_type", pooling);
    CHECK(task_of(model, "some-embedding.gguf") == task);  // the mark wins over the name
  }
  model.key("pooling_type", 1);
  CHECK_THROWS_AS(task_of(model), LoadError);
}

TEST_CASE("files without a mark are known by tensor or name", "[unit][pooling]") {
  TinyModel model("qwen3");
  CHECK(task_of(model, "/models/Qwen3-Embedding-0.6B-Q8_0.gguf") == ModelTask::Embed);
  CHECK(task_of(model, "/Qwen3-Embedding/chat.gguf") == ModelTask::Generate);
  model.keys["general.name"] = std::string("Qwen3 Reranker 0.6B");
  CHECK(task_of(model) == ModelTask::Rerank);
  model.keys["general.name"] = std::string("tiny");
  model.add("cls.output.weight", {32, 2});
  CHECK(task_of(model) == ModelTask::Rerank);
}

TEST_CASE("a reranker's row is yes less no", "[unit][pooling]") {
  const Tokenizer tokenizer = [] {
    Vocabulary vocabulary = small_vocabulary();
    for (const char* merge : {"n o", "y e", "ye s"}) {
      vocabulary.merges.push_back(merge);
      std::string token(merge);
      add_token(vocabulary, token.erase(token.find(' '), 1), TokenType::Normal);
    }
    return Tokenizer(vocabulary);
  }();
  const auto yes = static_cast<size_t>(tokenizer.encode("yes", Specials::None).at(0));
  const auto no = static_cast<size_t>(tokenizer.encode("no", Specials::None).at(0));
  TinyModel model("qwen3");
  model.tensors.erase("token_embd.weight");
  model.add("token_embd.weight", {32, static_cast<uint64_t>(tokenizer.size())});
  const auto row_of = [&] {
    const GgufImage image = model.image();
    return rerank_row(gguf::File::from_memory(image.bytes, "tiny.gguf"), tokenizer);
  };
  const auto expect = [&](const std::vector<float>& matrix, size_t a, size_t b) {
    const std::vector<float> row = row_of();
    REQUIRE(row.size() == 32);
    for (size_t i = 0; i < 32; ++i) CHECK(row[i] == matrix[a * 32 + i] - matrix[b * 32 + i]);
  };
  expect(model.tensors["token_embd.weight"].values, yes, no);
  model.add("output.weight", {32, static_cast<uint64_t>(tokenizer.size())});
  expect(model.tensors["output.weight"].values, yes, no);
  model.add("cls.output.weight", {32, 2});
  expect(model.tensors["cls.output.weight"].values, 0, 1);

  model.tensors.erase("cls.output.weight");
  const GgufImage image = model.image();
  CHECK_THROWS_AS(rerank_row(gguf::File::from_memory(image.bytes, "tiny.gguf"), *small_tokenizer()),
                  LoadError);
}

TEST_CASE("scores and embeddings", "[unit][pooling]") {
  const std::vector<float> row = {1, -2, 0}, hidden = {3, 1, 5};
  CHECK(rerank_score(row, hidden) == Approx(1 / (1 + std::exp(-1.0))));
  CHECK(embedding_of(std::vector<float>{3, 4, 12}, 3) ==
        std::vector<float>{3 / 13.0f, 4 / 13.0f, 12 / 13.0f});
  CHECK(embedding_of(std::vector<float>{3, 4, 12}, 2) == std::vector<float>{0.6f, 0.8f});
  CHECK(embedding_of(std::vector<float>{0, 0}, 2) == std::vector<float>{0, 0});
}
