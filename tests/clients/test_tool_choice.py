"""tool_choice with the demo model, in both ways that families write calls, whole and streamed: what is forced is called."""

import json

import httpx
import openai
import pytest
from conftest import ASK_WEATHER, CITY, DEMO_TEMPLATE, HELLO, STORY, WEATHER

# What the XML families' templates are known by.
XML_TEMPLATE = "<|im_start|> <function= <parameter="
NAMES = ["get_weather", "get_time", "ask-question", "get"]
TOOLS = [{"type": "function", "function": {"name": name, "parameters": CITY}} for name in NAMES]


def only(*names, mode="required"):
    tools = [{"type": "function", "function": {"name": name}} for name in names]
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}


def named(name):
    return {"type": "function", "function": {"name": name}}


@pytest.fixture(scope="module")
def xml_server(serve_demo):
    return serve_demo("xml", strings=[(DEMO_TEMPLATE, XML_TEMPLATE)])


@pytest.fixture(scope="module", params=["json", "xml"])
def family(request, server):
    running = server if request.param == "json" else request.getfixturevalue("xml_server")
    return openai.OpenAI(base_url=running.url + "/v1", api_key="unused", max_retries=0, timeout=120)


def ask(family, stream=False, **request):
    """(content, [(name, arguments)], finish_reason)"""
    request = dict(model=family.models.list().data[0].id, max_tokens=64, temperature=0) | request
    if not stream:
        choice = family.chat.completions.create(**request).choices[0]
        calls = [(call.function.name, call.function.arguments) for call in choice.message.tool_calls or []]
        return choice.message.content, calls, choice.finish_reason
    content, calls, finish_reason = "", [], None
    for chunk in family.chat.completions.create(**request, stream=True):
        delta = chunk.choices[0].delta
        content += delta.content or ""
        for call in delta.tool_calls or []:
            if call.id:
                assert call.index == len(calls)
                calls.append((call.function.name, ""))
            calls[-1] = (calls[-1][0], calls[-1][1] + call.function.arguments)
        finish_reason = chunk.choices[0].finish_reason or finish_reason
    return content or None, calls, finish_reason


@pytest.mark.parametrize(
    "tool_choice, allowed",
    [
        ("required", NAMES),
        (named("get_time"), ["get_time"]),
        (named("get"), ["get"]),  # the beginning of others
        (only("get_time", "ask-question"), ["get_time", "ask-question"]),
        (only("ask-question"), ["ask-question"]),
    ],
    ids=["required", "named", "named-prefix", "allowed", "allowed-one"],
)
@pytest.mark.parametrize("messages", [ASK_WEATHER, STORY, HELLO], ids=["weather", "story", "hello"])
def test_forced(family, messages, tool_choice, allowed):
    request = dict(messages=messages, tools=TOOLS, tool_choice=tool_choice)
    whole = ask(family, **request)
    assert whole[1] and {name for name, _ in whole[1]} <= set(allowed)
    assert ask(family, stream=True, **request) == whole
    for seed in range(3):  # an unlikely name, and whatever follows it
        drawn = ask(family, **request, temperature=2, seed=seed, extra_body={"top_k": 0, "top_p": 1, "min_p": 0})
        assert drawn[1] and {name for name, _ in drawn[1]} <= set(allowed)


def test_none_and_auto(server, client):
    assert not ask(client, messages=ASK_WEATHER, tools=[WEATHER], tool_choice="none")[1]
    content, calls, finish_reason = ask(client, messages=ASK_WEATHER, tools=[WEATHER], tool_choice="auto")
    assert (content, finish_reason) == (None, "tool_calls")
    assert calls[0][0] == "get_weather" and json.loads(calls[0][1])["city"] == "Paris"
    auto = only("get_weather", mode="auto")
    assert ask(client, messages=ASK_WEATHER, tools=[WEATHER, *TOOLS[1:]], tool_choice=auto)[1] == calls


def test_ask_call_result_answer(client, model):
    """The whole round, whole and streamed."""
    for stream in (False, True):
        _, calls, finish_reason = ask(client, stream, messages=ASK_WEATHER, tools=[WEATHER])
        assert finish_reason == "tool_calls"
        call = {"id": "call_1", "type": "function", "function": {"name": calls[0][0], "arguments": calls[0][1]}}
        messages = [
            *ASK_WEATHER,
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_1", "content": '{"temperature": 21}'},
        ]
        content, calls, finish_reason = ask(client, stream, messages=messages, tools=[WEATHER])
        assert not calls and finish_reason == "stop"
        assert "21" in content


def test_other_dialects_force_too(server, model):
    base = {"model": model, "temperature": 0}
    function = {"type": "function", "name": "get_time", "parameters": CITY}
    body = base | {"input": STORY, "max_output_tokens": 64, "tools": [function, function | {"name": "get"}]}
    named_get = {"type": "function", "name": "get"}
    some = {"type": "allowed_tools", "mode": "required", "tools": [named_get]}
    for choice, allowed in (("required", {"get_time", "get"}), (named_get, {"get"}), (some, {"get"})):
        items = httpx.post(server.url + "/v1/responses", json=body | {"tool_choice": choice}).json()["output"]
        assert items[0]["type"] == "function_call" and items[0]["name"] in allowed
    body = base | {"messages": STORY, "max_tokens": 64}
    body["tools"] = [{"name": name, "input_schema": CITY} for name in ("get_time", "get")]
    for choice, allowed in (({"type": "any"}, {"get_time", "get"}), ({"type": "tool", "name": "get"}, {"get"})):
        blocks = httpx.post(server.url + "/v1/messages", json=body | {"tool_choice": choice}).json()["content"]
        assert blocks[0]["type"] == "tool_use" and blocks[0]["name"] in allowed


def test_a_forced_call_that_is_cut_short(family):
    request = dict(messages=ASK_WEATHER, tools=TOOLS, tool_choice=named("get_time"), max_tokens=2)
    content, calls, finish_reason = ask(family, **request)
    assert finish_reason == "length" and content is None
    assert calls[0][0] == "get_time"


def test_a_malformed_call_is_content(client):
    """A model that is kept from writing JSON: its call fails nothing."""
    request = dict(messages=ASK_WEATHER, tools=[WEATHER], extra_body={"bad_words": ["name", '"name', "arguments"]})
    content, calls, finish_reason = ask(client, **request)
    assert not calls and content.startswith("<tool_call>")
    assert finish_reason in ("stop", "length")
    assert ask(client, stream=True, **request) == (content, [], finish_reason)
