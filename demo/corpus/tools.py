"""Calling one of the given tools, with the tool's own names and the user's values, and reading the result."""
import json

from . import words
from .core import Sample, assistant, join_and, user
from .tool_families import FAMILIES, INTEGER, NUMBER, STRING, _phrase

_SYSTEMS = [None, None, None, None, None, "You are a helpful assistant.", "You are a helpful assistant with access to tools.", "Use the tools when they help.",
            "You can call functions. Be brief."]
_VERBS = words._w("create update delete start stop open close check run reset enable sync upload download print scan lock archive register rename move merge deploy build "
                  "restart paint rotate launch cancel approve publish clean measure assign calibrate")
_GETTERS = ["get_{n}", "lookup_{n}", "fetch_{n}", "find_{n}", "{n}_lookup", "read_{n}", "query_{n}", "get{N}", "show_{n}", "{n}_info", "check_{n}", "load_{n}", "{k}_{n}", "get_{k}_{n}", "{n}_for_{k}", "{n}_of_{k}"]
_KEYS = words._w("id name code key city user item date mode level size target source label color speed count value path file region group zone priority owner tag title host port "
                 "width height angle limit type channel volume status reason team version branch index amount start end query device language")


class Tool:
    """A tool's schema, and a request that needs it with the call and the answer."""

    def __init__(self, name, description, params, required):
        self.name, self.description, self.params, self.required = name, description, params, required
        self.requests = self.results = self.answers = None

    def schema(self, g):
        described, titled = g.chance(0.65), g.chance(0.06)
        properties = {}
        for key, kind, description, _ in self.params:
            entry = {"title": key.replace("_", " ").title()} if titled else {}
            entry["type"] = STRING if isinstance(kind, tuple) else kind
            if described:
                entry["description"] = description
            if isinstance(kind, tuple):
                entry["enum"] = list(kind)
            properties[key] = entry
        parameters = {"type": "object", "properties": properties}
        if g.chance(0.85):
            parameters["required"] = self.required
        if g.chance(0.1):
            parameters["additionalProperties"] = False
        fn = {"name": self.name}
        if g.chance(0.92):
            fn["description"] = self.description
        fn["parameters"] = parameters
        if g.chance(0.04):
            fn["strict"] = True
        return {"type": "function", "function": fn}


def family_tool(g, family):
    names, descriptions, params, requests, results, answers = FAMILIES[family]
    chosen = []
    for keys, kind, description, draw in params:
        used = {p[0] for p in chosen}
        key = g.choice([k for k in keys if k not in used])
        if isinstance(kind, tuple) and kind[0] == "celsius" and g.chance(0.25):
            kind = ("c", "f")
        chosen.append((key, kind, g.choice(description), draw))
    n_optional = 1 if family in ("weather", "search", "timer") else 0
    drop = n_optional and g.chance(0.4)
    tool = Tool(g.choice(names), g.choice(descriptions), chosen[:-1] if drop else chosen, [p[0] for p in chosen[:len(chosen) - n_optional]])
    tool.requests = [r for r in requests if not drop or "{%d}" % (len(chosen) - 1) not in r]
    tool.results, tool.answers = results, answers
    return tool


def _noun_name(g):
    """(identifier, spoken) of a thing tools can be about."""
    if g.chance(0.35):
        w = words.invented(g)
        return w, w
    noun = g.fresh("tool", lambda: g.choice(words.NOUNS))
    if g.chance(0.35):
        other = g.choice(("status", "level", "price", "owner", "list", "report", "size", "history", "score", "location", "version", "rating", "schedule", "balance"))
        return f"{noun}_{other}", f"{noun} {other}"
    return noun, noun


_VALUE_KINDS = {"name": words.name_like, "city": words.city, "id": words.identifier, "user": words.name_like, "date": words.date, "email": words.email}


def getter_tool(g):
    """Look something up by one value: get_status(city=...)."""
    ident, spoken = _noun_name(g)
    key = g.choice(("name", "city", "id", "user", "date", "email")) if g.chance(0.5) else g.choice(_KEYS)
    draw = _VALUE_KINDS.get(key) or g.choice((words.invented, words.identifier, words.name_like, lambda g: words.any_word(g)[0]))
    key = g.choice((key, key, f"{ident}_{key}", words.invented(g)))
    name = g.choice(_GETTERS).format(k=key, n=ident, N="".join(p.capitalize() for p in ident.split("_")))
    tool = Tool(name, g.choice((f"Get the {spoken}.", f"Returns the {spoken} for a {key}.", f"Look up the {spoken} by {key}", f"Find the {spoken}.", f"Returns the {spoken} of a {key}.",
                                  f"The {spoken} of the given {key}")),
                [(key, STRING, f"The {key}", draw)], [key])
    tool.requests = [f"[What is|What's|Tell me|Get|Show me|Look up|I need|Please get|Can you get] the {spoken} [for|of] {{0}}[?|.|]", f"[Find|Fetch|Check|Read] the {spoken} [of|for] {{0}}[.|, please.|]",
                     f"{spoken} [of|for] {{0}}[?|]", f"Do you know the {spoken} of {{0}}?", f"Use {name} for {{0}}."]
    tool.results = [([ident, "result", "value", spoken], g.choice((lambda g: g.randint(1, 9999), words.invented, words.name_like, _phrase)))]
    tool.answers = [f"The {spoken} for {{0}} is {{r0}}.", f"The {spoken} of {{0}} is {{r0}}."]
    return tool


def _typed_value(g):
    kind = g.choice((STRING, STRING, STRING, INTEGER, INTEGER, NUMBER, "boolean", "enum"))
    if kind == INTEGER:
        return INTEGER, lambda g: g.randint(0, g.choice((10, 100, 5000)))
    if kind == NUMBER:
        return NUMBER, lambda g: float(f"{g.randint(0, 99)}.{g.randint(1, 9)}")
    if kind == "boolean":
        return "boolean", lambda g: g.chance(0.5)
    if kind == "enum":
        options = tuple(g.choice((words.invented, lambda g: g.choice(words.ADJECTIVES), lambda g: g.choice(words.COLOURS)))(g) for _ in range(g.randint(2, 4)))
        return options, lambda g: g.choice(options)
    return STRING, g.choice((words.invented, words.identifier, words.name_like, words.city, _phrase, lambda g: words.any_word(g)[0], words.email, words.date, lambda g: g.choice(words.NOUNS)))


def action_tool(g):
    """Do something with one to four named values: rotate_lamp(angle=..., mode=...)."""
    ident, spoken = _noun_name(g)
    verb = g.choice(_VERBS) if g.chance(0.8) else words.invented(g)
    name = g.choice((f"{verb}_{ident}", f"{verb}_{ident}", verb + "".join(p.capitalize() for p in ident.split("_")), f"{ident}_{verb}"))
    params = []
    for key in g.sample(_KEYS, g.choice((1, 1, 2, 2, 3, 4))):
        roll = g.random()
        if roll < 0.15:
            key = words.invented(g)
        elif roll < 0.38:
            key = g.choice(words.NOUNS)
        elif roll < 0.5:
            key = f"{g.choice(words.NOUNS)}_{key}"
        kind, draw = _typed_value(g)
        params.append((key, kind, g.choice((f"The {key}", f"{key} of the {spoken}", key.capitalize())), draw))
    asked = params if g.chance(0.75) else params[:g.randint(1, len(params))]
    tool = Tool(name, g.choice((f"{verb.capitalize()} the {spoken}.", f"{verb.capitalize()} a {spoken}", f"Use this to {verb} the {spoken}.")), params, [p[0] for p in asked])
    equals = g.choice((" ", " ", " = ", "=", ": ", " set to ", " as "))
    listed = join_and([f"{p[0].replace('_', ' ') if equals == ' ' else p[0]}{equals}{{{i}}}" for i, p in enumerate(asked)])
    tool.requests = [f"[{verb.capitalize()}|Please {verb}|Can you {verb}|I want to {verb}|Could you {verb}] the {spoken} [with|using] {listed}[.|]", f"{verb.capitalize()} {spoken}: {listed}[.|]",
                     f"[Use|Call|Run|Please call|Please use|Invoke|Execute] [the tool |]{name} with {listed}[.|]", f"[Please |]{verb} a {spoken} with {listed}[.|, please.|]"]
    tool.results = [(["status", "result", "state"], lambda g: g.choice(("ok", "done", "success", "completed")))]
    tool.answers = ["Done, that worked: {r0}.", f"Done. I have called {name}, and the result is {{r0}}."]
    return tool


def any_tool(g, taken=()):
    while True:
        roll = g.random()
        if roll < 0.42:
            tool = family_tool(g, g.choice(("weather",) * 5 + tuple(FAMILIES)))
        else:
            tool = getter_tool(g) if roll < 0.68 else action_tool(g)
        if tool.name not in taken and not any(tool.description == t for t in taken):
            return tool


class Use:
    """A request filled with values: the user's text, the arguments, and later the result."""

    def __init__(self, g, tool, request=None):
        request = request or g.expand(g.choice(tool.requests))
        self.tool, self.arguments, self.slots = tool, {}, {}
        for i, (key, kind, _, draw) in enumerate(tool.params):
            value = draw(g)
            shown = value
            if "{%d}" % i in request:
                self.arguments[key] = {"celsius": "c", "fahrenheit": "f"}.get(value, value) if kind == ("c", "f") else value
            if isinstance(value, bool):
                shown = "true" if value else "false"
            elif isinstance(value, str) and isinstance(kind, str) and " " in value and f'"{{{i}}}"' not in request and g.chance(0.25):
                shown = f'"{value}"'
            self.slots[str(i)] = shown
        self.text = g.ask(request, **self.slots)

    def call(self):
        return {"type": "function", "function": {"name": self.tool.name, "arguments": json.dumps(self.arguments, ensure_ascii=False)}}

    def result(self, g):
        """(tool message, what the assistant says about it, a text that every good answer holds or None)."""
        if g.chance(0.08):
            error = g.choice(("not found", "timeout", "no permission", "service unavailable", f"unknown {g.choice(list(self.arguments) or ['value'])}"))
            return json.dumps({"error": error}), g.say(["Sorry, that did not work: {e}.", "The tool reported an error: {e}."], e=error), error
        values = {}
        out = {}
        for i, (keys, draw) in enumerate(self.tool.results):
            values[f"r{i}"] = out[g.choice(keys).replace(" ", "_")] = draw(g)
        if len(out) == 1 and g.chance(0.3):
            content = str(values["r0"])
        else:
            if g.chance(0.3):
                out = {**dict(zip(list(self.arguments)[:1], list(self.arguments.values())[:1])), **out}
            content = json.dumps(out, ensure_ascii=False)
        answers = [a for a in self.tool.answers if all("{%s}" % k in a for k in values)] or self.tool.answers
        slots = {k: str(v).strip('"') for k, v in self.slots.items()}
        sure = next((v for k, v in (("r0", str(values["r0"])), ("0", slots.get("0"))) if all("{%s}" % k in a for a in self.tool.answers)), None)
        return content, g.say(g.choice(answers), **slots, **values), sure


def tool_set(g, main):
    """1 to 4 tools in random order, the needed one among them."""
    tools = [main] if main else []
    taken = [main.name, main.description] if main else []
    for _ in range(g.choice((0, 0, 1, 1, 2, 3)) if main else g.choice((1, 1, 2, 3))):
        tool = any_tool(g, taken)
        taken += [tool.name, tool.description]
        tools.append(tool)
    g.rng.shuffle(tools)
    return tools


def _call_message(uses):
    return {"role": "assistant", "content": "", "tool_calls": [u.call() for u in uses]}


def _parallel(g, tool, first):
    """A second value of the same tool in one request: two calls in one turn."""
    request = g.choice(("[What is|What's|Get|Tell me] the {} [in|for|of] {{0}} and [in |for |]{{1}}[?|]", "{} [of|for|in] {{0}} and {{1}}[?|]", "Compare the {} [of|in|for] {{0}} and {{1}}[.|]"))
    noun = next((n for n in ("weather", "time", "price", "population") if n in tool.name or n in tool.description), None) or tool.description.split()[-1].strip(".")
    a, b = Use(g, tool, "{0}"), Use(g, tool, "{0}")
    text = g.ask(request.format(noun), **{"0": a.slots["0"], "1": b.slots["0"]})
    return text, [a, b]


def sample(g, filler=None):
    if g.chance(0.15):
        return _no_fit(g, filler)
    tool = any_tool(g)
    tools = tool_set(g, tool)
    schemas = [t.schema(g) for t in tools]
    if len(tool.params) == 1 and len(tool.results) == 1 and g.chance(0.10) or tool.name == "get_weather" and g.chance(0.08):
        text, uses = _parallel(g, tool, None)
    else:
        uses = [Use(g, tool)]
        text = uses[0].text
    messages = [user(text), _call_message(uses)]
    check = {"kind": "tool", "calls": [{"name": u.tool.name, "arguments": u.arguments} for u in uses]}
    sample = Sample("tool call", messages, schemas, check, g.choice(_SYSTEMS))
    if g.chance(0.5):
        _answer(g, sample, uses)
        if g.chance(0.4):
            _again(g, sample, tools, filler)
    return sample


def _answer(g, sample, uses):
    said = []
    for u in uses:
        content, answer, key = u.result(g)
        sample.messages.append({"role": "tool", "content": content})
        said.append((answer, key))
    sample.messages.append(assistant(" ".join(a for a, _ in said)))
    sample.skill = "tool answer"
    sample.check = {"kind": "contains_all", "texts": [k for _, k in said if k]}


def _again(g, sample, tools, filler):
    """The talk goes on: other talk without a tool, or another call."""
    if filler and g.chance(0.35):
        sample.messages += filler()
        sample.check = None
        return
    use = Use(g, g.choice(tools))
    sample.messages += [user(use.text), _call_message([use])]
    sample.skill, sample.check = "tool call", {"kind": "tool", "calls": [{"name": use.tool.name, "arguments": use.arguments}]}
    if g.chance(0.5):
        _answer(g, sample, [use])


def _no_fit(g, filler):
    """Tools are given, but the request needs none of them."""
    from . import arithmetic, extract, facts, haiku, memory, smalltalk, story
    tools = [t for t in tool_set(g, None) if not ("calc" in t.name or "math" in t.name or "eval" in t.name or "compute" in t.name)] or [family_tool(g, "weather")]
    plain = g.choice((facts.sample, facts.sample, arithmetic.sample, smalltalk.greeting, smalltalk.greeting, haiku.sample, memory.sample, extract.sample, story.sample))(g)
    return Sample("no tool", plain.messages, [t.schema(g) for t in tools], plain.check, g.choice(_SYSTEMS))
