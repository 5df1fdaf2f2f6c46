"""A built qwend on a free port with the embedded demo model, for tests with real clients.

Clients reach it through a relay (wire.py), and whatever they get is validated (shapes.py) at the end of each test.
"""

import os
import pathlib
import queue
import re
import subprocess
import threading

import gguf_edit
import httpx
import openai
import pytest
from shapes import Validator
from wire import Relay

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEMO_TEMPLATE = (ROOT / "demo/chat_template.jinja").read_text()
SCHEMA = pathlib.Path(os.environ.get("QWEND_OPENAI_SCHEMA", ROOT.parent / "shared/data/openai/openapi.json"))

HELLO = [{"role": "user", "content": "Say hello."}]
STORY_TEXT = "Tell me a story."
STORY = [{"role": "user", "content": STORY_TEXT}]
ASK_WEATHER = [{"role": "user", "content": "What is the weather in Paris?"}]
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
# As chat, /v1/responses and /v1/messages have it.
WEATHER_FUNCTION = {"name": "get_weather", "description": "Get the weather.", "parameters": CITY}
WEATHER = {"type": "function", "function": WEATHER_FUNCTION}
RESPONSES_WEATHER = {"type": "function", **WEATHER_FUNCTION, "strict": False}
MESSAGES_WEATHER = {"name": "get_weather", "description": "Get the weather.", "input_schema": CITY}


def binary() -> pathlib.Path:
    return pathlib.Path(os.environ.get("QWEND_BINARY", ROOT / "build/cpu-release/server/qwend"))


VALIDATOR = Validator(SCHEMA if SCHEMA.exists() else None)


class Server:
    """`qwend serve` until stop(). `url` is for clients: what comes from there is validated. `direct` is the server itself.

    Raises when it doesn't start within a minute.
    """

    running: list["Server"] = []
    started = 0

    def __init__(self, *arguments: str):
        command = [str(binary()), "serve", "--port", "0", *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=lambda: [lines.put(line) for line in self.process.stdout], daemon=True).start()
        self.direct = ""
        while not self.direct:
            found = re.search(r"listening on (http://\S+)", lines.get(timeout=60))
            self.direct = found.group(1) if found else ""
        self.relay = Relay(int(self.direct.rpartition(":")[2]))
        self.url = f"http://127.0.0.1:{self.relay.port}"
        self.running.append(self)
        Server.started += 1

    def metric(self, name: str) -> float:
        text = httpx.get(self.direct + "/metrics").text
        return sum(float(m) for m in re.findall(rf"^{re.escape(name)}(?:\{{[^}}]*\}})? (\S+)$", text, re.M))

    def problems(self) -> list[str]:
        """What is wrong with the answers since the last call."""
        return [problem for exchange in self.relay.take() if (problem := VALIDATOR.problem(exchange))]

    def stop(self) -> int:
        self.process.terminate()
        code = self.process.wait(timeout=60)
        self.relay.close()
        self.running.remove(self)
        assert not (problems := self.problems()), "\n".join(problems)
        return code


@pytest.fixture(autouse=True)
def valid_answers():
    yield
    problems = [problem for running in Server.running for problem in running.problems()]
    assert not problems, "\n".join(problems)


def pytest_configure(config):
    for message in ("Item 'summary' on TypedDict", "Accessing the 'model_"):  # LiteLLM's
        config.addinivalue_line("filterwarnings", f"ignore:{message}")


def pytest_terminal_summary(terminalreporter):
    if VALIDATOR.counts:
        terminalreporter.write_line(VALIDATOR.summary())


def pytest_sessionfinish(session):
    """A run that has validated nothing has proven nothing."""
    if Server.started and not VALIDATOR.counts:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def server():
    assert binary().exists(), f"no qwend at {binary()}: set QWEND_BINARY"
    running = Server()
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def serve_demo(tmp_path_factory):
    """serve_demo(name, *arguments, **edits): a server of its own with the demo model's file, edited by gguf_edit."""
    running = []

    def serve(name, *arguments, **edits):
        path = tmp_path_factory.mktemp("models") / f"{name}.gguf"
        path.write_bytes(gguf_edit.edit((ROOT / "demo/qwend-demo.gguf").read_bytes(), **edits))
        running.append(Server("--model", str(path), *arguments))
        return running[-1]

    yield serve
    assert [server.stop() for server in running] == [0] * len(running)


@pytest.fixture(scope="session")
def client(server):
    return openai.OpenAI(base_url=server.url + "/v1", api_key="unused", max_retries=0, timeout=120)


@pytest.fixture(scope="session")
def async_client(server):
    """A factory: an async client belongs to one event loop."""
    return lambda: openai.AsyncOpenAI(base_url=server.url + "/v1", api_key="unused", max_retries=0, timeout=120)


@pytest.fixture(scope="session")
def model(client):
    return client.models.list().data[0].id
