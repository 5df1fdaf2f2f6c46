"""The chat format: messages to the exact text that the stored template renders, split into learned and given spans."""
import json
import pathlib

TEMPLATE_FILE = pathlib.Path(__file__).with_name("chat_template.jinja")
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
USER_DEFINED = ["<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"]

TOOLS_HEAD = ("# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
              "You are provided with function signatures within <tools></tools> XML tags:\n<tools>")
TOOLS_TAIL = ("\n</tools>\n\nFor each function call, return a json object with function name and arguments within "
              "<tool_call></tool_call> XML tags:\n<tool_call>\n"
              '{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>')


def dumps(value):
    return json.dumps(value, ensure_ascii=False)


def tools_block(tools):
    return TOOLS_HEAD + "".join("\n" + dumps(t) for t in tools) + TOOLS_TAIL


def _call_text(call):
    fn = call.get("function", call)
    args = fn["arguments"]
    return '<tool_call>\n{"name": "' + fn["name"] + '", "arguments": ' + (args if isinstance(args, str) else dumps(args)) + "}\n</tool_call>"


def assistant_text(message):
    """What the model writes for an assistant message."""
    content = message.get("content") or ""
    parts = [content] if content else []
    return "\n".join(parts + [_call_text(c) for c in message.get("tool_calls", [])])


def render_spans(messages, tools=None, generation_prompt=False):
    """[(text, learned)]: learned spans are what the assistant says, its <|im_end|> included."""
    spans = []
    first_is_system = bool(messages) and messages[0]["role"] == "system"
    if first_is_system or tools:
        system = messages[0]["content"] if first_is_system else ""
        if tools:
            system += ("\n\n" if system else "") + tools_block(tools)
        spans.append((f"<|im_start|>system\n{system}<|im_end|>\n", False))
    rest = messages[1:] if first_is_system else messages
    for i, m in enumerate(rest):
        if m["role"] == "assistant":
            spans.append(("<|im_start|>assistant\n", False))
            spans.append((assistant_text(m) + "<|im_end|>", True))
            spans.append(("\n", False))
        elif m["role"] == "tool":
            opens = i == 0 or rest[i - 1]["role"] != "tool"
            closes = i + 1 == len(rest) or rest[i + 1]["role"] != "tool"
            text = ("<|im_start|>user" if opens else "") + f"\n<tool_response>\n{m['content']}\n</tool_response>"
            spans.append((text + ("<|im_end|>\n" if closes else ""), False))
        else:
            spans.append((f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n", False))
    if generation_prompt:
        spans.append(("<|im_start|>assistant\n", False))
    return spans


def render(messages, tools=None, generation_prompt=True):
    return "".join(text for text, _ in render_spans(messages, tools, generation_prompt))
