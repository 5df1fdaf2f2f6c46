"""/v1/embeddings and /v1/rerank: the demo model's weights, marked as an embedding model and as a reranker."""

import httpx
import numpy as np
import openai
import pytest


@pytest.fixture(scope="module")
def architecture(client, model):
    return client.models.list().data[0].meta["architecture"]


@pytest.fixture(scope="module")
def embedder(serve_demo, architecture):
    running = serve_demo("embedder", numbers=[(architecture + ".pooling_type", 3)])
    return openai.OpenAI(base_url=running.url + "/v1", api_key="unused", max_retries=0, timeout=120)


@pytest.fixture(scope="module")
def width(embedder):
    return len(embedder.embeddings.create(model="embedder", input="x").data[0].embedding)


def test_embedding(embedder, width):
    answer = embedder.embeddings.create(model="embedder", input="A capital city.", encoding_format="float")
    vector = np.array(answer.data[0].embedding)
    assert vector.shape == (width,)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    encoded = embedder.embeddings.create(model="embedder", input="A capital city.")  # base64, the SDK's default
    assert np.allclose(encoded.data[0].embedding, vector, atol=1e-6)


def test_batches_and_token_ids(embedder):
    texts = ["one", "two cities", "Tell me a story."] * 20
    batch = embedder.embeddings.create(model="embedder", input=texts)
    assert [entry.index for entry in batch.data] == list(range(60))
    for i in (0, 1, 2):
        alone = embedder.embeddings.create(model="embedder", input=texts[i])
        assert alone.data[0].embedding == batch.data[i].embedding == batch.data[57 + i].embedding
    base = str(embedder.base_url).removesuffix("/v1/")
    ids = httpx.post(base + "/tokenize", json={"content": texts[2]}).json()["tokens"]
    by_ids = embedder.embeddings.create(model="embedder", input=[ids])
    assert by_ids.data[0].embedding == batch.data[2].embedding


def test_dimensions(embedder, width):
    whole = np.array(embedder.embeddings.create(model="embedder", input="x").data[0].embedding)
    cut = np.array(embedder.embeddings.create(model="embedder", input="x", dimensions=8).data[0].embedding)
    assert np.allclose(cut, whole[:8] / np.linalg.norm(whole[:8]), atol=1e-6)
    with pytest.raises(openai.BadRequestError) as caught:
        embedder.embeddings.create(model="embedder", input="x", dimensions=width + 1)
    assert caught.value.param == "dimensions"


def test_models_do_what_they_are_made_for(client, model, embedder):
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(model=model, input="x")
    assert caught.value.code == "unsupported"
    with pytest.raises(openai.BadRequestError) as caught:
        embedder.chat.completions.create(model="embedder", messages=[{"role": "user", "content": "Hi"}])
    assert caught.value.code == "unsupported"


def test_rerank(serve_demo, architecture, width):
    head = np.random.default_rng(1).standard_normal((2, width)).astype(np.float32)
    numbers = [(architecture + ".pooling_type", 4)]
    running = serve_demo("reranker", numbers=numbers, tensors=[("cls.output.weight", head)])
    documents = ["The capital of France is Paris.", {"text": "Bread is baked."}, "Once upon a time"]
    body = {"model": "reranker", "query": "capital of France", "documents": documents, "return_documents": True}
    results = httpx.post(running.url + "/v1/rerank", json=body).json()["results"]
    scores = [result["relevance_score"] for result in results]
    assert sorted(result["index"] for result in results) == [0, 1, 2]
    assert scores == sorted(scores, reverse=True) and 0 < scores[-1] < scores[0] < 1
    assert results[0]["document"]["text"] in ("The capital of France is Paris.", "Bread is baked.", "Once upon a time")
    best = httpx.post(running.url + "/v1/rerank", json=body | {"top_n": 1}).json()["results"]
    assert best == results[:1]
    missing = httpx.post(running.url + "/v1/rerank", json={"model": "reranker", "documents": documents})
    assert missing.status_code == 400 and missing.json()["error"]["param"] == "query"
