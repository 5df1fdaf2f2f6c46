"""A built qwend on a free port with the embedded demo model, for tests with real clients."""

import json
import os
import pathlib
import queue
import re
import subprocess
import threading

import httpx
import openai
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCHEMA = pathlib.Path(os.environ.get("QWEND_OPENAI_SCHEMA", ROOT.parent / "shared/data/openai/openapi.json"))


def binary() -> pathlib.Path:
    return pathlib.Path(os.environ.get("QWEND_BINARY", ROOT / "build/cpu-release/server/qwend"))


class Server:
    """`qwend serve` until stop(). Raises when it doesn't start within a minute."""

    def __init__(self, *arguments: str):
        command = [str(binary()), "serve", "--port", "0", *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=lambda: [lines.put(line) for line in self.process.stdout], daemon=True).start()
        self.url = ""
        while not self.url:
            found = re.search(r"listening on (http://\S+)", lines.get(timeout=60))
            self.url = found.group(1) if found else ""

    def metric(self, name: str) -> float:
        text = httpx.get(self.url + "/metrics").text
        return sum(float(m) for m in re.findall(rf"^{re.escape(name)}(?:\{{[^}}]*\}})? (\S+)$", text, re.M))

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(timeout=60)


@pytest.fixture(scope="session")
def server():
    if not binary().exists():
        pytest.skip(f"no qwend at {binary()}: set QWEND_BINARY")
    running = Server()
    yield running
    assert running.stop() == 0


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


@pytest.fixture(scope="session")
def valid():
    """valid(instance, "CreateChatCompletionResponse"): checks against OpenAI's published schema."""
    if not SCHEMA.exists():
        pytest.skip(f"no OpenAI schema at {SCHEMA}")
    import jsonschema

    document = json.loads(SCHEMA.read_text())
    _allow_nullable(document)

    def check(instance, name):
        schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        jsonschema.Draft202012Validator(schema).validate(instance)

    return check


def _allow_nullable(node):
    """OpenAPI 3.0's `nullable`, which the document still uses, in JSON Schema's words."""
    if isinstance(node, dict):
        if node.pop("nullable", False) is True:
            inner = dict(node)
            node.clear()
            node["anyOf"] = [inner, {"type": "null"}]
        for value in node.values():
            _allow_nullable(value)
    elif isinstance(node, list):
        for value in node:
            _allow_nullable(value)
