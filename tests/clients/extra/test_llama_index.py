"""LlamaIndex over qwend: completion, chat and streams."""

import pytest
from llama_index.core.llms import ChatMessage
from llama_index.llms.openai_like import OpenAILike


@pytest.fixture(scope="module")
def llm(server, model):
    return OpenAILike(
        model=model,
        api_base=server.url + "/v1",
        api_key="unused",
        is_chat_model=True,
        max_tokens=24,
        temperature=0,
        max_retries=0,
    )


def test_chat(llm, client, model):
    question = ChatMessage(role="user", content="Tell me a story.")
    direct = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "Tell me a story."}], max_tokens=24, temperature=0
    )
    assert llm.chat([question]).message.content == direct.choices[0].message.content
    streamed = list(llm.stream_chat([question]))
    assert streamed[-1].message.content == direct.choices[0].message.content


def test_complete(llm):
    assert llm.complete("Say hello.").text
