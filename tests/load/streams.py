#!/usr/bin/env python3
"""Many concurrent streams against a running server: does every one finish, is any starved, does memory grow?

    tests/load/streams.py --url http://127.0.0.1:8080 --pid PID --streams 64 --seconds 600

First one stream alone sets the yardstick; then `streams` clients each send one request after the other until the time is
over. Standard library only. Prints a table and exits 1 when a stream failed, a client was starved, memory grew by more
than --max-growth-mb after the warm-up, or the total was below --min-ratio times one stream.

It shares the machine with the server, so it is cheap: one thread, one epoll; blocks are kept as they come, with the time,
and an answer is taken apart once it is complete.
"""
import argparse
import json
import random
import selectors
import socket
import statistics
import sys
import time
import urllib.parse

PROMPTS = ['Write a haiku about {} that includes the word "{}"', "Tell me a short story about {} and a {}.",
           "Hello! My name is {}. I like the word {}.", "What can you tell me about {} and {}?"]
WORDS = "rivers lanterns forty-six copper moonlight gardens clockwork harbour thunder velvet compilers orchards".split()
SILENCE_LIMIT = 60.0  # seconds without a byte after which a stream has failed


def body_of(client, max_tokens):
    rng = random.Random(client.number * 100003 + client.requests)
    prompt = rng.choice(PROMPTS).format(rng.choice(WORDS), rng.choice(WORDS))
    return {"messages": [{"role": "user", "content": prompt}], "stream": True, "max_tokens": max_tokens, "ignore_eos": True,
            "temperature": 0.7, "seed": rng.randrange(1 << 30), "stream_options": {"include_usage": True}}


def unchunk(body):
    """The payload of a complete chunked body; raises ValueError when it was cut off."""
    parts, at = [], 0
    while True:
        end = body.find(b"\r\n", at)
        size = int(body[at:end], 16) if end > at else -1
        if size < 0 or body[end + 2 + size:end + 4 + size] != b"\r\n":
            raise ValueError("the stream was cut off")
        if size == 0:
            return b"".join(parts)
        parts.append(body[end + 2:end + 2 + size])
        at = end + 4 + size


def tokens_of(answer, max_tokens, thorough):
    """Checks a complete answer, headers included; returns the tokens that its usage chunk counts. thorough: is every chunk
    JSON, too?"""
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        raise RuntimeError(f"status {head[:40]!r}: {body[-300:]!r}")
    events = unchunk(body).decode()  # UTF-8, or an error
    if '{"error":' in events:
        raise RuntimeError(events[events.index('{"error":'):][:300])
    data = [event[6:] for event in events.split("\n\n") if event.startswith("data: ")]
    if len(data) < 2 or data[-1] != "[DONE]":
        raise RuntimeError("the stream ended without [DONE]")
    for chunk in data[:-1] if thorough else ():
        json.loads(chunk)
    usage = json.loads(data[-2]).get("usage")
    if not usage:
        raise RuntimeError("the stream ended without usage")
    if usage["completion_tokens"] != max_tokens:
        raise RuntimeError(f"{usage['completion_tokens']} tokens instead of {max_tokens}")
    return max_tokens


class Client:
    """Sends one request after the other; one is open at a time."""

    def __init__(self, number, address, max_tokens):
        self.number, self.address, self.max_tokens = number, address, max_tokens
        self.tokens, self.requests, self.failures = 0, 0, []
        self.first_token_ms, self.longest_gap = [], 0.0
        self.socket = None

    def open(self, selector):
        host, port = self.address
        body = json.dumps(body_of(self, self.max_tokens)).encode()
        head = (f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n").encode()
        self.blocks, self.seen_data = [], False
        self.start = self.last = time.monotonic()
        try:
            self.socket = socket.create_connection(self.address, timeout=10)
            self.socket.sendall(head + body)
        except OSError as error:
            return self.close(selector, error)
        self.socket.setblocking(False)
        selector.register(self.socket, selectors.EVENT_READ, self)

    def close(self, selector, failure=None):
        if failure:
            self.failures.append(f"client {self.number}: {failure}")
        if self.socket:
            if self.socket in selector.get_map():
                selector.unregister(self.socket)
            self.socket.close()
        self.socket = None

    def on_readable(self, selector):
        try:
            block = self.socket.recv(65536)
            if block:
                return self.add(block)
            self.tokens += tokens_of(b"".join(self.blocks), self.max_tokens, thorough=self.requests % 16 == 0)
            self.requests += 1
            self.close(selector)
        except (OSError, RuntimeError, ValueError, KeyError) as error:
            self.close(selector, error)

    def add(self, block):
        self.blocks.append(block)
        if b"data: " not in block:  # the head, a ping, or the end of the body
            return
        now = time.monotonic()
        self.longest_gap = max(self.longest_gap, now - self.last)
        self.last = now
        if not self.seen_data:
            self.first_token_ms.append((now - self.start) * 1000)
            self.seen_data = True


def resident_mb(pid):
    """RssAnon + VmSwap: what the process itself holds, without the mapped file."""
    fields = dict(line.split(":", 1) for line in open(f"/proc/{pid}/status") if ":" in line)
    return sum(int(fields[key].split()[0]) for key in ("RssAnon", "VmSwap")) / 1024


def phase(streams, seconds, a, samples):
    url = urllib.parse.urlsplit(a.url)
    clients = [Client(i, (url.hostname, url.port), a.max_tokens) for i in range(streams)]
    selector = selectors.DefaultSelector()
    start = now = next_look = time.monotonic()
    end = start + seconds
    while now < end or any(c.socket for c in clients):
        for key, _ in selector.select(timeout=0.2):
            client = key.data
            client.on_readable(selector)
            if client.socket is None and not client.failures and time.monotonic() < end:
                client.open(selector)
        now = time.monotonic()
        if now < next_look:
            continue
        next_look = now + 0.2
        for client in clients:
            if client.socket and now - client.last > SILENCE_LIMIT:
                client.close(selector, f"nothing for {SILENCE_LIMIT:.0f} s")
            if client.socket is None and now < end:  # the first time, or after a failure
                client.open(selector)
        if a.pid and (not samples or now - samples[-1][0] >= 5):
            samples.append((now, resident_mb(a.pid)))
    return clients, sum(c.tokens for c in clients) / (time.monotonic() - start)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--pid", type=int, help="server process, for its memory")
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--min-ratio", type=float, default=4.0)
    parser.add_argument("--max-growth-mb", type=float, default=4.0)
    parser.add_argument("--json", action="store_true")
    a = parser.parse_args()

    _, single = phase(1, min(15.0, a.seconds), a, [])
    samples = []
    clients, total = phase(a.streams, a.seconds, a, samples)
    failures = [f for c in clients for f in c.failures]
    tokens = [c.tokens for c in clients]
    ttft = sorted(ms for c in clients for ms in c.first_token_ms)
    settled = [mb for t, mb in samples if t > samples[0][0] + a.seconds * 0.2] if samples else []
    growth = statistics.mean(settled[-5:]) - statistics.mean(settled[:5]) if len(settled) >= 10 else 0.0
    report = {"streams": a.streams, "seconds": a.seconds, "requests": sum(c.requests for c in clients),
              "failures": len(failures), "tokens_per_second_one": round(single, 1), "tokens_per_second": round(total, 1),
              "ratio": round(total / single, 2), "tokens_min_client": min(tokens), "tokens_max_client": max(tokens),
              "ttft_p50_ms": round(ttft[len(ttft) // 2], 1) if ttft else None,
              "ttft_p99_ms": round(ttft[int(len(ttft) * 0.99)], 1) if ttft else None,
              "longest_gap_ms": round(max(c.longest_gap for c in clients) * 1000, 1),
              "memory_mb": [round(settled[0], 1), round(settled[-1], 1)] if settled else None,
              "memory_growth_mb": round(growth, 2)}
    if a.json:
        print(json.dumps(report))
    else:
        for key, value in report.items():
            print(f"{key:24} {value}")
    for failure in failures[:5]:
        print(failure, file=sys.stderr)
    starved = min(tokens) < 0.5 * statistics.mean(tokens)
    ok = not failures and not starved and growth <= a.max_growth_mb and total >= a.min_ratio * single
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
