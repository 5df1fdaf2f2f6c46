"""LangChain over qwend: invoke, stream, batch, bound tools and their results, the Responses API."""

import asyncio

import pydantic
import pytest
from conftest import STORY_TEXT
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI


@tool
def get_weather(city: str) -> str:
    """Get the weather."""
    return f"It is sunny in {city}."


@pytest.fixture(scope="module")
def make(server, model):
    def chat(**settings):
        settings = {"temperature": 0, "max_tokens": 24, "max_retries": 0} | settings
        return ChatOpenAI(model=model, base_url=server.url + "/v1", api_key="unused", **settings)

    return chat


def test_invoke(make):
    answer = make().invoke([SystemMessage("Be brief."), HumanMessage(STORY_TEXT)])
    assert isinstance(answer, AIMessage) and answer.content
    assert answer.usage_metadata["output_tokens"] > 0


def test_stream_equals_invoke(make):
    chat = make()
    whole = chat.invoke(STORY_TEXT).content
    assert "".join(chunk.content for chunk in chat.stream(STORY_TEXT)) == whole

    async def run():
        return "".join([chunk.content async for chunk in chat.astream(STORY_TEXT)])

    assert asyncio.run(run()) == whole


def test_batch(make):
    answers = make().batch([STORY_TEXT, "Say hello.", STORY_TEXT])
    assert answers[0].content == answers[2].content


def test_tools(make):
    chat = make(max_tokens=64)
    question = HumanMessage("What is the weather in Paris?")
    called = chat.bind_tools([get_weather], tool_choice="get_weather").invoke([question])
    assert called.tool_calls[0]["name"] == "get_weather"
    result = get_weather.invoke(called.tool_calls[0])
    assert isinstance(result, ToolMessage)
    assert chat.bind_tools([get_weather]).invoke([question, called, result]).content


def test_responses_api(make):
    answer = make(use_responses_api=True).invoke(STORY_TEXT)
    assert answer.text == make().invoke(STORY_TEXT).text


class Place(pydantic.BaseModel):
    """A place that is asked about."""

    city: str


def test_structured_output_by_a_forced_call(make):
    for model in (make(max_tokens=64), make(max_tokens=64, use_responses_api=True)):
        structured = model.with_structured_output(Place, method="function_calling")
        assert isinstance(structured.invoke("What is the weather in Paris?"), Place)


def test_any_tool(make):
    called = make(max_tokens=64).bind_tools([get_weather, Place], tool_choice="any").invoke(STORY_TEXT)
    assert {call["name"] for call in called.tool_calls} <= {"get_weather", "Place"} and called.tool_calls
