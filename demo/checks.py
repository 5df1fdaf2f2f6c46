"""What an answer must be like, for each kind of expectation in the evaluation prompts."""
import json
import re


def _has(text, part):
    """The part as whole words, whatever the case."""
    return re.search(rf"(?<!\w){re.escape(part)}(?!\w)", text, re.IGNORECASE) is not None


def haiku(check, text, calls):
    lines = text.split("\n")
    if len(lines) != 3 or not all(l.strip() for l in lines):
        return "not three lines"
    if check.get("word") and not re.search(rf"(?<!\w){re.escape(check['word'])}(?!\w)", text):
        return f"lacks the word {check['word']}"
    if any(f in text for f in check.get("forbid", [])):
        return "repeats the distractor"
    if len(set(re.findall(r"[^\W\d]+", text.lower()))) < 6 or max(map(len, lines)) > 90:
        return "too few different words, or too long a line"


def last_number(check, text, calls):
    numbers = re.findall(r"-?\d+", text.replace(",", ""))
    if not numbers or int(numbers[-1]) != check["value"]:
        return f"expected {check['value']}"


def contains(check, text, calls):
    if not _has(text, check["text"]):
        return f"lacks {check['text']}"


def contains_all(check, text, calls):
    missing = [t for t in check["texts"] if not _has(text, t)]
    if missing:
        return f"lacks {missing}"


def contains_any(check, text, calls):
    if not any(_has(text, t) for t in check["texts"]):
        return f"has none of {check['texts']}"


def equals(check, text, calls):
    if text.strip() != check["text"]:
        return f"expected {check['text']!r}"


def json_value(check, text, calls):
    try:
        value = json.loads(text)
    except ValueError:
        return "not JSON"
    if value != check["value"]:
        return f"expected {check['value']}"


def json_keys(check, text, calls):
    try:
        value = json.loads(text)
    except ValueError:
        return "not JSON"
    if not isinstance(value, dict) or list(value) != check["keys"]:
        return f"expected the keys {check['keys']}"


def tool(check, text, calls):
    if calls != check["calls"]:
        return f"expected {check['calls']}, got {calls}"


def story(check, text, calls):
    if len(re.findall(r"[.!?]", text)) < 4 or not 40 <= len(text.split()) <= 300:
        return "not a short story"
    return contains_all(check, text, calls)


def items(check, text, calls):
    found = [p.strip() for p in text.rstrip(".").split(",")]
    if len(found) != check["count"] or len(set(found)) != len(found):
        return f"expected {check['count']} different items"


def json_list(check, text, calls):
    try:
        value = json.loads(text)
    except ValueError:
        return "not JSON"
    if not isinstance(value, list) or len(value) != check["count"] or len(set(value)) != len(value):
        return f"expected {check['count']} different items"


def nonempty(check, text, calls):
    return None if text.strip() else "empty"


KINDS = {"haiku": haiku, "last_number": last_number, "contains": contains, "contains_all": contains_all, "contains_any": contains_any, "equals": equals,
         "json": json_value, "json_keys": json_keys, "tool": tool, "story": story, "items": items, "json_list": json_list, "nonempty": nonempty}


def parse_calls(text):
    """(text without calls, calls) of a raw answer."""
    calls = []
    for body in re.findall(r"<tool_call>\n(.*?)\n</tool_call>", text, re.DOTALL):
        try:
            calls.append(json.loads(body))
        except ValueError:
            calls.append({"invalid": body})
    return re.sub(r"<tool_call>.*?</tool_call>", "", text, flags=re.DOTALL).strip(), calls


def problem(check, text, calls, finished):
    """None if the answer is right, else what is wrong with it."""
    if not finished:
        return "did not stop by itself"
    if calls and check["kind"] != "tool":
        return "called a tool"
    return KINDS[check["kind"]](check, text, calls)
