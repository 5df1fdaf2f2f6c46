"""The validation itself: what it lets through and what it must not."""

import copy
import json

import pytest
from conftest import SCHEMA
from shapes import Validator
from wire import Exchange, Connection

CHUNK = {
    "id": "chatcmpl-1",
    "object": "chat.completion.chunk",
    "created": 1,
    "model": "m",
    "system_fingerprint": "f",
    "choices": [{"index": 0, "delta": {"role": "assistant", "content": "a"}, "logprobs": None, "finish_reason": None}],
}
COMPLETED = {
    "type": "response.output_text.done",
    "item_id": "x",
    "output_index": 0,
    "content_index": 0,
    "text": "",
    "logprobs": [],
}


@pytest.fixture
def validator():
    return Validator(SCHEMA if SCHEMA.exists() else None)


def stream(*datas, path="/v1/chat/completions", named=False):
    texts = [data if isinstance(data, str) else json.dumps(data) for data in datas]
    names = [f"event: {data['type']}\n" if named else "" for data in datas]
    body = "".join(f"{name}data: {text}\n\n" for name, text in zip(names, texts))
    headers = {"content-type": "text/event-stream", "x-request-id": "1"}
    return Exchange("POST", path, 200, headers, bytearray(body.encode()), True, True)


def test_valid_streams(validator):
    assert validator.problem(stream(CHUNK, CHUNK, "[DONE]")) is None
    assert validator.counts == {"chat chunk": 2}
    assert "2 chat chunk" in validator.summary()


def changed(**members):
    return copy.deepcopy(CHUNK) | members


@pytest.mark.parametrize(
    "wrong, said",
    [
        (changed(created="1"), "created"),
        (changed(object="chat.completion"), "object"),
        (changed(surprise=1), "ChatCompletionChunk.surprise"),
        (changed(choices=[{"index": 0, "delta": {"role": "nobody"}, "finish_reason": None}]), "role"),
        (changed(choices=[{"index": 0, "delta": {}, "finish_reason": "tired"}]), "finish_reason"),
        ('{"id": "a", "id": "b"}', "duplicate"),
        ('{"id": NaN}', "not JSON"),
        ({"error": {"message": "no"}}, "type"),
    ],
)
def test_wrong_chunks(validator, wrong, said):
    assert said in validator.problem(stream(CHUNK, wrong, "[DONE]"))


def test_wrong_streams(validator):
    assert "no [DONE]" in validator.problem(stream(CHUNK))
    assert "differ in id" in validator.problem(stream(CHUNK, changed(id="chatcmpl-2"), "[DONE]"))
    events = [COMPLETED | {"sequence_number": number} for number in (0, 2)]
    assert "[0, 2]" in validator.problem(stream(*events, path="/v1/responses", named=True))


def test_unknown_paths(validator):
    assert "nobody knows" in validator.problem(stream(CHUNK, path="/v1/new"))


def test_answers_are_read_however_they_are_cut():
    request = b"POST /a?b HTTP/1.1\r\nContent-Length: 3\r\n\r\nxyzGET /c HTTP/1.1\r\n\r\n"
    answer = (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno"
    )
    for size in (1, 7, 1000):
        exchanges = []
        connection = Connection(exchanges.append)
        for direction, data in (("request", request), ("answer", answer)):
            for begin in range(0, len(data), size):
                connection.feed(direction, data[begin : begin + size])
        assert [str(exchange) for exchange in exchanges] == ["POST /a -> 200", "GET /c -> 404"]
        assert [bytes(exchange.body) for exchange in exchanges] == [b"abcde", b"no"]
        assert all(exchange.whole for exchange in exchanges)
