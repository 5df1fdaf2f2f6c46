"""The SDKs' asynchronous clients and their helpers: streams, cancelling, accumulated events, tool runners, parsing."""

import asyncio
import time

import anthropic
import openai
import pydantic
import pytest
from conftest import ASK_WEATHER, HELLO, STORY, WEATHER


def run(coroutine):
    return asyncio.run(coroutine)


async def idle(server):
    end = time.monotonic() + 10
    while server.metric("vllm:num_requests_running") or server.metric("vllm:num_requests_waiting"):
        assert time.monotonic() < end
        await asyncio.sleep(0.02)


def test_async_chat_stream_and_responses(async_client, client, model):
    whole = client.chat.completions.create(model=model, messages=STORY, max_tokens=24, temperature=0)

    async def ask():
        async with async_client() as asynchronous:
            text = ""
            stream = await asynchronous.chat.completions.create(
                model=model, messages=STORY, max_tokens=24, temperature=0, stream=True
            )
            async for chunk in stream:
                text += chunk.choices[0].delta.content or ""
            response = await asynchronous.responses.create(
                model=model, input=STORY, max_output_tokens=24, temperature=0
            )
            return text, response.output_text

    assert run(ask()) == (whole.choices[0].message.content,) * 2


def test_cancelled_tasks_free_the_server(async_client, server, model):
    async def ask():
        async with async_client() as asynchronous:
            endless = dict(model=model, messages=STORY, max_tokens=1900, n=8, extra_body={"ignore_eos": True})
            whole = asyncio.create_task(asynchronous.chat.completions.create(**endless))
            stream = await asynchronous.chat.completions.create(**endless, stream=True)
            await anext(aiter(stream))
            whole.cancel()
            await stream.close()
            await idle(server)

    cancelled = server.metric("qwend:cancelled_total")
    run(ask())
    assert server.metric("qwend:cancelled_total") > cancelled


def test_accumulated_streams(client, model):
    """The SDK's own accumulator, which checks what it adds up."""
    request = dict(model=model, messages=ASK_WEATHER, tools=[WEATHER], max_tokens=64, temperature=0)
    whole = client.chat.completions.create(**request).choices[0].message.tool_calls[0].function
    with client.chat.completions.stream(**request, stream_options={"include_usage": True}) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert {"chunk", "tool_calls.function.arguments.delta", "tool_calls.function.arguments.done"} <= kinds
    call = final.choices[0].message.tool_calls[0].function
    assert (call.name, call.arguments) == (whole.name, whole.arguments)
    assert final.usage.completion_tokens > 0


class City(pydantic.BaseModel):
    city: str


def test_parse_is_unsupported_for_now(client, model):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.parse(model=model, messages=ASK_WEATHER, response_format=City)
    assert caught.value.code == "unsupported"
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.parse(model=model, input=ASK_WEATHER, text_format=City)
    assert caught.value.code == "unsupported"


def test_parsed_tool_arguments(client, model):
    tool = openai.pydantic_function_tool(City, name="get_weather", description="Get the weather.")
    choice = {"type": "function", "function": {"name": "get_weather"}}
    answer = client.chat.completions.parse(
        model=model, messages=ASK_WEATHER, tools=[tool], tool_choice=choice, max_tokens=64, temperature=0
    )
    assert answer.choices[0].message.tool_calls[0].function.parsed_arguments.city


def test_raw_responses(client, model):
    raw = client.chat.completions.with_raw_response.create(model=model, messages=HELLO, max_tokens=8)
    assert raw.headers["x-request-id"] and raw.parse().choices
    with client.completions.with_streaming_response.create(
        model=model, prompt="Once", max_tokens=8, stream=True
    ) as raw:
        lines = [line for line in raw.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"


@anthropic.beta_tool
def get_weather(city: str) -> str:
    """Get the weather.

    Args:
        city: where
    """
    return '{"temperature": 21}'


def test_anthropic_async_and_tool_runner(server, model):
    async def ask():
        async with anthropic.AsyncAnthropic(base_url=server.url, api_key="unused", max_retries=0) as claude:
            async with claude.messages.stream(model=model, messages=STORY, max_tokens=16) as stream:
                text = "".join([piece async for piece in stream.text_stream])
                return text, (await stream.get_final_message()).content[0].text

    text, final = run(ask())
    assert text == final
    claude = anthropic.Anthropic(base_url=server.url, api_key="unused", max_retries=0)
    runner = claude.beta.messages.tool_runner(
        model=model, max_tokens=64, tools=[get_weather], messages=ASK_WEATHER, extra_body={"temperature": 0}
    )
    turns = list(runner)
    assert [turn.stop_reason for turn in turns] == ["tool_use", "end_turn"]
    assert "21" in turns[-1].content[0].text
