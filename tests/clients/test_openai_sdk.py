"""The OpenAI Python SDK against qwend: what it parses, raises, retries and cancels."""

import asyncio
import json
import time

import httpx
import openai
import pytest
from conftest import ASK_WEATHER, HELLO, STORY, WEATHER



def wait_for(condition, seconds=10):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def idle(server):
    return server.metric("vllm:num_requests_running") == 0 and server.metric("vllm:num_requests_waiting") == 0


# ---- chat


def test_chat(client, model):
    answer = client.chat.completions.create(model=model, messages=HELLO, max_tokens=32, temperature=0)
    assert answer.object == "chat.completion"
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason in ("stop", "length")
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_stream_equals_whole(client, model):
    request = dict(model=model, messages=HELLO, max_tokens=48, temperature=0)
    whole = client.chat.completions.create(**request)
    chunks = list(client.chat.completions.create(**request, stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[0].choices[0].delta.content
    assert chunks[-1].choices[0].finish_reason == whole.choices[0].finish_reason
    assert len({c.id for c in chunks}) == 1
    assert len(chunks) - 1 <= whole.usage.completion_tokens


def test_stream_usage(client, model):
    chunks = list(
        client.chat.completions.create(
            model=model, messages=HELLO, max_tokens=16, stream=True, stream_options={"include_usage": True}
        )
    )
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens > 0
    assert all(c.usage is None for c in chunks[:-1])


def test_raw_stream(server, model):
    body = {"model": model, "messages": HELLO, "max_tokens": 16, "stream": True, "logprobs": True}
    with httpx.stream("POST", server.url + "/v1/chat/completions", json=body, timeout=120) as response:
        assert response.headers["content-type"] == "text/event-stream"
        assert response.headers["x-request-id"]
        events = [line[6:] for line in response.iter_lines() if line.startswith("data: ")]
    assert events[-1] == "[DONE]" and events.count("[DONE]") == 1


def test_n(client, model):
    answer = client.chat.completions.create(
        model=model, messages=STORY, max_tokens=24, n=4, temperature=2, top_p=1, seed=1, extra_body={"top_k": 0}
    )
    assert [c.index for c in answer.choices] == [0, 1, 2, 3]
    assert len({c.message.content for c in answer.choices}) > 1


def test_seed(client, model):
    def draw(seed):
        answer = client.chat.completions.create(
            model=model, messages=STORY, max_tokens=24, temperature=2, top_p=1, seed=seed, extra_body={"top_k": 0}
        )
        return answer.choices[0].message.content

    assert draw(7) == draw(7)
    assert len({draw(seed) for seed in range(4)}) > 1


def test_stop_and_length(client, model):
    whole = client.chat.completions.create(model=model, messages=HELLO, max_tokens=32, temperature=0)
    text = whole.choices[0].message.content
    stop = text[len(text) // 2 :][:3]
    stopped = client.chat.completions.create(model=model, messages=HELLO, max_tokens=32, temperature=0, stop=stop)
    assert stopped.choices[0].message.content == text[: text.index(stop)]
    assert stopped.choices[0].finish_reason == "stop"
    cut = client.chat.completions.create(model=model, messages=HELLO, max_tokens=1, temperature=0)
    assert cut.choices[0].finish_reason == "length"
    assert cut.usage.completion_tokens == 1


def test_logprobs(client, model):
    answer = client.chat.completions.create(
        model=model, messages=HELLO, max_tokens=16, temperature=0, logprobs=True, top_logprobs=5
    )
    entries = answer.choices[0].logprobs.content
    text = b"".join(bytes(e.bytes) for e in entries).decode()
    assert text == answer.choices[0].message.content
    for entry in entries:
        assert entry.logprob <= 0
        assert len(entry.top_logprobs) == 5
        assert entry.top_logprobs[0].logprob == max(t.logprob for t in entry.top_logprobs)


def test_forced_tool_call(client, model):
    request = dict(
        model=model,
        messages=ASK_WEATHER,
        tools=[WEATHER],
        tool_choice={"type": "function", "function": {"name": "get_weather"}},
        max_tokens=64,
        temperature=0,
    )
    try:
        whole = client.chat.completions.create(**request)
    except openai.BadRequestError as refused:
        assert refused.code == "unsupported"  # this model's template has no tools
        return
    calls = whole.choices[0].message.tool_calls
    if not calls:  # a small model may write no JSON: then it must be content
        assert whole.choices[0].message.content.startswith("<tool_call>")
        return
    assert calls[0].function.name == "get_weather"
    name, arguments = "", ""
    for chunk in client.chat.completions.create(**request, stream=True):
        for call in chunk.choices[0].delta.tool_calls or []:
            name += call.function.name or ""
            arguments += call.function.arguments or ""
    assert name == "get_weather"
    assert arguments == calls[0].function.arguments
    if whole.choices[0].finish_reason == "tool_calls":
        assert isinstance(json.loads(arguments), dict)


# ---- completions, models


def test_completions(client, model):
    answer = client.completions.create(model=model, prompt="Once upon a time", max_tokens=16, temperature=0)
    streamed = client.completions.create(
        model=model, prompt="Once upon a time", max_tokens=16, temperature=0, stream=True
    )
    assert "".join(c.choices[0].text for c in streamed) == answer.choices[0].text


def test_completion_batches(client, server, model):
    ids = httpx.post(server.url + "/tokenize", json={"content": "Once upon a time"}).json()["tokens"]
    text = client.completions.create(model=model, prompt="Once upon a time", max_tokens=8, temperature=0)
    batch = client.completions.create(model=model, prompt=[ids, ids[:2], ids], max_tokens=8, temperature=0, n=2)
    assert [c.index for c in batch.choices] == list(range(6))
    for index in (0, 1, 4, 5):
        assert batch.choices[index].text == text.choices[0].text


def test_prompt_logprobs(client, server, model):
    ids = httpx.post(server.url + "/tokenize", json={"content": "The cat sat on the mat."}).json()["tokens"]
    answer = client.completions.create(model=model, prompt=[ids], max_tokens=1, echo=True, logprobs=1, temperature=0)
    logprobs = answer.choices[0].logprobs
    assert len(logprobs.tokens) == len(ids) + 1
    assert logprobs.token_logprobs[0] is None
    assert all(value <= 0 for value in logprobs.token_logprobs[1:])
    only = client.completions.create(model=model, prompt=[ids], max_tokens=0, echo=True, logprobs=1)
    assert only.choices[0].logprobs.token_logprobs == pytest.approx(logprobs.token_logprobs[:-1], abs=1e-4)


def test_models(client, model):
    assert client.models.retrieve(model).id == model


# ---- errors: each of the SDK's exceptions


def test_bad_request(client, model):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=model, messages=HELLO, temperature=3)
    assert caught.value.param == "temperature"


def test_context_length(client, model):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=model, messages=[{"role": "user", "content": "word " * 200_000}])
    assert caught.value.code == "context_length_exceeded"


def test_unknown_model(client):
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="no-such-model", messages=HELLO)
    assert caught.value.code == "model_not_found"


def test_unsupported(client, model):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=model, messages=HELLO, response_format={"type": "json_object"})
    assert caught.value.code == "unsupported"


def test_invalid_json(server):
    response = httpx.post(
        server.url + "/v1/chat/completions", content="{", headers={"content-type": "application/json"}
    )
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "invalid_json"


def test_errors_are_not_retried(server, model):
    counted = 0

    def count(request):
        nonlocal counted
        counted += 1

    http = httpx.Client(event_hooks={"request": [count]})
    retrying = openai.OpenAI(base_url=server.url + "/v1", api_key="x", max_retries=3, http_client=http)
    with pytest.raises(openai.BadRequestError):
        retrying.chat.completions.create(model=model, messages=[])
    assert counted == 1


# ---- cancelling


def test_timeout_cancels(client, server, model):
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.2).chat.completions.create(
            model=model, messages=HELLO, max_tokens=100_000, extra_body={"ignore_eos": True}
        )
    assert wait_for(lambda: idle(server))


def test_closing_a_stream_cancels(client, server, model):
    stream = client.chat.completions.create(
        model=model, messages=HELLO, max_tokens=100_000, n=2, stream=True, extra_body={"ignore_eos": True}
    )
    next(iter(stream))
    stream.close()
    assert wait_for(lambda: idle(server))


def test_concurrent_clients(async_client, server, model):
    async def run():
        async with async_client() as client:

            async def one(i):
                answer = await client.completions.create(
                    model=model, prompt=f"Number {i % 4}:", max_tokens=12, temperature=0
                )
                return answer.choices[0].text

            return await asyncio.gather(*(one(i) for i in range(24)))

    texts = asyncio.run(run())
    for i, text in enumerate(texts):
        assert text == texts[i % 4]  # company changes nothing
    assert wait_for(lambda: idle(server))
