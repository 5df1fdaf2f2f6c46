"""End to end with a prompt that nobody can have prepared: a random word and a random nonce each run."""

import random
import secrets

import haiku
import pytest


def ask(client, model, word, nonce):
    answer = client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": haiku.prompt(word, nonce)}],
        max_tokens=96,
        temperature=0,
        logprobs=True,
    )
    return answer.choices[0]


def problem(choice, word):
    print(f"\n{choice.message.content}")
    tokens = [entry.token for entry in choice.logprobs.content]
    return haiku.problem(choice.message.content, tokens, choice.finish_reason, word)


@pytest.mark.parametrize("word", ["forty-six", random.choice(haiku.WORDS[1:])])
def test_haiku(client, model, word):
    assert problem(ask(client, model, word, secrets.token_hex(8)), word) is None


def test_different_prompts_differ(client, model):
    nonce = secrets.token_hex(8)
    texts = {ask(client, model, word, nonce).message.content for word in random.sample(haiku.WORDS, 3)}
    assert len(texts) == 3


def test_the_nonce_changes_nothing_that_matters(client, model):
    word = random.choice(haiku.WORDS)
    for _ in range(3):
        assert problem(ask(client, model, word, secrets.token_hex(random.randint(2, 12))), word) is None
