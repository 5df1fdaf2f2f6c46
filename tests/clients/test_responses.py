"""/v1/responses with the OpenAI Python SDK: whole, streamed, tools, kept responses, cancelling."""

import json

import httpx
import openai
import pytest
from conftest import ASK_WEATHER, STORY, STORY_TEXT
from conftest import RESPONSES_WEATHER as WEATHER


def raw_events(server, body):
    """[(event name, data)] of a stream."""
    names, datas = [], []
    with httpx.stream("POST", server.url + "/v1/responses", json=body | {"stream": True}, timeout=120) as response:
        assert response.headers["content-type"] == "text/event-stream"
        for line in response.iter_lines():
            if line.startswith("event: "):
                names.append(line[7:])
            elif line.startswith("data: "):
                datas.append(json.loads(line[6:]))
    assert len(names) == len(datas)
    return list(zip(names, datas))


def test_response(client, model):
    response = client.responses.create(model=model, input="Say hello.", instructions="Be brief.", temperature=0)
    assert response.status == "completed"
    assert response.output_text
    assert response.instructions == "Be brief."
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens


def test_the_same_answer_as_chat(client, model):
    chat = client.chat.completions.create(
        model=model,
        messages=[{"role": "system", "content": "Be brief."}, *STORY],
        max_tokens=32,
        temperature=0,
    )
    response = client.responses.create(
        model=model, instructions="Be brief.", input=STORY_TEXT, max_output_tokens=32, temperature=0
    )
    assert response.output_text == chat.choices[0].message.content
    assert response.usage.input_tokens == chat.usage.prompt_tokens


def test_stream_equals_whole(client, model):
    request = dict(model=model, input=[{"role": "user", "content": "Say hello."}], temperature=0)
    whole = client.responses.create(**request)
    with client.responses.stream(**request) as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        final = stream.get_final_response()
    assert text == whole.output_text == final.output_text
    assert final.status == whole.status


def test_events_are_ordered(server, model):
    events = raw_events(server, {"model": model, "input": STORY_TEXT, "max_output_tokens": 24, "temperature": 0})
    assert [data["sequence_number"] for _, data in events] == list(range(len(events)))
    names = [name for name, _ in events]
    assert names[:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert names[-4:-1] == ["response.output_text.done", "response.content_part.done", "response.output_item.done"]
    assert names[-1] in ("response.completed", "response.incomplete")
    joined = "".join(data["delta"] for name, data in events if name == "response.output_text.delta")
    assert joined == events[-4][1]["text"] == events[-1][1]["response"]["output"][0]["content"][0]["text"]


def test_incomplete(client, model):
    response = client.responses.create(model=model, input=STORY, max_output_tokens=1, temperature=0)
    assert response.status == "incomplete"
    assert response.incomplete_details.reason == "max_output_tokens"


def test_logprobs(client, model):
    response = client.responses.create(
        model=model,
        input=STORY,
        max_output_tokens=16,
        temperature=0,
        include=["message.output_text.logprobs"],
        top_logprobs=2,
    )
    entries = response.output[0].content[0].logprobs
    assert b"".join(bytes(entry.bytes) for entry in entries).decode() == response.output_text
    assert all(len(entry.top_logprobs) == 2 for entry in entries)


def test_forced_function_call(client, server, model):
    request = dict(
        model=model,
        input=ASK_WEATHER,
        tools=[WEATHER],
        tool_choice={"type": "function", "name": "get_weather"},
        max_output_tokens=64,
        temperature=0,
    )
    whole = client.responses.create(**request)
    calls = [item for item in whole.output if item.type == "function_call"]
    assert calls and calls[0].name == "get_weather"
    assert json.loads(calls[0].arguments)["city"]
    events = raw_events(server, request)
    deltas = [data["delta"] for name, data in events if name == "response.function_call_arguments.delta"]
    assert "".join(deltas) == calls[0].arguments

    answered = client.responses.create(
        model=model,
        input=[
            *ASK_WEATHER,
            {
                "type": "function_call",
                "call_id": calls[0].call_id,
                "name": "get_weather",
                "arguments": deltas and "".join(deltas),
            },
            {"type": "function_call_output", "call_id": calls[0].call_id, "output": '{"temperature": 21}'},
        ],
        tools=[WEATHER],
        max_output_tokens=48,
        temperature=0,
    )
    assert answered.output_text


def test_kept_responses(client, model):
    first = client.responses.create(
        model=model, input="My name is Ada.", store=True, max_output_tokens=24, temperature=0
    )
    kept = client.responses.retrieve(first.id)
    assert kept.output_text == first.output_text
    second = client.responses.create(
        model=model, input=STORY, previous_response_id=first.id, max_output_tokens=24, temperature=0
    )
    whole = client.responses.create(
        model=model,
        input=[
            {"role": "user", "content": "My name is Ada."},
            {"role": "assistant", "content": first.output_text},
            *STORY,
        ],
        max_output_tokens=24,
        temperature=0,
    )
    assert second.output_text == whole.output_text
    assert second.usage.input_tokens == whole.usage.input_tokens
    assert client.responses.cancel(first.id).status == first.status  # it has ended already
    client.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(first.id)


def test_stateless_unless_asked(client, model):
    response = client.responses.create(model=model, input="Hi", max_output_tokens=4)
    assert response.store is False
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(response.id)
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model=model, input="Hi", previous_response_id=response.id)
    assert caught.value.param == "previous_response_id"


def test_cancel_while_it_runs(client, model):
    stream = client.responses.create(
        model=model, input=STORY, store=True, stream=True, extra_body={"ignore_eos": True}, max_output_tokens=1900
    )
    created = next(iter(stream))
    assert client.responses.retrieve(created.response.id).status == "in_progress"
    cancelled = client.responses.cancel(created.response.id)
    events = list(stream)
    assert cancelled.status == "cancelled"
    assert events[-1].type == "response.incomplete"
    assert events[-1].response.status == "cancelled"


def test_input_tokens(client, server, model):
    request = {"model": model, "instructions": "Be brief.", "input": STORY, "tools": [WEATHER]}
    counted = httpx.post(server.url + "/v1/responses/input_tokens", json=request).json()
    used = client.responses.create(**request, max_output_tokens=1)
    assert counted["input_tokens"] == used.usage.input_tokens


def test_truncation(client, model):
    turns = [{"role": "user", "content": "word " * 900}, {"role": "assistant", "content": "Yes."}] * 4
    request = dict(model=model, input=[*turns, *STORY], max_output_tokens=8)
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(**request)
    assert caught.value.code == "context_length_exceeded"
    assert client.responses.create(**request, truncation="auto").output_text


@pytest.mark.parametrize(
    "change, param",
    [
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]}, "input[0].content[0]"),
        ({"input": [{"type": "web_search_call", "id": "x"}]}, "input[0].type"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "function", "name": "a b"}]}, "tools[0].name"),
        ({"tool_choice": {"type": "function", "name": "missing"}}, "tool_choice"),
        ({"text": {"format": {"type": "json_schema", "name": "x", "schema": "no"}}}, "text.format"),
        ({"reasoning": {"effort": "huge"}}, "reasoning.effort"),
        ({"background": True}, "background"),
        ({"temperature": 3}, "temperature"),
    ],
)
def test_mistakes(server, model, change, param):
    response = httpx.post(server.url + "/v1/responses", json={"model": model, "input": "Hi"} | change)
    assert response.status_code == 400
    assert response.json()["error"]["param"].startswith(param)


@pytest.mark.parametrize(
    "change, param",
    [
        ({"background": True}, "background"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"context_management": [{"type": "compaction"}]}, "context_management"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "custom", "name": "x"}]}, "tools[0].type"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_unsupported(client, server, model, change, param):
    """What would need state or services that a server of one model does not have is refused, streamed or not, kept or not."""
    for more in ({}, {"stream": True}, {"store": True}):
        refused = httpx.post(server.url + "/v1/responses", json={"model": model, "input": "Hi"} | change | more)
        error = refused.json()["error"]
        assert (refused.status_code, error["code"], error["param"]) == (400, "unsupported", param)
