"""The rest of the API over raw HTTP: what no client library of ours asks for."""

import json

import httpx
import pytest


@pytest.fixture(scope="module")
def http(server):
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield client


def test_the_api_describes_itself(http):
    document = http.get("/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    for path, operations in document["paths"].items():
        for method in operations:
            if "{" not in path:
                assert http.request(method.upper(), path, json={} if method == "post" else None).status_code != 404
    parameters = document["components"]["schemas"]["ChatRequest"]["properties"]
    assert {"messages", "temperature", "top_k", "stream", "tools"} <= parameters.keys()


def test_the_described_ranges_are_those_that_are_checked(http, model):
    properties = http.get("/openapi.json").json()["components"]["schemas"]["ChatRequest"]["properties"]
    base = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
    checked = 0
    for name, schema in properties.items():
        bounds = schema.get("anyOf", [{}])[0]
        if name in ("max_tokens", "max_completion_tokens") or bounds.get("type") not in ("integer", "number"):
            continue
        for bound, step in (("minimum", -1), ("maximum", 1)):
            if bound in bounds:
                response = http.post("/v1/chat/completions", json=base | {name: bounds[bound] + step})
                assert response.status_code == 400, (name, bound)
                assert response.json()["error"]["param"] == name
                checked += 1
    assert checked > 10


def test_the_page(http, model):
    page = http.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert model in page.text and "/v1/chat/completions" in page.text


def test_version_and_health(http):
    assert http.get("/version").json()["version"]
    for path in ("/livez", "/readyz", "/health"):
        assert http.get(path).json() == {"status": "ok"}
    assert "vllm:num_requests_running" in http.get("/metrics").text


def test_models(http, model):
    entry = http.get("/v1/models").json()["data"][0]
    assert entry["max_model_len"] > 0
    assert {"n_ctx", "n_ctx_train", "n_params", "size", "n_vocab", "quantisation"} <= entry["meta"].keys()
    assert http.get(f"/v1/models/{model}").json() == entry


def test_tokenize_and_back(http):
    ids = http.post("/tokenize", json={"content": "Hello there"}).json()["tokens"]
    assert http.post("/detokenize", json={"tokens": ids}).json()["content"] == "Hello there"
    counted = http.post("/tokenize", json={"prompt": "Hello there"}).json()
    assert (counted["count"], counted["tokens"]) == (len(ids), ids)


def test_apply_template_is_what_chat_uses(http, model):
    messages = [{"role": "user", "content": "Hi"}]
    prompt = http.post("/apply-template", json={"messages": messages}).json()["prompt"]
    ids = http.post("/tokenize", json={"content": prompt}).json()["tokens"]
    chat = http.post("/v1/chat/completions", json={"messages": messages, "max_tokens": 1}).json()
    assert chat["usage"]["prompt_tokens"] == len(ids)


def test_infill_needs_a_coder(http):
    response = http.post("/infill", json={"input_prefix": "def f():", "input_suffix": ""})
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "unsupported"
    suffix = http.post("/v1/completions", json={"prompt": "def f():", "suffix": "return"})
    assert suffix.json()["error"]["param"] == "suffix"


@pytest.mark.parametrize(
    "path",
    ["/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings", "/v1/rerank", "/infill", "/tokenize"],
)
def test_bodies_that_are_no_json(http, path):
    for content in (b"", b"{", b"[]", b"\xff", json.dumps({"model": "x"}).encode() + b"x"):
        response = http.post(path, content=content, headers={"content-type": "application/json"})
        assert response.status_code == 400
        assert response.json()["error"]["code"] == "invalid_json"


def test_unknown_paths_and_methods(http):
    missing = http.get("/v1/nothing")
    assert missing.status_code == 404 and missing.json()["error"]["code"] == "unknown_url"
    wrong = http.get("/v1/responses")
    assert wrong.status_code == 405 and wrong.headers["allow"] == "POST"
