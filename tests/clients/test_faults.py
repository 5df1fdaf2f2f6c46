"""What the world does to a process: it is stopped and continued, killed and started again, and its readers stall."""

import concurrent.futures
import json
import signal
import socket
import statistics
import subprocess
import time

import httpx
import pytest
from conftest import STORY, Server, binary

SLOW_READERS = 900  # of the 1,024 connections that the server takes


def body(max_tokens, **more):
    return {"messages": STORY, "stream": True, "max_tokens": max_tokens, "ignore_eos": True, "temperature": 0, **more}


def read_stream(url, max_tokens):
    """The text of a stream and the times at which its pieces came."""
    text, times = "", []
    with httpx.stream("POST", url + "/v1/chat/completions", json=body(max_tokens), timeout=60) as answer:
        assert answer.status_code == 200
        last = ""
        for line in answer.iter_lines():
            if not line.startswith("data: "):
                continue
            last = line[6:]
            if last == "[DONE]":
                break
            for choice in json.loads(last)["choices"]:
                text += choice["delta"].get("content") or ""
                times.append(time.monotonic())
        assert last == "[DONE]"
    return text, times


def read_streams(url, count, max_tokens):
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        return [f.result() for f in [pool.submit(read_stream, url, max_tokens) for _ in range(count)]]


def wait_until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def test_stopped_and_continued():
    """SIGSTOP in the middle of streams, as a suspended machine has it: they go on where they were."""
    server = Server()
    try:
        expected, _ = read_stream(server.url, 200)
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            streams = [pool.submit(read_stream, server.url, 200) for _ in range(8)]
            wait_until(lambda: server.metric("vllm:num_requests_running") == 8)
            server.process.send_signal(signal.SIGSTOP)
            time.sleep(1.5)
            assert not any(stream.done() and stream.exception() for stream in streams)
            server.process.send_signal(signal.SIGCONT)
            assert [stream.result()[0] for stream in streams] == [expected] * 8
        assert httpx.get(server.direct + "/livez").status_code == 200
        assert httpx.get(server.direct + "/readyz").status_code == 200
    finally:
        server.process.send_signal(signal.SIGCONT)
        assert server.stop() == 0


def test_killed_under_load_and_started_again():
    """kill -9 leaves nothing that keeps the next one from the same port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"

    def ready():
        try:
            return httpx.get(url + "/readyz").status_code == 200
        except httpx.TransportError:
            return False

    for _ in range(10):
        process = subprocess.Popen([str(binary()), "serve", "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_until(ready)
            assert read_stream(url, 4)[0]
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                streams = [pool.submit(read_stream, url, 2000) for _ in range(8)]
                time.sleep(0.1)
                process.kill()
                for stream in streams:
                    with pytest.raises(httpx.TransportError):
                        stream.result()
        finally:
            process.kill()
            assert process.wait() == -signal.SIGKILL


def open_slow_reader(port, max_tokens):
    """Asks for a stream and never reads a byte of it."""
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.connect(("127.0.0.1", port))
    content = json.dumps(body(max_tokens)).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    reader.sendall(head.encode() + content)
    return reader


def test_slow_readers_delay_nobody():
    """Readers that never read hold their connections; the gaps between others' tokens stay what they were."""
    server = Server("--max-queue", "1024")
    try:
        def longest_gaps():
            gaps = []
            for _, times in read_streams(server.direct, 20, 100):
                gaps += [after - before for before, after in zip(times, times[1:])]
            return statistics.quantiles(gaps, n=100)[98]

        alone = [longest_gaps() for _ in range(3)]
        port = int(server.direct.rpartition(":")[2])
        readers = [open_slow_reader(port, 16) for _ in range(SLOW_READERS)]
        wait_until(lambda: server.metric("vllm:request_success_total") >= 60 + SLOW_READERS, 60)
        beside = [longest_gaps() for _ in range(3)]
        assert server.metric("qwend:open_connections") >= SLOW_READERS
        before, after = statistics.median(alone), statistics.median(beside)
        print(f"99% of the gaps are below {1e3 * before:.1f} ms alone, {1e3 * after:.1f} ms beside {SLOW_READERS} slow readers")
        assert after < 2 * before + 5e-3  # the machine's own moods are a fifth
        for reader in readers:
            reader.close()
        wait_until(lambda: server.metric("qwend:open_connections") < 20)
    finally:
        assert server.stop() == 0
