"""Haiku on a topic, with a word that must appear exactly as given.

Lines come from topic word banks through line templates, and only those of five and seven syllables are kept; the line
that holds the requested word is built from a frame for its part of speech.
"""
import functools
import re

from . import words
from .core import Gen, Sample, assistant, user
from .topics import TOPICS

LINES_PER_LENGTH = 400       # enough for variety, few enough to build at start-up
_ODD = {"fire": 1, "fires": 1, "hour": 1, "hours": 1, "being": 2, "quiet": 2, "science": 2, "poem": 2, "poems": 2, "idea": 3, "ideas": 3,
        "every": 2, "evening": 2, "cycles": 2, "matrices": 3, "caches": 2, "branches": 2, "ocean": 2, "area": 3, "create": 2,
        "violin": 3, "piano": 3, "radio": 3, "million": 2, "onion": 2, "rhythm": 2, "rhythms": 2, "people": 2, "table": 2, "tables": 2,
        "dial": 2, "lion": 2, "lions": 2, "violet": 3, "pages": 2, "edges": 2, "pulses": 2, "voices": 2, "horses": 2, "roses": 2, "mosses": 2,
        "houses": 2, "noises": 2, "dishes": 2, "benches": 2, "beaches": 2, "watches": 2, "ashes": 2, "wishes": 2, "bridges": 2,
        "surfaces": 3, "spices": 2, "places": 2, "spaces": 2, "faces": 2, "races": 2, "dances": 2, "voyages": 3, "messages": 3,
        "oranges": 3, "languages": 3, "phrases": 2, "breezes": 2, "freezes": 2, "reaches": 2, "passes": 2, "rises": 2, "crosses": 2,
        "pauses": 2, "reads": 1, "ancient": 2, "patient": 2, "patience": 2, "gpus": 4, "variables": 4, "quietly": 3, "steadily": 3,
        "pixels": 2, "finches": 2, "peaches": 2, "glasses": 2, "lenses": 2, "sentences": 3, "galaxies": 3, "searches": 2, "marches": 2}


def count_syllables(text):
    return sum(_word_syllables(w) for w in re.findall(r"[a-z']+", text.lower()))


@functools.lru_cache(maxsize=None)
def _word_syllables(word):
    if word in _ODD:
        return _ODD[word]
    n = len(re.findall(r"[aeiouy]+", word))
    if re.search(r"[^l]e$|[^aeioutd]ed$|[^aeiouscxzgh]es$", word) and n > 1 or re.search(r"[aeiou]le$", word) and n > 1:
        n -= 1
    return max(n, 1)


def third(verb):
    """hum -> hums, march -> marches, carry -> carries; only the first word of a phrase changes."""
    head, _, tail = verb.partition(" ")
    if re.search(r"(s|x|z|ch|sh|o)$", head):
        head += "es"
    elif re.search(r"[^aeiou]y$", head):
        head = head[:-1] + "ies"
    else:
        head += "s"
    return head + (" " + tail if tail else "")


# the first line opens the scene and the last one closes it: they never share a shape, so they are never the same
_FIRST = ["{a} {n} {v}", "{n} {v} {p}", "{a} {n} {p}", "{p}, {n} {v}", "{n}, {a} {n2}", "{a} {s}, {a2} {s2}"]
_LAST = ["the {s} {t} {p}", "the {a} {s} {t}", "one {a} {s} {t}", "still the {s} {t}", "then the {s} {t}", "only the {s} {t}", "at last one {s} {t}",
         "how {a} the {s} {t}", "and the {s} {t}"]
_LONG = ["{a} {n} {v} {p}", "{n} and {n2} {v} {p}", "{p}, {a} {n} {v}", "the {s} {t} while {n} {v}", "each {s} {t} {p}",
         "{n} {v} where the {s} {t}", "the {a} {s} {t} {p}", "{a} {n} {v}, {n2} {v2}", "while the {s} {t}, {n} {v}",
         "{n} {v} and {v2} {p}", "one {s} {t}, and {n} {v}"]


class Bank:
    """A topic's words and the lines that can be made of them."""

    def __init__(self, spec):
        self.names = words._p(spec["names"])
        self.n, self.s, self.v, self.a, self.p = (words._p(spec[k]) for k in "nsvap")
        self.t = [third(v) for v in self.v]
        self.lines = [self._lines(_FIRST, 5), self._lines(_LONG, 7), self._lines(_LAST, 5)]

    def fill(self, g, frame):
        """Fill a frame with random words of this bank."""
        for slot, pool in (("{n}", self.n), ("{n2}", self.n), ("{s}", self.s), ("{s2}", self.s), ("{v}", self.v), ("{v2}", self.v),
                           ("{t}", self.t), ("{a}", self.a), ("{a2}", self.a), ("{p}", self.p)):
            if slot in frame:
                frame = frame.replace(slot, g.choice(pool))
        return frame

    def _lines(self, templates, target):
        g, found = Gen(len(self.names) + target), {}
        for _ in range(40 * LINES_PER_LENGTH):
            line = self.fill(g, g.choice(templates))
            content = [w for w in line.replace(",", "").split() if len(w) > 4]
            if count_syllables(line) == target and len(set(content)) == len(content):
                found[line] = True
                if len(found) >= LINES_PER_LENGTH:
                    break
        return sorted(found)

    def line(self, g, index, key=None):
        """Line 0, 1 or 2. A letter of `key` (the asked word) narrows the choice to neighbours in the sorted list.

        Greedy decoding would otherwise give the same likeliest lines to every word.
        """
        lines = self.lines[index]
        if not key:
            return g.choice(lines)
        n = len(lines)
        letter = ord(key[(0, len(key) // 2, -1)[index]].lower()) % 26
        return lines[(letter * n // 26 + int(g.random() * (n // 13 + 1))) % n]


@functools.lru_cache(maxsize=None)
def banks():
    return {name: Bank(spec) for name, spec in TOPICS.items()}


_FRAMES = {
    "number": (["{w} {n} {v}", "{w} {a} {n}", "{w} {n} {p}", "{p}, {w}", "count to {w} now"],
               ["{w} {n} {v} {p}", "{w} {a} {n} {v}", "{p}, {w} {n}", "{w} {n} and one {s}"]),
    "noun": (["the {w} {t} {p}", "one {w} {p}", "the {a} {w} {t}", "this {w}, these {n}"],
             ["{n} {v} where the {w} {t}", "the {s} {t} like one {w}", "a dream of {w} {p}", "the {w} {t} while {n} {v}"]),
    "adjective": (["{w} {n} {v}", "{w} and {a}", "so {w}, the {s}", "the {w} {s} {t}"],
                  ["{w} {n} {v} {p}", "the {w} {s} {t} {p}", "{n} {v}, {w} and {a}"]),
    "ing": (["{w} {p}", "{n}, {w} still", "the {s} is {w}", "{w}, the {n} {v}"],
            ["{n} are {w} {p}", "{w} {p}, the {s} {t}", "{w} and {a}, {n} {v}"]),
    "adverb": (["{w} the {s} {t}", "{n} {v} {w}", "{w}, {a} {n}"], ["{w}, {p}, the {s} {t}", "{n} {v} {w} {p}"]),
    "name": (["{w} {t} {p}", "good night, dear {w}", "{n} call for {w}", "{w} and the {s}"],
             ["{w} {t} while {n} {v}", "{n} {v} as {w} {t}", "{p}, {w} counts {n}", "{n} and {w} {v} {p}"]),
    "other": (["the {s} hums {w}", "{w}, say the {n}", "softly, {w} {t}", "{n} sing of {w}", "a hint of {w}", "{w} {p}"],
              ["{n} {v} and whisper {w}", "the {w} {t} while {n} {v}", "{p}, the {s} says {w}", "{w}, the {n} {v} {p}"]),
}
_TOPIC_LINES = (["{x} {p}", "thinking of {x}", "oh, {x} {p}", "a song for {x}", "{x}, softly now", "all about {x}"],
                ["{n} {v}, dreaming of {x}", "{x} {p}, and {n} {v}", "in praise of {x} the {s} {t}", "{p}, {x} and {n}"])


def compose(g, topic_key, topic_text, word=None, pos="other"):
    """Three lines. topic_key None means an unknown topic, which then is named in a line of its own."""
    bank = banks()[topic_key or g.choice(("nature", "night", "seasons", "rain"))]
    key = word or (topic_text if topic_key is None else None)
    lines = [bank.line(g, i, key) for i in range(3)]
    order = g.sample(range(3), 2)
    if topic_key is None and topic_text:
        lines[order[0]] = _framed(g, bank, _TOPIC_LINES[order[0] == 1], "{x}", topic_text, order[0])
    if word:
        lines[order[1]] = _framed(g, bank, _FRAMES[pos][order[1] == 1], "{w}", word, order[1])
    return "\n".join(lines)


def _framed(g, bank, frames, slot, text, index):
    """The best of some filled frames by the number of syllables."""
    target, best = (5, 7, 5)[index], None
    for _ in range(5):
        line = bank.fill(g, g.choice(frames)).replace(slot, text)
        off = abs(count_syllables(line) - target)
        if best is None or off < best[0]:
            best = off, line
    return best[1]


def unknown_topic(g):
    noun = g.fresh("topic", lambda: g.choice(words.NOUNS)) if g.chance(0.6) else words.invented(g)
    shape = g.random()
    if shape < 0.25:
        return _long_topic(g, noun)
    if shape < 0.4:
        return f"the {noun}"
    if shape < 0.5:
        return f"my {noun}"
    if shape < 0.6:
        return f"{words.article(g.choice(words.ADJECTIVES))} {noun}"
    if shape < 0.7:
        return f"{noun} and {g.choice(words.NOUNS)}"
    if shape < 0.8:
        return f"{g.choice(words.VERBS_ING)} in {words.city(g)}"
    if shape < 0.9:
        return words.city(g) if g.chance(0.5) else words.name_like(g)
    return noun


def _long_topic(g, noun):
    """A topic of several words, as people give them."""
    other, adjective, doing = g.choice(words.NOUNS), g.choice(words.ADJECTIVES), g.choice(words.VERBS_ING)
    someone = g.choice(("my daughter", "my son", "my friend", "our neighbour", "my brother", "a boy called", "my sister", "my cat", "our dog"))
    return g.choice((
        f"{words.article(noun)} and {words.article(other)}", f"the {noun} and a {adjective} {other}", f"{words.article(noun)} in the {other}",
        f"{words.article(noun)} on the {other}", f"{doing} in the {noun}", f"{someone} {words.name_like(g)} {doing} in the {noun}",
        f"{someone} {words.name_like(g)}", f"{words.name_like(g)} and the {adjective} {noun}", f"the {adjective} {noun} of {words.city(g)}",
        f"losing my {noun}", f"finding {words.article(noun)}", f"the smell of the {noun}", f"my first {noun}", f"the last {noun}", f"a {noun} without {other}s",
        f"why I love the {noun}", f"{words.article(noun)} that is {doing}"))


def nonce(g):
    """Something in brackets that has nothing to do with the request."""
    label = g.choice(("nonce: ", "nonce: ", "nonce: ", "nonce: ", "nonce ", "id: ", "ref ", "seed: ", "request ", "nonce=", "run ", "tag: "))
    text = label + words.identifier(g)
    return g.choice((" ({})", " ({})", " ({})", " [{}]", " {}", " <{}>")).format(text)


_REQUEST = ["Write a haiku about {topic}", "[Please write|Write me|Compose|Create|Give me|Can you write|Could you please write|I want|I'd like|"
            "Make|Generate] [a|a short|a nice|one] haiku [about|on|on the topic of|on the subject of] {topic}", "haiku about {topic}",
            "[Please |]write [me |]a [three line poem|three-line poem|little haiku] about {topic}",
            "[Hey, |Hi! |]can you [do|make|write] a haiku [for me |]about {topic}", "[I would love|I'd love|I need|We need] [to read |]a haiku about {topic}",
            "[Write|Compose|Give me] a [poem|short poem|verse|small poem] about {topic}", "[Could you|Can you|Would you|Please] come up with a haiku[ about|:] {topic}",
            "{topic}: [make|write] it a haiku", "[Turn|Put] {topic} into a haiku", "a haiku [please, |, ]about {topic}", "[Topic|Haiku topic]: {topic}. [Write the haiku|Write a haiku|Haiku please]",
            "[Think about|Think of] {topic} and write a haiku", "[Your task:|Task:|Now] write a haiku on {topic}"]
_WITH = ["that includes the word {q}", "that [contains|uses|has|mentions] the word {q}", "with the word {q} in it", "including the word {q}",
         "and use the word {q}", "containing {q}", "with the word {q}", "that includes {q}", "in which the word {q} appears",
         "[and|that must] include the word {q}", "using the word {q}", "and it must contain {q}", "It has to [have|contain|include] the word {q}[ somewhere|]",
         "Include {q}", "[Make sure|Be sure] [to use|it has] the word {q}", "Required word: {q}", "The word {q} [must|has to|should] [appear|be in it|be used]", "Don't forget the word {q}",
         "- word: {q}", "[somewhere|somehow] with {q} [in it|inside]", "Work in the word {q}", "that has {q} in one line"]
_BEFORE = ["[Using|Use|With|Include|Including] the word {q}[,|:] write a haiku about {topic}", "The word is {q}, the topic is {topic}. [Write a haiku|Haiku please]",
           "[Word|word]: {q}. [Topic|topic]: {topic}. [Write a haiku|A haiku, please]", "[I need|Give me] a haiku with {q} in it, [about|on] {topic}",
           "Write a haiku that [includes|contains] the word {q} [and is about|about|on the topic of] {topic}"]
_WORD_ONLY = ["[Write|Please write|Compose|Give me|Can you write] a haiku [that includes|with|containing|using|that uses] the word {q}",
              "haiku with the word {q}", "Use the word {q} in a haiku"]
_QUOTES = ('"{}"', '"{}"', '"{}"', '"{}"', "'{}'", "“{}”", "{}", "`{}`", "**{}**")


def check_for(word, secret):
    return {"kind": "haiku", "word": word, "forbid": [secret] if secret else []}


def sample(g):
    """One request and its haiku; now and then a second one asked for in the same conversation."""
    known = g.chance(0.62)
    topic_key = g.choice(list(banks())) if known else None
    if known and g.chance(0.22):
        topic_key = "gpu"
    topic = g.choice(banks()[topic_key].names) if known else unknown_topic(g)
    word, pos = words.any_word(g)
    secret = None
    roll = g.random()
    if roll < 0.30:
        secret = words.identifier(g)
        if known and g.chance(0.3):
            topic_key, topic = "gpu", "GPU computing"
        text = f'Write a haiku about {topic} that includes the word "{word}" (nonce: {secret})'
    elif roll < 0.40:
        text = g.ask(g.expand(_BEFORE) + g.choice(("", ".")), topic=topic, q=g.choice(_QUOTES).format(word))
    elif roll < 0.68:
        request, with_word = g.expand(_REQUEST), g.expand(_WITH)
        request += (". " if with_word[0].isupper() else g.choice((" ", " ", ", "))) + with_word
        text = g.ask(request + g.choice(("", ".", ".", "!")), topic=topic, q=g.choice(_QUOTES).format(word))
    elif roll < 0.80:
        text = g.ask(g.expand(_WORD_ONLY) + g.choice(("", ".")), q=g.choice(_QUOTES).format(word))
        topic_key, topic = g.choice(list(banks())), None
    else:
        text, word = g.ask(g.expand(_REQUEST) + g.choice(("", ".", " please.")), topic=topic), None
    if secret is None and g.chance(0.22):
        text += nonce(g)
    messages = [user(text), assistant(compose(g, topic_key, topic, word, pos))]
    if g.chance(0.12):
        messages += _follow_up(g, topic_key, topic)
        word = None
    return Sample("haiku", messages, check=check_for(word, secret))


def _follow_up(g, topic_key, topic):
    if g.chance(0.5):
        word, pos = words.any_word(g)
        ask = g.ask(["[Another one|One more|Again], [but |]with the word {q}[ please|].", "Now [one|write one|another] with the word {q}.",
                     "now use the word {q} instead"], q=g.choice(_QUOTES).format(word))
    else:
        word, pos = None, "other"
        ask = g.ask(["[Another one|One more|Again][, please|].", "[Can you write|Write|Give me] another [one|haiku][ about the same topic|]?"])
    return [user(ask), assistant(compose(g, topic_key, topic, word, pos))]
