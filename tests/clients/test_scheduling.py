"""Deadlines, priorities and many choices of one prompt, on a server that is busy."""

import concurrent.futures
import time

import httpx
import pytest
from conftest import STORY, Server

ENDLESS = {"messages": STORY, "max_tokens": 1900, "ignore_eos": True, "temperature": 0}


@pytest.fixture(scope="module")
def narrow():
    """Runs one sequence at a time and lets two requests wait."""
    running = Server("--max-seqs", "1", "--max-queue", "4")
    yield running
    assert running.stop() == 0


def post(server, **request):
    return httpx.post(
        server.url + "/v1/chat/completions", json={"messages": STORY, "max_tokens": 4} | request, timeout=120
    )


class Busy:
    """A full server: one client streams many choices, each as long as the context, until the end of the block."""

    def __init__(self, server, n=32):
        self.server, self.n = server, n

    def __enter__(self):
        body = ENDLESS | {"stream": True, "n": self.n}
        self.client = httpx.stream("POST", self.server.url + "/v1/chat/completions", json=body, timeout=120)
        self.bytes = self.client.__enter__().iter_raw()  # kept: its end would be the connection's
        next(self.bytes)

    def __exit__(self, *_):
        self.client.__exit__(None, None, None)
        end = time.monotonic() + 10
        while self.server.metric("vllm:num_requests_running") and time.monotonic() < end:
            time.sleep(0.02)


# ---- deadlines


def test_queue_deadline(narrow):
    with Busy(narrow):
        begin = time.monotonic()
        late = post(narrow, queue_timeout_ms=150)
        waited = time.monotonic() - begin
    assert late.status_code == 503 and late.json()["error"]["code"] == "overloaded"
    assert late.headers["retry-after"]
    assert 0.1 < waited < 3


def test_total_deadline_in_the_queue(narrow):
    with Busy(narrow):
        assert post(narrow, timeout_ms=150).status_code == 503


def test_total_deadline_while_running(narrow):
    begin = time.monotonic()
    cut = post(narrow, **ENDLESS | {"n": 64, "timeout_ms": 300}).json()
    assert 0.25 < time.monotonic() - begin < 3
    assert {choice["finish_reason"] for choice in cut["choices"]} == {"length"}
    assert 0 < cut["usage"]["completion_tokens"] < 64 * 1900
    assert cut["choices"][0]["message"]["content"]
    text = post(narrow, **ENDLESS | {"n": 64, "stream": True, "timeout_ms": 300}).text
    assert text.endswith("data: [DONE]\n\n") and text.count('"finish_reason":"length"') == 64


def test_deadlines_of_other_dialects(narrow):
    with Busy(narrow):
        response = httpx.post(narrow.url + "/v1/responses", json={"input": "Hi", "queue_timeout_ms": 100}, timeout=60)
        assert response.status_code == 503
        body = {"messages": STORY, "max_tokens": 4, "queue_timeout_ms": 100}
        message = httpx.post(narrow.url + "/v1/messages", json=body, timeout=60)
        assert message.status_code == 503 and message.json()["error"]["type"] == "overloaded_error"


def test_full_queue(narrow):
    with Busy(narrow), concurrent.futures.ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(post, narrow, queue_timeout_ms=1500) for _ in range(8)]
        refused = [future.result() for future in concurrent.futures.as_completed(waiting)]
        codes = sorted(response.status_code for response in refused)
    assert codes == [429] * 4 + [503] * 4
    for response in refused:
        assert response.headers["retry-after"]
        assert response.json()["error"]["code"] == "overloaded"


# ---- priorities


def order_of(server, *requests):
    """The order in which waiting requests, which have come in this one, are answered. [(name, request)]"""
    finished = []

    def ask(name, request):
        assert post(server, max_tokens=40, ignore_eos=True, **request).status_code == 200
        finished.append(name)

    with concurrent.futures.ThreadPoolExecutor(len(requests)) as pool:
        with Busy(server):
            asked = []
            for name, request in requests:
                asked.append(pool.submit(ask, name, request))
                time.sleep(0.15)  # until it has arrived
        for future in asked:
            future.result()
    return finished


def test_priority_decides_who_is_next(narrow):
    """Only ten seconds of waiting make up for a level: test_scheduler.cpp has that clock."""
    asked = [(priority, {"priority": priority}) for priority in (2, 1, 0, -1)]
    assert order_of(narrow, *asked) == [-1, 0, 1, 2]


def test_equal_priorities_are_served_in_order(narrow):
    assert order_of(narrow, ("a", {}), ("b", {}), ("c", {"priority": 0})) == ["a", "b", "c"]


# ---- n


def test_128_choices_share_the_prompt(server):
    """The pool has 512 blocks; a prompt of 60 for each choice would need 7,680."""
    messages = [{"role": "user", "content": "word " * 900}]
    preempted = server.metric("vllm:num_preemptions_total")
    body = {
        "messages": messages,
        "n": 128,
        "max_tokens": 24,
        "ignore_eos": True,
        "temperature": 2,
        "top_k": 0,
        "top_p": 1,
        "min_p": 0,
    }
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        asked = pool.submit(httpx.post, server.url + "/v1/chat/completions", json=body, timeout=120)
        running = 0
        while not asked.done():
            running = max(running, server.metric("vllm:num_requests_running"))
    answer = asked.result().json()
    assert [choice["index"] for choice in answer["choices"]] == list(range(128))
    assert len({choice["message"]["content"] for choice in answer["choices"]}) > 64
    usage = answer["usage"]
    assert 900 < usage["prompt_tokens"] < 1000 and usage["completion_tokens"] == 128 * 24
    assert server.metric("vllm:num_preemptions_total") == preempted
    assert running == 128  # all at once
    for path, n in (("/v1/chat/completions", 129), ("/v1/completions", 129)):
        refused = httpx.post(server.url + path, json={"messages": messages, "prompt": "x", "n": n})
        assert refused.status_code == 400 and refused.json()["error"]["param"] == "n"
    prompts = httpx.post(server.url + "/v1/completions", json={"prompt": ["x"] * 3, "n": 128})
    assert prompts.status_code == 400
