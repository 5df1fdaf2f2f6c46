"""The pieces every skill uses: the random source, phrase templates, noise, and the held-out split.

A template is ordinary text with choices in square brackets and slots in braces:
    "[please |can you |]write a haiku about {topic}"
Choices nest. Slots are filled after the noise is applied, so a typo never hits a value that the answer must copy.
"""
import random
import re
import zlib
from dataclasses import dataclass

HELD_OUT_SHARE = 12          # one value in twelve is kept for the evaluation
_SLOT = re.compile(r"\{(\w+)\}")
_TYPO_WORD = re.compile(r"(?<![\w{])[a-z]{5,}(?![\w}])")
_SHORTHAND = [(re.compile(rf"\b{long}\b"), short) for long, short in (
    ("what's", "whats"), ("what is", "whats"), ("you", "u"), ("your", "ur"), ("are", "r"), ("please", "pls"), ("i'm", "im"), ("thanks", "thx"),
    ("don't", "dont"), ("tomorrow", "tmrw"), ("how's", "hows"))]
_trees = {}


@dataclass
class Sample:
    """One piece of conversation. The last assistant message is what `check` describes."""
    skill: str
    messages: list
    tools: list | None = None
    check: dict | None = None
    system: str | None = None


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


def held_out(kind, value):
    """Whether a value belongs to the evaluation. A hash decides, so no list has to be kept."""
    return zlib.crc32(f"{kind}\0{value}".encode()) % HELD_OUT_SHARE == 0


def _parse(text, i=0, nested=False):
    """Turn "a[b|c]d" into ["a", [["b"], ["c"]], "d"]."""
    alternatives, nodes, start = [], [], i
    while i < len(text):
        c = text[i]
        if c == "[":
            if i > start:
                nodes.append(text[start:i])
            inner, i = _parse(text, i + 1, True)
            nodes.append(inner)
            start = i
            continue
        if nested and c in "|]":
            if i > start:
                nodes.append(text[start:i])
            alternatives.append(nodes)
            nodes, start = [], i + 1
            if c == "]":
                return alternatives, i + 1
        i += 1
    assert not nested, f"unclosed [ in template: {text}"
    if i > start:
        nodes.append(text[start:i])
    return nodes, i


class Gen:
    """A seeded source of phrases and values. With heldout=True it draws only values kept from training."""

    def __init__(self, seed, heldout=False, pieces=()):
        self.rng = random.Random(seed)
        self.random = self.rng.random
        self.heldout = heldout
        self.pieces = pieces          # word pieces of the tokenizer, for words made of them
        self.lower = False            # whether the last user template was typed in lower case

    def chance(self, p):
        return self.random() < p

    def choice(self, items):
        return items[int(self.random() * len(items))]

    def randint(self, a, b):
        return a + int(self.random() * (b - a + 1))

    def sample(self, items, n):
        return self.rng.sample(items, n)

    def fresh(self, kind, draw):
        """Draw a value on this side of the held-out split."""
        for _ in range(200):
            value = draw()
            if held_out(kind, value) == self.heldout:
                return value
        return value

    def _expand(self, nodes, out):
        for node in nodes:
            if isinstance(node, str):
                out.append(node)
            else:
                self._expand(self.choice(node), out)

    def expand(self, template):
        if not isinstance(template, str):
            template = self.choice(template)
        tree = _trees.get(template)
        if tree is None:
            tree = _trees[template] = _parse(template)[0]
        out = []
        self._expand(tree, out)
        return "".join(out)

    def say(self, template, **slots):
        """An assistant's phrase: choices and slots, no noise."""
        text = self.expand(template)
        return _SLOT.sub(lambda m: str(slots[m[1]]), text) if slots else text

    def ask(self, template, **slots):
        """A user's phrase: choices, then typing noise, then slots."""
        text = self.noise(self.expand(template))
        return _SLOT.sub(lambda m: str(slots[m[1]]), text) if slots else text

    def noise(self, text):
        roll = self.random()
        self.lower = False
        if roll < 0.62:
            return text
        if roll < 0.80:
            self.lower = True
            text = text.lower()
            if self.chance(0.3):
                text = self._shorthand(text)
            if self.chance(0.5):
                text = text.rstrip(".?!")
        elif roll < 0.86:
            text = text.rstrip(".?!")
        elif roll < 0.88:
            text = text + self.choice(["!", "!!", " :)", " thanks", " Thanks!", " ok?", "..."])
        if self.chance(0.35):
            text = self._typo(text)
        return text

    def _shorthand(self, text):
        """"whats" for "what's", "u" for "you": as typed on a phone."""
        for long, short in _SHORTHAND:
            if self.chance(0.6):
                text = long.sub(short, text)
        return text

    def _typo(self, text):
        words = list(_TYPO_WORD.finditer(text))
        if not words:
            return text
        m = self.choice(words)
        w = m[0]
        i = self.randint(1, len(w) - 2)
        kind = self.random()
        if kind < 0.4:
            w = w[:i] + w[i + 1] + w[i] + w[i + 2:]
        elif kind < 0.7:
            w = w[:i] + w[i + 1:]
        else:
            w = w[:i] + w[i] + w[i:]
        return text[:m.start()] + w + text[m.end():]


def join_and(items):
    """["a", "b", "c"] -> "a, b and c"."""
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]
