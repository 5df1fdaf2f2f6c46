"""Refusals over raw HTTP and what the SDKs make of them: keys, limits, strict parameters."""

import socket

import anthropic
import httpx
import openai
import pytest
from conftest import HELLO, STORY, Server

BODY = {"messages": HELLO, "max_tokens": 2}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    keys = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_text("ada:key-of-ada\nbob:key-of-bob\n")
    running = Server("--api-key-file", str(keys), "--max-body-mb", "0.1", "--strict-params")
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def clients(guarded):
    """{name: a client with that one's key}"""
    headers = {name: {"authorization": f"Bearer key-of-{name}"} for name in ("ada", "bob")}
    return {name: httpx.Client(base_url=guarded.url, headers=headers[name], timeout=60) for name in headers}


@pytest.mark.parametrize(
    "headers", [{}, {"authorization": "Bearer wrong"}, {"x-api-key": "wrong"}], ids=["none", "bearer", "x-api-key"]
)
@pytest.mark.parametrize(
    "path", ["/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings", "/tokenize"]
)
def test_keys_are_needed(guarded, path, headers):
    refused = httpx.post(guarded.url + path, json=BODY, headers=headers)
    assert refused.status_code == 401
    assert refused.json()["error"]["code"] == "invalid_api_key"


def test_wrong_keys_in_the_sdks(guarded):
    with pytest.raises(openai.AuthenticationError) as caught:
        openai.OpenAI(base_url=guarded.url + "/v1", api_key="wrong", max_retries=0).models.list()
    assert caught.value.code == "invalid_api_key"
    claude = anthropic.Anthropic(base_url=guarded.url, api_key="wrong", max_retries=0)
    with pytest.raises(anthropic.AuthenticationError) as caught:
        claude.messages.create(model="qwend-demo", messages=STORY, max_tokens=2)
    assert caught.value.body["error"]["type"] == "authentication_error"


def test_keys_in_either_header_and_none_for_health(guarded):
    for headers in ({"authorization": "Bearer key-of-ada"}, {"x-api-key": "key-of-bob"}):
        assert httpx.post(guarded.url + "/v1/chat/completions", json=BODY, headers=headers).status_code == 200
    for path in ("/livez", "/readyz", "/health"):
        assert httpx.get(guarded.url + path).status_code == 200


def test_keys_share_neither_caches_nor_responses(clients):
    ask = {"messages": [{"role": "user", "content": "something of some length, to be kept " * 4}], "max_tokens": 2}
    counts = {}
    for name in ("ada", "bob", "ada"):
        answer = clients[name].post("/v1/chat/completions", json=ask).json()
        counts[name] = answer["usage"]["prompt_tokens_details"]["cached_tokens"]
        assert name == "ada" or counts["bob"] == 0
    assert counts["ada"] > 0
    kept = (
        clients["ada"].post("/v1/responses", json={"input": "Hi", "store": True, "max_output_tokens": 2}).json()["id"]
    )
    assert clients["ada"].get(f"/v1/responses/{kept}").status_code == 200
    for response in (
        clients["bob"].get(f"/v1/responses/{kept}"),
        clients["bob"].delete(f"/v1/responses/{kept}"),
        clients["bob"].post(f"/v1/responses/{kept}/cancel"),
    ):
        assert response.status_code == 404
    again = clients["bob"].post("/v1/responses", json={"input": "Hi", "previous_response_id": kept})
    assert again.status_code == 400 and again.json()["error"]["param"] == "previous_response_id"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/messages"])
def test_bodies_that_are_too_large(clients, path):
    large = BODY | {"messages": [{"role": "user", "content": "x" * 200_000}]}
    assert clients["ada"].post(path, json=large).status_code == 413


@pytest.mark.parametrize(
    "path", ["/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages", "/v1/embeddings", "/v1/rerank"]
)
def test_strict_parameters(clients, path):
    body = {"messages": HELLO, "prompt": "x", "input": "x", "query": "x", "documents": ["x"], "max_tokens": 2}
    known = {
        "/v1/chat/completions": ["messages", "max_tokens"],
        "/v1/completions": ["prompt", "max_tokens"],
        "/v1/responses": ["input"],
        "/v1/messages": ["messages", "max_tokens"],
        "/v1/embeddings": ["input"],
        "/v1/rerank": ["query", "documents"],
    }[path]
    refused = clients["ada"].post(path, json={key: body[key] for key in known} | {"temprature": 1})
    assert refused.status_code == 400 and "temprature" in refused.text


def test_other_content_types(clients):
    refused = clients["ada"].post(
        "/v1/chat/completions", content=b"a=b", headers={"content-type": "application/x-www-form-urlencoded"}
    )
    assert refused.status_code == 415
    zipped = clients["ada"].post(
        "/v1/chat/completions", content=b"{}", headers={"content-encoding": "gzip", "content-type": "application/json"}
    )
    assert zipped.status_code == 415


@pytest.mark.parametrize(
    "request_, status",
    [
        (b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n\r\n", 411),
        (b"GET /v1/models HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000 + b"\r\n\r\n", 431),
        (b"NONSENSE\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", 505),
        (b"POST /v1/models HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 405),
    ],
    ids=["no length", "large head", "no HTTP", "version", "method"],
)
def test_what_is_no_sound_request(server, request_, status):
    """The body of each is validated like all others."""
    with socket.create_connection(("127.0.0.1", server.relay.port)) as connection:
        connection.settimeout(20)
        connection.sendall(request_)
        answer = connection.recv(1 << 16)
    assert answer.startswith(b"HTTP/1.1 %d " % status)


def test_mistakes_are_not_retried(guarded):
    """What is deterministic has a status that no SDK tries again."""
    sent = []
    http = httpx.Client(event_hooks={"request": [sent.append]})
    client = openai.OpenAI(base_url=guarded.url + "/v1", api_key="key-of-ada", max_retries=3, http_client=http)
    for wrong in ({"temperature": 9}, {"messages": []}, {"extra_body": {"no_such": 1}}, {"model": "other"}):
        sent.clear()
        with pytest.raises((openai.BadRequestError, openai.NotFoundError)):
            client.chat.completions.create(**{"model": "qwend-demo", "messages": HELLO, "max_tokens": 2} | wrong)
        assert len(sent) == 1
