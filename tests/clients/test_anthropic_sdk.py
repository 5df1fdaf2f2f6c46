"""/v1/messages with the Anthropic SDK: whole, streamed, tools, prefill, counting, errors."""

import anthropic
import httpx
import pytest
from conftest import ASK_WEATHER, STORY
from conftest import MESSAGES_WEATHER as WEATHER

GREEDY = {"temperature": 0}  # the SDK has no argument for it


@pytest.fixture(scope="module")
def claude(server):
    return anthropic.Anthropic(base_url=server.url, api_key="unused", max_retries=0, timeout=120)


def test_message(claude, client, model):
    message = claude.messages.create(model=model, system="Be brief.", messages=STORY, max_tokens=32, extra_body=GREEDY)
    chat = client.chat.completions.create(
        model=model, messages=[{"role": "system", "content": "Be brief."}, *STORY], max_tokens=32, temperature=0
    )
    assert message.type == "message" and message.role == "assistant"
    assert message.content[0].text == chat.choices[0].message.content
    assert message.usage.input_tokens + message.usage.cache_read_input_tokens == chat.usage.prompt_tokens
    assert message.usage.output_tokens == chat.usage.completion_tokens
    assert message.stop_reason == {"stop": "end_turn", "length": "max_tokens"}[chat.choices[0].finish_reason]


def test_blocks_are_joined(claude, model):
    request = dict(model=model, max_tokens=16, extra_body=GREEDY)
    text = claude.messages.create(system="Be brief.", messages=STORY, **request)
    blocks = claude.messages.create(
        system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        messages=[{"role": "user", "content": [{"type": "text", "text": "Tell me "}, {"type": "text", "text": "a story."}]}],
        **request,
    )
    assert blocks.content[0].text == text.content[0].text


def test_stream_equals_whole(claude, model):
    request = dict(model=model, messages=STORY, max_tokens=32, extra_body=GREEDY)
    whole = claude.messages.create(**request)
    with claude.messages.stream(**request) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == whole.content[0].text == final.content[0].text
    assert final.stop_reason == whole.stop_reason
    assert final.usage.output_tokens == whole.usage.output_tokens


def test_events(claude, model):
    events = list(claude.messages.create(model=model, messages=STORY, max_tokens=8, extra_body=GREEDY, stream=True))
    types = [event.type for event in events]
    assert types[:2] == ["message_start", "content_block_start"]
    assert types[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(types[2:-3]) == {"content_block_delta"}
    assert events[0].message.usage.input_tokens > 0


def test_stop_sequence(claude, model):
    request = dict(model=model, messages=STORY, max_tokens=32, extra_body=GREEDY)
    text = claude.messages.create(**request).content[0].text
    stop = text[len(text) // 2 :][:3]
    stopped = claude.messages.create(**request, stop_sequences=["never said", stop])
    assert stopped.content[0].text == text[: text.index(stop)]
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", stop)


def test_prefill_is_continued(claude, model):
    request = dict(model=model, max_tokens=16, extra_body=GREEDY)
    text = claude.messages.create(messages=STORY, **request).content[0].text
    half = text[: len(text) // 2].rstrip()
    rest = claude.messages.create(messages=[*STORY, {"role": "assistant", "content": half}], **request)
    assert rest.content and not rest.content[0].text.startswith(half)


def test_tool_round_trip(claude, model):
    request = dict(model=model, tools=[WEATHER], max_tokens=64, extra_body=GREEDY)
    forced = dict(request, messages=ASK_WEATHER, tool_choice={"type": "tool", "name": "get_weather"})
    called = claude.messages.create(**forced)
    assert called.stop_reason == "tool_use"
    use = called.content[-1]
    assert use.type == "tool_use" and use.name == "get_weather" and use.input["city"]
    with claude.messages.stream(**forced) as stream:
        assert stream.get_final_message().content[-1].input == use.input
    answered = claude.messages.create(
        **request,
        messages=[
            *ASK_WEATHER,
            {"role": "assistant", "content": [use.model_dump(include={"type", "id", "name", "input"})]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use.id, "content": '{"temperature": 21}'}]},
        ],
    )
    assert answered.content[0].type == "text" and answered.content[0].text


def test_count_tokens(claude, model):
    request = dict(model=model, system="Be brief.", messages=ASK_WEATHER, tools=[WEATHER])
    counted = claude.messages.count_tokens(**request)
    usage = claude.messages.create(**request, max_tokens=1).usage
    assert counted.input_tokens == usage.input_tokens + usage.cache_read_input_tokens


# ---- errors


def test_bad_request(claude, model):
    with pytest.raises(anthropic.BadRequestError) as caught:
        claude.messages.create(model=model, messages=STORY, max_tokens=8, extra_body={"temperature": 3})
    assert caught.value.body["type"] == "error"
    assert caught.value.body["error"]["type"] == "invalid_request_error"
    assert "'temperature'" in caught.value.body["error"]["message"]


def test_unknown_model(claude):
    with pytest.raises(anthropic.NotFoundError) as caught:
        claude.messages.create(model="claude", messages=STORY, max_tokens=8)
    assert caught.value.body["error"]["type"] == "not_found_error"


def test_errors_of_the_transport_have_the_shape_too(server):
    for response in (httpx.get(server.url + "/v1/messages"), httpx.post(server.url + "/v1/messages", content="{")):
        assert response.status_code in (405, 415, 400)
        assert response.json()["type"] == "error"
        assert set(response.json()["error"]) == {"type", "message"}


@pytest.mark.parametrize(
    "change, named",
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"type": "tool_result"}]}]}, "messages[0].content[0].tool_use_id"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"stop_sequences": [""]}, "stop_sequences[0]"),
        ({"tools": [{"name": "f", "input_schema": []}]}, "tools[0].input_schema"),
        ({"tools": [{"name": "a b", "input_schema": {}}]}, "tools[0].name"),
        ({"tools": [{"type": "bash_20250124", "name": "bash"}]}, "tools[0].type"),
        ({"tool_choice": {"type": "tool", "name": "missing"}}, "tool_choice"),
        ({"thinking": {"type": "sometimes"}}, "thinking.type"),
    ],
)
def test_mistakes_name_the_path(server, model, change, named):
    body = {"model": model, "max_tokens": 8, "messages": STORY} | change
    response = httpx.post(server.url + "/v1/messages", json=body)
    assert response.status_code == 400
    assert f"'{named}'" in response.json()["error"]["message"]
