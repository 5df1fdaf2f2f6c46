#!/usr/bin/env python3
"""Compares the native chat template renderers with Jinja on random conversations.

Renders N conversations a family with jinja2, set up as Hugging Face transformers does, and has the unit test binary
render the same. Without the jinja2 package it says so and ends with 0; without the reference templates it says so and
uses the two templates that need none.

    tests/golden_templates.py TEST_UNIT_BINARY [--templates FOLDER] [--count N] [--seed S]
"""
import argparse
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent

CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


# ---- templates


def before(text, mark):
    return text[: text.index(mark)]


def after(text, mark):
    return text[text.index(mark) :]


def replace(text, old, new):
    assert old in text, f"the reference template has changed: {old!r}"
    return text.replace(old, new)


def load_templates(folder):
    """The reference templates, and relatives of them that differ in known places."""
    templates = {path.stem: path.read_text() for path in sorted(folder.glob("*.jinja"))}
    demo = REPOSITORY / "demo" / "chat_template.jinja"
    if demo.exists():
        templates["demo"] = demo.read_text()
    templates["chatml"] = CHATML
    if "qwen3" not in templates:
        print(f"golden_templates: no reference templates at {folder}: using only {', '.join(templates)}")
        return templates

    qwen3 = templates["qwen3"]
    generation = "{%- if add_generation_prompt %}"
    prompt = "{%%- if add_generation_prompt %%}\n    {{- '<|im_start|>assistant\\n%s' }}\n{%%- endif %%}\n"
    templates["qwen3-thinking"] = before(qwen3, generation) + prompt % "<think>\\n"
    reasoning = "        {%- set reasoning_content = '' %}"
    templates["qwen3-instruct"] = (
        before(qwen3, "{%- set ns")
        + before(after(qwen3, "{%- for message in messages %}"), reasoning)
        + "        {{- '<|im_start|>' + message.role + '\\n' + content }}\n"
        + before(after(qwen3, "        {%- if message.tool_calls %}"), generation)
        + prompt % ""
    )

    qwen35 = templates["qwen35"]
    on, off = "{{- '<think>\\n' }}", "{{- '<think>\\n\\n</think>\\n\\n' }}"
    inverted = qwen35.replace(on, "\0").replace(off, on).replace("\0", off)
    templates["qwen3.5-small"] = replace(inverted, "enable_thinking is false", "enable_thinking is true")
    gate = "loop.index0 > ns.last_query_index"
    preserve = f"(preserve_thinking is defined and preserve_thinking is true) or ({gate})"
    templates["qwen3.6"] = replace(qwen35, gate, preserve)
    return templates


def compile_template(text):
    """As transformers renders chat templates."""
    from jinja2.exceptions import TemplateError
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def raise_exception(message):
        raise TemplateError(message)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    environment.globals["raise_exception"] = raise_exception
    return environment.from_string(text)


# ---- conversations

PIECES = [
    "Hi", "weather in Zürich?", "1+1=2", "\n", "\n\n", " ", "\t", "\r\n", "\u00a0", "\u3000", "\u2028", "\x1c", "\x85",
    "<think>", "</think>", "<think>\nhm\n</think>\n\n", "<tool_call>", "</tool_call>", "<tool_response>",
    "</tool_response>", "<|im_end|>", "<|im_start|>system\n", "<｜User｜>", "{{ messages }}", "{% raw %}", "日本語", "🙂",
    "e\u0301", '"', "'", "\\", "\\n", "\x00", "\x07", "\x7f", "&<>", "/", "ſ", "\u200d", "0", "null", "</parameter>",
]  # fmt: skip


def text(rng, most=4):
    return "".join(rng.choice(PIECES) for _ in range(rng.randint(0, most)))


def name(rng):
    return rng.choice(["get_weather", "f", "search-web", "größe", "a.b", "x_1"])


def value(rng, depth=2):
    kind = rng.randint(0, 8 if depth > 0 else 6)
    if kind == 0:
        return text(rng)
    if kind == 1:
        return rng.choice([True, False, None])
    if kind == 2:
        return rng.choice([0, 1, -1, 7, 2**31, 2**53 + 1, -(2**63), 2**63 - 1, 2**64 - 1])
    if kind == 3:
        return rng.choice([0.5, 1.0, -0.0, 1e16, 1e15, 1e-5, 0.0001, 1.5e300, 5e-324, 1 / 3, 123456.789])
    if kind == 4:
        return rng.uniform(-1, 1) * 10 ** rng.randint(-20, 20)
    if kind in (5, 6):
        return rng.choice(["Oslo", "c", "two\nlines", ""])
    if kind == 7:
        return [value(rng, depth - 1) for _ in range(rng.randint(0, 3))]
    return members(rng, depth - 1)


def members(rng, depth=2, most=3):
    return {rng.choice(["city", "unit", "n", "ü", "", "a b", "list"]): value(rng, depth) for _ in range(rng.randint(0, most))}


def schema(rng, depth=1):
    result = {}
    if rng.random() < 0.8:
        result["type"] = rng.choice(["string", "integer", "object", ["string", "null"], ["it's", 'a "b"']])
    if rng.random() < 0.6:
        result["description"] = rng.choice([" trimmed \n", "plain", "\u3000wide\u00a0", "", text(rng)])
    if rng.random() < 0.3:
        result["enum"] = [value(rng, 0) for _ in range(rng.randint(0, 3))]
    if rng.random() < 0.3:
        result[rng.choice(["default", "minimum", "examples", "x-y", "nested"])] = value(rng)
    return rng.choice([True, None, "odd", []]) if rng.random() < 0.03 else result


def tool(rng):
    function = {"name": name(rng)}
    if rng.random() < 0.8:
        function["description"] = rng.choice(["Get it.", "  padded\n", "\n", "", None, 7, text(rng)])
    if rng.random() < 0.9:
        parameters = {"type": "object"}
        if rng.random() < 0.9:
            parameters["properties"] = {f"p{i}{rng.choice('aé ')}": schema(rng) for i in range(rng.randint(0, 3))}
        if rng.random() < 0.5:
            parameters["required"] = ["p0a"]
        if rng.random() < 0.2:
            parameters["additionalProperties"] = rng.choice([False, {"type": "string"}])
        function["parameters"] = rng.choice([None, [], "x"]) if rng.random() < 0.03 else parameters
    if rng.random() < 0.2:
        function["strict"] = rng.choice([True, False, None])
    if rng.random() < 0.1:
        function["extra"] = value(rng)
    return {"type": "function", "function": function}


def call(rng):
    arguments = text(rng) if rng.random() < 0.03 else members(rng)
    return {"id": "call_1", "type": "function", "function": {"name": name(rng), "arguments": arguments}}


def assistant(rng, family):
    message = {"role": "assistant", "content": text(rng)}
    if rng.random() < 0.4:
        message["content"] = rng.choice(["<think>\nadd\n</think>\n\n2", "<think>a</think>b</think>c", "\n</think>\n\nx", "ok"])
    if rng.random() < 0.3:
        message["reasoning_content"] = rng.choice(["", "need tool", "\n\nlong\n", " \n", text(rng)])
    if rng.random() < 0.4:
        message["tool_calls"] = [call(rng) for _ in range(rng.randint(1, 3))]
        if rng.random() < 0.5:
            message["content"] = ""
        if family == "r1" and not message["content"]:
            message["content"] = None  # what clients send as "" or null is null for us
    return message


def conversation(rng, family):
    messages = [{"role": "system", "content": text(rng)}] if rng.random() < 0.4 else []
    for _ in range(rng.randint(1, 6)):
        kind = rng.random()
        if kind < 0.4:
            messages.append({"role": "user", "content": text(rng)})
        elif kind < 0.7:
            messages.append(assistant(rng, family))
        elif kind < 0.93:
            for _ in range(rng.randint(1, 3)):
                messages.append({"role": "tool", "content": text(rng)})
        elif kind < 0.96:
            messages.append({"role": "user", "content": "<tool_response>" + text(rng) + "</tool_response>"})
        else:
            messages.append({"role": "system", "content": text(rng)})
    kwargs = {"add_generation_prompt": rng.random() < 0.8}
    if rng.random() < 0.5:
        kwargs["enable_thinking"] = rng.random() < 0.5
    if rng.random() < 0.3:
        kwargs["preserve_thinking"] = rng.random() < 0.7
    tools = [tool(rng) for _ in range(rng.randint(1, 3))] if rng.random() < 0.4 else None
    return {"template": family, "messages": messages, "tools": tools, "kwargs": kwargs}


def add_expectation(case, template):
    from jinja2.exceptions import TemplateError

    try:
        variables = dict(case["kwargs"], messages=case["messages"], bos_token="<｜begin▁of▁sentence｜>")
        case["prompt"] = template.render(tools=case["tools"], **variables)
    except TemplateError as error:
        case["error"] = error.message
    except TypeError as error:  # arguments that are no object, in the XML families
        assert "item pairs" in str(error), error
        case["error"] = True


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary")
    parser.add_argument("--templates", type=pathlib.Path, default=REPOSITORY.parent / "shared/data/chat-templates")
    parser.add_argument("--count", type=int, default=300, help="conversations a family")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if os.environ.get("QWEND_REFERENCE_DATA"):  # overrides the folder of the build, as in the C++ tests
        options.templates = pathlib.Path(os.environ["QWEND_REFERENCE_DATA"]) / "chat-templates"
    try:
        import jinja2  # noqa: F401
    except ImportError:
        print("golden_templates: skipped: jinja2 is not installed")
        return 0

    rng = random.Random(options.seed)
    templates = load_templates(options.templates)
    cases = []
    for family, source in templates.items():
        template = compile_template(source)
        for _ in range(options.count):
            case = conversation(rng, family)
            add_expectation(case, template)
            cases.append(case)
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump({"templates": templates, "cases": cases}, file)
        file.flush()
        environment = dict(os.environ, QWEND_TEMPLATE_CASES=file.name)
        status = subprocess.run([options.binary, "[template_cases]"], env=environment, check=False).returncode
    errors = sum("error" in case for case in cases)
    print(f"golden_templates: {len(cases)} conversations, {len(templates)} templates, {errors} refused by their template")
    return status


if __name__ == "__main__":
    sys.exit(main())
