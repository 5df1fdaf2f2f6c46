#!/usr/bin/env python3
"""Asks a running server with the demo model for haikus that nobody can have prepared, and checks them.

    tests/clients/haiku.py --url http://127.0.0.1:8080 [--count 3]

Standard library only: it also runs where no client library is installed. Exits 1 when an answer is wrong.
"""
import argparse
import json
import random
import re
import secrets
import sys
import urllib.request

WORDS = ["forty-six", "seventeen", "ninety-two", "twenty-one", "sixty-three", "eighty", "thirty-eight", "fifty-five"]


def prompt(word, nonce):
    return f'Write a haiku about GPU computing that includes the word "{word}" (nonce: {nonce})'


def problem(text, tokens, finish_reason, word):
    """None if the answer is right, else what is wrong with it. tokens: the answer's tokens as text."""
    lines = [line for line in text.strip().splitlines() if line.strip()]
    if len(set(tokens)) < max(6, len(tokens) // 4):
        return "one token over and over"
    if not text.isascii() or len(re.findall(r"[A-Za-z]{2,}", text)) < 6:
        return "no English words"
    if word not in text.lower():
        return f"lacks {word}"
    if len(lines) != 3:
        return f"{len(lines)} lines"
    return None if finish_reason == "stop" else f"ended by {finish_reason}"


def ask(url, word):
    """(text, problem) of one answer."""
    body = {"messages": [{"role": "user", "content": prompt(word, secrets.token_hex(8))}], "max_tokens": 96, "temperature": 0,
            "logprobs": True}
    request = urllib.request.Request(url.rstrip("/") + "/v1/chat/completions", json.dumps(body).encode(),
                                     {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as reply:
        choice = json.load(reply)["choices"][0]
    text = choice["message"]["content"]
    tokens = [entry["token"] for entry in choice["logprobs"]["content"]]
    return text, problem(text, tokens, choice["finish_reason"], word)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--count", type=int, default=3)
    args = parser.parse_args()
    failed = 0
    for word in ["forty-six", *random.sample(WORDS[1:], args.count - 1)]:
        text, wrong = ask(args.url, word)
        print(f"{text}\n  -> {wrong or 'right'}\n")
        failed += wrong is not None
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
