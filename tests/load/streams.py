#!/usr/bin/env python3
"""Many concurrent streams against a running server: does every one finish, is any starved, does memory grow?

    tests/load/streams.py --url http://127.0.0.1:8080 --pid PID --streams 64 --seconds 600

First one stream alone sets the yardstick; then `streams` clients each send one request after the other until the time is
over. Standard library only. Prints a table and exits 1 when a stream failed, a client was starved, memory grew by more
than --max-growth-mb after the warm-up, or the total was below --min-ratio times one stream.
"""
import argparse
import asyncio
import json
import random
import statistics
import sys
import time
import urllib.parse

PROMPTS = ['Write a haiku about {} that includes the word "{}"', "Tell me a short story about {} and a {}.",
           "Hello! My name is {}. I like the word {}.", "What can you tell me about {} and {}?"]
WORDS = "rivers lanterns forty-six copper moonlight gardens clockwork harbour thunder velvet compilers orchards".split()


class Client:
    def __init__(self, number):
        self.number, self.tokens, self.requests, self.failures = number, 0, 0, []
        self.first_token_ms, self.longest_gap = [], 0.0


def body_of(client, max_tokens):
    rng = random.Random(client.number * 100003 + client.requests)
    prompt = rng.choice(PROMPTS).format(rng.choice(WORDS), rng.choice(WORDS))
    return {"messages": [{"role": "user", "content": prompt}], "stream": True, "max_tokens": max_tokens, "ignore_eos": True,
            "temperature": 0.7, "seed": rng.randrange(1 << 30), "stream_options": {"include_usage": True}}


async def one_request(client, host, port, max_tokens):
    """Streams one answer; counts tokens from the usage chunk and the gaps between events."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        body = json.dumps(body_of(client, max_tokens)).encode()
        head = (f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n").encode()
        start = last = time.monotonic()
        writer.write(head + body)
        status = await reader.readline()
        if b" 200 " not in status:
            raise RuntimeError(f"status {status!r}: {(await reader.read(2000))[-300:]!r}")
        first, finished, usage = True, False, None
        while line := await reader.readline():
            if not line.startswith(b"data: "):
                continue
            now = time.monotonic()
            client.longest_gap = max(client.longest_gap, now - last)
            last = now
            if first:
                client.first_token_ms.append((now - start) * 1000)
                first = False
            if line.strip() == b"data: [DONE]":
                finished = True
                break
            chunk = json.loads(line[6:])
            if "error" in chunk:
                raise RuntimeError(str(chunk["error"]))
            usage = chunk.get("usage") or usage
        if not finished or usage is None:
            raise RuntimeError("the stream ended without usage and [DONE]")
        client.tokens += usage["completion_tokens"]
        client.requests += 1
    finally:
        writer.close()


async def run_client(client, host, port, max_tokens, end):
    while time.monotonic() < end:
        try:
            await one_request(client, host, port, max_tokens)
        except (OSError, RuntimeError, ValueError) as error:
            client.failures.append(f"client {client.number}: {error}")
            await asyncio.sleep(0.2)


def resident_mb(pid):
    """RssAnon + VmSwap: what the process itself holds, without the mapped file."""
    fields = dict(line.split(":", 1) for line in open(f"/proc/{pid}/status") if ":" in line)
    return sum(int(fields[key].split()[0]) for key in ("RssAnon", "VmSwap")) / 1024


async def watch_memory(pid, samples, end):
    while pid and time.monotonic() < end:
        samples.append((time.monotonic(), resident_mb(pid)))
        await asyncio.sleep(5)


async def phase(streams, seconds, a, samples):
    url = urllib.parse.urlsplit(a.url)
    clients = [Client(i) for i in range(streams)]
    start = time.monotonic()
    end = start + seconds
    await asyncio.gather(watch_memory(a.pid, samples, end),
                         *(run_client(c, url.hostname, url.port, a.max_tokens, end) for c in clients))
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

    _, single = asyncio.run(phase(1, min(15.0, a.seconds), a, []))
    samples = []
    clients, total = asyncio.run(phase(a.streams, a.seconds, a, samples))
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
