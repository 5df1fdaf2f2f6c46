"""Thinking, with the demo model made a thinker: blocks, budgets, prefilled thoughts, in every dialect."""

import anthropic
import httpx
import openai
import pytest
from conftest import ASK_WEATHER, DEMO_TEMPLATE, STORY, WEATHER

# What Qwen3's template is known by.
THINKING_TEMPLATE = (
    "<|im_start|> You may call one or more functions to assist with the user query. return a json object with function "
    "name and arguments within <tool_call></tool_call> XML tags </think> last_query enable_thinking"
)
TAGS = [("<tool_response>", "<think>"), ("</tool_response>", "</think>")]  # tokens of theirs


@pytest.fixture(scope="module")
def thinker(serve_demo):
    """Thinks when it has been made to begin: the demo model has not learnt to."""
    return serve_demo("thinker", "--reasoning-field", "both", strings=[(DEMO_TEMPLATE, THINKING_TEMPLATE), *TAGS])


@pytest.fixture(scope="module")
def always(serve_demo):
    """Thinks first, whatever is asked; a budget makes it answer."""
    template = THINKING_TEMPLATE.replace("enable_thinking", "") + " <|im_start|>assistant\\n<think>\\n'"
    return serve_demo("always", strings=[(DEMO_TEMPLATE, template), *TAGS])


def think(server, thought="", **request):
    """The answer to STORY by a model that has begun to think."""
    messages = [*STORY, {"role": "assistant", "content": f"<think>\n{thought}"}]
    body = {
        "messages": messages,
        "continue_final_message": True,
        "temperature": 0,
        "ignore_eos": True,
        "max_tokens": 40,
    }
    response = httpx.post(server.url + "/v1/chat/completions", json=body | request, timeout=60)
    assert response.status_code == 200, response.text
    return response


def test_a_prefilled_thought_goes_on(thinker):
    answer = think(thinker, "There once was").json()
    message = answer["choices"][0]["message"]
    assert message["reasoning_content"] and not message["content"]
    assert message["reasoning"] == message["reasoning_content"]
    assert answer["usage"]["completion_tokens_details"]["reasoning_tokens"] == 40
    messages = [*STORY, {"role": "assistant", "reasoning_content": "There once was"}]
    assert think(thinker, messages=messages).json()["choices"][0]["message"] == message


def test_thinking_budgets(thinker):
    for budget in (0, 1, 7, 20):
        answer = think(thinker, "There once was", thinking_token_budget=budget).json()
        message = answer["choices"][0]["message"]
        used = answer["usage"]["completion_tokens_details"]["reasoning_tokens"]
        assert budget <= used <= budget + 6  # the tokens of the end, "\n</think>\n\n"
        assert message["content"] and "</think>" not in message["content"]
        assert bool(message.get("reasoning_content")) == (budget > 0)
        text = think(thinker, "There once was", thinking_token_budget=budget, stream=True).text
        assert text.count("</think>") == 0 and text.count('"reasoning_content"') <= budget
    free = think(thinker, "There once was", thinking_token_budget=-1).json()
    assert free["choices"][0]["message"] == think(thinker, "There once was").json()["choices"][0]["message"]


@pytest.mark.parametrize(
    "off",
    [{"enable_thinking": False}, {"chat_template_kwargs": {"enable_thinking": False}}, {"reasoning_effort": "none"}],
    ids=["flag", "kwargs", "effort"],
)
def test_thinking_is_switched_off(thinker, off):
    prompt = httpx.post(thinker.url + "/apply-template", json={"messages": STORY} | off).json()["prompt"]
    assert prompt.endswith("<think>\n\n</think>\n\n")
    on = httpx.post(thinker.url + "/apply-template", json={"messages": STORY, "reasoning_effort": "high"}).json()[
        "prompt"
    ]
    assert "</think>" not in on


def test_thoughts_of_earlier_turns_are_left_out(thinker):
    messages = [*STORY, {"role": "assistant", "content": "Once.", "reasoning_content": "hmm"}, *STORY]
    prompt = httpx.post(thinker.url + "/apply-template", json={"messages": messages}).json()["prompt"]
    assert "Once." in prompt and "hmm" not in prompt


# ---- a model that always thinks

BUDGET = {"thinking_token_budget": 9, "ignore_eos": True}
SAID = dict(model="always", temperature=0, extra_body=BUDGET)


@pytest.fixture(scope="module")
def chat(always):
    return openai.OpenAI(base_url=always.url + "/v1", api_key="unused", max_retries=0).chat.completions


def test_chat_whole_and_streamed(chat):
    request = dict(messages=STORY, max_tokens=40, **SAID)
    whole = chat.create(**request)
    message = whole.choices[0].message
    assert message.reasoning_content and message.content
    assert 9 <= whole.usage.completion_tokens_details.reasoning_tokens <= 15
    thought = text = ""
    for chunk in chat.create(**request, stream=True):
        delta = chunk.choices[0].delta
        thought += getattr(delta, "reasoning_content", None) or ""
        text += delta.content or ""
    assert (thought, text) == (message.reasoning_content, message.content)


def test_a_stream_that_ends_within_the_thought(chat):
    answer = chat.create(messages=STORY, max_tokens=5, **SAID)
    assert answer.choices[0].finish_reason == "length" and not answer.choices[0].message.content
    assert answer.usage.completion_tokens_details.reasoning_tokens == 5


def test_forced_calls_skip_thinking(chat):
    forced = {"type": "function", "function": {"name": "get_weather"}}
    answer = chat.create(
        messages=ASK_WEATHER, tools=[WEATHER], tool_choice=forced, max_tokens=64, model="always", temperature=0
    )
    message = answer.choices[0].message
    assert message.tool_calls[0].function.name == "get_weather"
    assert not hasattr(message, "reasoning_content")
    assert answer.usage.completion_tokens_details.reasoning_tokens == 0


def test_told_not_to_think_it_gets_an_empty_block(always):
    prompt = httpx.post(always.url + "/apply-template", json={"messages": STORY, "enable_thinking": False}).json()[
        "prompt"
    ]
    assert prompt.endswith("<think>\n\n</think>\n\n")


def test_responses(always, chat):
    client = openai.OpenAI(base_url=always.url + "/v1", api_key="unused", max_retries=0)
    message = chat.create(messages=STORY, max_tokens=40, **SAID).choices[0].message
    request = dict(input=STORY, max_output_tokens=40, **SAID)
    whole = client.responses.create(**request)
    assert [item.type for item in whole.output] == ["reasoning", "message"]
    assert whole.output[0].content[0].text == message.reasoning_content
    assert whole.output_text == message.content
    events = list(client.responses.create(**request, stream=True))
    deltas = [event.delta for event in events if event.type == "response.reasoning_text.delta"]
    assert "".join(deltas) == message.reasoning_content
    assert events[-1].response.output_text == message.content
    history = [*STORY, *(item.model_dump(exclude_none=True) for item in whole.output), *STORY]
    assert client.responses.create(**request | {"input": history}).output_text


def test_messages(always, chat):
    claude = anthropic.Anthropic(base_url=always.url, api_key="unused", max_retries=0)
    message = chat.create(messages=STORY, max_tokens=40, **SAID).choices[0].message
    body = BUDGET | {"temperature": 0}
    request = dict(model="always", messages=STORY, max_tokens=40, thinking={"type": "adaptive"}, extra_body=body)
    whole = claude.messages.create(**request)
    assert [block.type for block in whole.content] == ["thinking", "text"]
    assert whole.content[0].thinking == message.reasoning_content and whole.content[1].text == message.content
    assert whole.content[0].signature
    with claude.messages.stream(**request) as stream:
        final = stream.get_final_message()
    assert final.content[0] == whole.content[0]  # the signature too, which comes as an event of its own
    assert final.content[1].text == whole.content[1].text
    blocks = [block.model_dump(exclude_none=True) for block in whole.content]
    again = [*STORY, {"role": "assistant", "content": blocks}, {"role": "user", "content": "And then?"}]
    assert claude.messages.create(**request | {"messages": again}).content
