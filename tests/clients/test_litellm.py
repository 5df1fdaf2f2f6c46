"""LiteLLM over qwend: chat, streams, tools, embeddings' error, and its Anthropic route."""

import asyncio
import json
import os

import pytest

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # no prices from the network
import litellm  # noqa: E402
from conftest import ASK_WEATHER, STORY, WEATHER  # noqa: E402


@pytest.fixture(scope="module")
def ask(server, model):
    def call(**request):
        request = {"messages": STORY, "max_tokens": 24, "temperature": 0, "num_retries": 0} | request
        return litellm.completion(model=f"openai/{model}", api_base=server.url + "/v1", api_key="unused", **request)

    return call


def test_chat(ask, client, model):
    answer = ask()
    direct = client.chat.completions.create(model=model, messages=STORY, max_tokens=24, temperature=0)
    assert answer.choices[0].message.content == direct.choices[0].message.content
    assert answer.usage.total_tokens == direct.usage.total_tokens


def test_stream(ask):
    chunks = list(ask(stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == ask().choices[0].message.content


def test_tools(ask):
    answer = ask(
        messages=ASK_WEATHER,
        tools=[WEATHER],
        tool_choice={"type": "function", "function": {"name": "get_weather"}},
        max_tokens=64,
    )
    call = answer.choices[0].message.tool_calls[0]
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments)["city"]


def test_errors_keep_their_kind(ask):
    with pytest.raises(litellm.BadRequestError):
        ask(temperature=5)


def test_anthropic_route(server, model):
    answer = litellm.completion(
        model=f"anthropic/{model}", api_base=server.url, api_key="unused", messages=STORY, max_tokens=24, num_retries=0
    )
    assert answer.choices[0].message.content


def test_async(server, model, ask):
    """With LiteLLM's own transport for these."""

    async def run():
        request = dict(
            model=f"openai/{model}", api_base=server.url + "/v1", api_key="unused", messages=STORY, max_tokens=24
        )
        request |= {"temperature": 0, "num_retries": 0}
        whole = await litellm.acompletion(**request)
        chunks = [chunk async for chunk in await litellm.acompletion(**request, stream=True)]
        return whole.choices[0].message.content, "".join(chunk.choices[0].delta.content or "" for chunk in chunks)

    text = ask().choices[0].message.content
    assert asyncio.run(run()) == (text, text)


def test_other_routes(server, model):
    where = dict(api_base=server.url + "/v1", api_key="unused", num_retries=0)
    text = litellm.text_completion(model=f"text-completion-openai/{model}", prompt="Once upon", max_tokens=8, **where)
    assert text.choices[0].text
    response = litellm.responses(model=f"openai/{model}", input="Hi", max_output_tokens=8, **where)
    assert response.output[0].content[0].text
