"""Checks every answer on the wire against what its clients believe in.

Bodies and events are read strictly as the types of the `openai` and `anthropic` packages, which are generated from the
published descriptions of those APIs, and, where the document itself is at hand, against OpenAI's schema. A member that a type
doesn't know is a mistake unless it is one of EXTENSIONS.
"""

import base64
import collections
import importlib.metadata
import json
import pathlib
import re
import struct
import typing

import anthropic.types
import jsonschema
import openai.pagination
import openai.types
import openai.types.chat
import openai.types.responses
import pydantic
from wire import Exchange


class OpenAIError(pydantic.BaseModel):
    """The SDK has no type for the envelope, only for what is in it."""

    error: openai.types.ErrorObject


class ResponseDeleted(pydantic.BaseModel, extra="allow"):
    id: str
    object: typing.Literal["response.deleted"]
    deleted: typing.Literal[True]


def _decode_embeddings(answer):
    """Of `encoding_format: base64`, which neither description knows, the numbers."""
    for entry in answer["data"]:
        if isinstance(entry["embedding"], str):
            data = base64.b64decode(entry["embedding"], validate=True)
            entry["embedding"] = [number for (number,) in struct.iter_unpack("<f", data)]


def _complete_completion(answer):
    """OpenAI's own departures from its description: a chunk's `finish_reason` may be null, and where the prompt is echoed its
    first token has no log-probability.
    """
    for choice in answer["choices"]:
        logprobs = choice["logprobs"]
        if logprobs and logprobs["token_logprobs"][:1] == [None]:
            assert logprobs["text_offset"][0] == 0 and logprobs["top_logprobs"][0] is None
            del logprobs["token_logprobs"][0], logprobs["top_logprobs"][0]


def _complete_completion_chunk(answer):
    _complete_completion(answer)
    for choice in answer["choices"]:
        choice["finish_reason"] = choice["finish_reason"] or "stop"


def _name_known_message_error(answer):
    """Anthropic's documentation of 413 has a type that the package's list lacks."""
    if answer["error"]["type"] == "request_too_large":
        answer["error"]["type"] = "invalid_request_error"


class Shape(typing.NamedTuple):
    name: str  # in the summary
    type: typing.Any  # of a package
    schema: str | None = None  # of OpenAI's document
    prepare: typing.Callable = lambda value: None  # changes the parsed value before it is checked


ERROR = Shape("error", OpenAIError, "ErrorResponse")
MESSAGE_ERROR = Shape("message error", anthropic.types.ErrorResponse, None, _name_known_message_error)
COMPLETION = Shape("completion", openai.types.Completion, "CreateCompletionResponse", _complete_completion)
RESPONSE = Shape("response", openai.types.responses.Response, "Response")

# (method, path) -> the answer's shape, that of a stream's events.
SHAPES = {
    ("POST", r"/v1/chat/completions"): (
        Shape("chat", openai.types.chat.ChatCompletion, "CreateChatCompletionResponse"),
        Shape("chat chunk", openai.types.chat.ChatCompletionChunk, "CreateChatCompletionStreamResponse"),
    ),
    ("POST", r"/v1/completions"): (
        COMPLETION,
        COMPLETION._replace(name="completion chunk", prepare=_complete_completion_chunk),
    ),
    ("POST", r"/v1/responses"): (
        RESPONSE,
        Shape("response event", openai.types.responses.ResponseStreamEvent, "ResponseStreamEvent"),
    ),
    ("POST", r"/v1/responses/input_tokens"): (
        Shape("count", openai.types.responses.InputTokenCountResponse, "TokenCountsResource"),
        None,
    ),
    ("POST", r"/v1/responses/[^/]+/cancel"): (RESPONSE, None),
    ("GET", r"/v1/responses/[^/]+"): (RESPONSE, None),
    ("DELETE", r"/v1/responses/[^/]+"): (Shape("deletion", ResponseDeleted), None),
    ("POST", r"/v1/embeddings"): (
        Shape("embeddings", openai.types.CreateEmbeddingResponse, "CreateEmbeddingResponse", _decode_embeddings),
        None,
    ),
    ("GET", r"/v1/models"): (
        Shape("models", openai.pagination.SyncPage[openai.types.Model], "ListModelsResponse"),
        None,
    ),
    ("GET", r"/v1/models/.+"): (Shape("model", openai.types.Model, "Model"), None),
    ("POST", r"/v1/messages"): (
        Shape("message", anthropic.types.Message),
        Shape("message event", anthropic.types.RawMessageStreamEvent),
    ),
    ("POST", r"/v1/messages/count_tokens"): (Shape("message count", anthropic.types.MessageTokensCount), None),
}

# Paths that neither of the two knows: llama-server's, vLLM's and our own. Their errors have OpenAI's shape.
OTHERS = r"/|/livez|/readyz|/health|/metrics|/version|/openapi\.json|/infill|/tokenize|/detokenize|/apply-template|(/v1)?/rerank"

# What we add to OpenAI's shapes (docs/API.md), by type and member.
EXTENSIONS = {
    "ChatCompletion": {"timings", "params", "prompt_token_ids"},
    "ChatCompletionChunk": {"timings", "params", "prompt_token_ids"},
    "Completion": {"timings", "params"},
    "Choice": {"token_ids"},
    "CompletionChoice": {"token_ids", "prompt_token_ids"},
    "ChatCompletionMessage": {"reasoning_content", "reasoning"},
    "ChoiceDelta": {"reasoning_content", "reasoning"},
    "Model": {"max_model_len", "meta"},
    "Message": {"timings"},
    "RawMessageDeltaEvent": {"timings"},
    "Response": {"timings", "store"},  # OpenAI itself sends `store`
}


class Validator:
    """One thread at a time. schema: OpenAI's document; None: not at hand."""

    def __init__(self, schema: pathlib.Path | None):
        self.counts: collections.Counter[str] = collections.Counter()  # by the shape's name
        self._adapters: dict[str, pydantic.TypeAdapter] = {}
        self._document = _Document(json.loads(schema.read_text())) if schema else None

    def summary(self) -> str:
        """What has been validated, and against what."""
        against = [f"{name} {importlib.metadata.version(name)}" for name in ("openai", "anthropic")]
        against += [f"OpenAI's schema {self._document.version}" if self._document else "no schema of OpenAI's at hand"]
        parts = ", ".join(f"{count} {name}" for name, count in sorted(self.counts.items()))
        return f"{self.counts.total()} bodies and events are valid ({'; '.join(against)}): {parts}"

    def problem(self, exchange: Exchange) -> str | None:
        """What is wrong with the answer."""
        try:
            self._check(exchange)
        except (AssertionError, ValueError, jsonschema.ValidationError) as wrong:
            return f"{exchange}: {wrong}\n{bytes(exchange.body[:2000]).decode(errors='replace')}"
        return None

    def _check(self, exchange: Exchange):
        if exchange.status == 0:  # the client was gone before
            return
        assert exchange.headers.get("x-request-id"), "no x-request-id"
        of_messages = re.fullmatch(r"/v1/messages(/.*)?", exchange.path)
        error = MESSAGE_ERROR if of_messages else ERROR
        if exchange.status >= 400:
            if exchange.whole and exchange.method != "HEAD" and not self._is_health(exchange):
                self._check_body(exchange, error)
            return
        found = [shapes for (method, path), shapes in SHAPES.items()
                 if method == exchange.method and re.fullmatch(path, exchange.path)]  # fmt: skip
        if not found:
            assert re.fullmatch(OTHERS, exchange.path), "nobody knows this path's shape: name it in SHAPES or OTHERS"
            return
        body, event = found[0]
        if exchange.content_type == "text/event-stream":
            assert exchange.headers["content-type"] == "text/event-stream"
            self._check_stream(exchange, event, error)
        elif exchange.whole:
            self._check_body(exchange, body)

    @staticmethod
    def _is_health(exchange: Exchange) -> bool:
        return exchange.path in ("/livez", "/readyz", "/health")

    def _check_body(self, exchange: Exchange, shape: Shape):
        assert exchange.content_type == "application/json", exchange.content_type
        self.validate(bytes(exchange.body), shape)

    def _check_stream(self, exchange: Exchange, shape: Shape, error: Shape):
        datas = []
        for name, data in sse_events(bytes(exchange.body)):
            if data == "[DONE]":
                datas.append(data)
                continue
            is_error = name == "error" or (name is None and "error" in json.loads(data))
            datas.append(self.validate(data.encode(), error if is_error else shape))
            assert name is None or datas[-1]["type"] == name
        check_order(exchange.path, datas, exchange.whole)

    def validate(self, text: bytes, shape: Shape):
        """The parsed text, if it has the shape."""
        value = json.loads(text, object_pairs_hook=_without_duplicates, parse_constant=_refuse)
        shape.prepare(value)
        if shape.name not in self._adapters:
            self._adapters[shape.name] = pydantic.TypeAdapter(shape.type)
        typed = self._adapters[shape.name].validate_python(value, strict=True)
        extras = sorted(set(_extras(typed)))
        assert not extras, f"unknown members: {extras}"
        if self._document and shape.schema:
            self._document.validate(value, shape.schema)
        self.counts[shape.name] += 1
        return value


def sse_events(body: bytes):
    """(name or None, data) of each event that is whole."""
    for block in body.decode().split("\n\n")[:-1]:
        lines = [line for line in block.split("\n") if not line.startswith(":")]
        fields = dict(line.split(": ", 1) for line in lines)
        assert len(fields) == len(lines) and fields.keys() <= {"event", "data"}, block
        if fields:
            yield fields.get("event"), fields["data"]


def check_order(path: str, datas: list, whole: bool):
    """What holds for a stream's events together."""
    assert datas or not whole, "an empty stream"
    failed = bool(datas) and "error" in datas[-1]
    if path == "/v1/responses":
        numbers = [data["sequence_number"] for data in datas]
        assert numbers == list(range(len(datas))), numbers
        ends = ("response.completed", "response.incomplete", "response.failed", "error")
        assert not whole or datas[-1]["type"] in ends, datas[-1]["type"]
    elif path == "/v1/messages":
        assert not datas or failed or datas[0]["type"] == "message_start"
        assert not whole or failed or datas[-1]["type"] == "message_stop"
    else:
        assert not whole or failed or datas[-1] == "[DONE]", "no [DONE]"
        chunks = [data for data in datas if data != "[DONE]" and "error" not in data]
        for member in ("id", "created", "model", "system_fingerprint"):
            assert len({chunk[member] for chunk in chunks}) <= 1, f"chunks differ in {member}"


def _without_duplicates(pairs):
    made = dict(pairs)
    assert len(made) == len(pairs), f"duplicate members among {[key for key, _ in pairs]}"
    return made


def _refuse(constant):
    raise ValueError(f"{constant} is not JSON")


def _extras(value):
    """Type.member of all members that the types don't know."""
    if isinstance(value, list):
        for entry in value:
            yield from _extras(entry)
    elif isinstance(value, pydantic.BaseModel):
        name = type(value).__name__
        for key in value.model_extra or {}:
            if key not in EXTENSIONS.get(name, ()):
                yield f"{name}.{key}"
        for field in type(value).model_fields:
            yield from _extras(getattr(value, field))


class _Document:
    """OpenAI's OpenAPI document as JSON Schema."""

    def __init__(self, document):
        self.version = document["info"]["version"]
        _allow_nullable(document)
        self._components = document["components"]
        self._validators = {}

    def validate(self, value, name: str):
        name = self._narrowed(value, name)
        if name not in self._validators:
            schema = {"$ref": f"#/components/schemas/{name}", "components": self._components}
            self._validators[name] = jsonschema.Draft202012Validator(schema)
        wrong = jsonschema.exceptions.best_match(self._validators[name].iter_errors(value))
        if wrong is not None:
            raise ValueError(f"no {name}: {wrong.json_path}: {wrong.message[:500]}")

    def _narrowed(self, value, name: str) -> str:
        """Of a union by `type` the member that the value says it is: faster, and errors tell more."""
        schemas = self._components["schemas"]
        if "discriminator" not in schemas[name]:
            return name
        for option in schemas[name]["anyOf"]:
            candidate = option["$ref"].rpartition("/")[2]
            if value["type"] in schemas[candidate]["properties"]["type"]["enum"]:
                return candidate
        return name


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
