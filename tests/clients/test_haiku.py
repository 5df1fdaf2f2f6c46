"""End to end with a prompt that nobody can have prepared: a random word and a random nonce each run."""

import random
import re
import secrets

import pytest

WORDS = ["forty-six", "seventeen", "ninety-two", "twenty-one", "sixty-three", "eighty", "thirty-eight", "fifty-five"]


def ask(client, model, word, nonce):
    prompt = f'Write a haiku about GPU computing that includes the word "{word}" (nonce: {nonce})'
    answer = client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": prompt}],
        max_tokens=96,
        temperature=0,
        logprobs=True,
    )
    return answer.choices[0]


def lines_of(text):
    return [line for line in text.strip().splitlines() if line.strip()]


@pytest.mark.parametrize("word", ["forty-six", random.choice(WORDS[1:])])
def test_haiku(client, model, word):
    choice = ask(client, model, word, secrets.token_hex(8))
    text = choice.message.content
    tokens = [entry.token for entry in choice.logprobs.content]
    print(f"\n{text}")
    assert len(set(tokens)) >= max(6, len(tokens) // 4), "one token over and over"
    assert text.isascii()
    assert len(re.findall(r"[A-Za-z]{2,}", text)) >= 6, "no English words"
    assert word in text.lower()
    assert len(lines_of(text)) == 3
    assert choice.finish_reason == "stop"


def test_different_prompts_differ(client, model):
    nonce = secrets.token_hex(8)
    texts = {ask(client, model, word, nonce).message.content for word in random.sample(WORDS, 3)}
    assert len(texts) == 3


def test_the_nonce_changes_nothing_that_matters(client, model):
    word = random.choice(WORDS)
    for _ in range(3):
        text = ask(client, model, word, secrets.token_hex(random.randint(2, 12))).message.content
        assert word in text.lower()
        assert len(lines_of(text)) == 3
