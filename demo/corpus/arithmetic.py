"""Small sums in words and signs; harder ones are worked out in steps, which is what makes them come out right."""
from . import words
from .core import Sample, assistant, user

_ASK_EXPR = ["[What is|What's|what is|Calculate|Compute|Work out|Solve|Tell me|How much is|Please compute|Can you calculate|"
             "Could you work out|Evaluate|Please calculate|I need to know] {e}", "{e}", "{e} = ?", "{e}=?", "{e} =", "[Quick question:|Hey,|Hi,|ok,|So] "
             "[what is|what's|how much is] {e}", "[What is|What's] the [result|answer|value] of {e}", "[What does|what does] {e} [equal|make|come to|give]",
             "[Do you know|Can you tell me|Could you tell me] [what|how much] {e} is", "[Answer with the result:|Maths:|Math question:|Sum:] {e}"]
_ADD = ["{a} + {b}", "{a} + {b}", "{a} + {b}", "{a}+{b}", "{a} plus {b}", "the sum of {a} and {b}", "{a} and {b} added together"]
_SUB = ["{a} - {b}", "{a} - {b}", "{a} - {b}", "{a}-{b}", "{a} minus {b}", "the difference between {a} and {b}", "{a} take away {b}"]
_MUL = ["{a} * {b}", "{a} * {b}", "{a} × {b}", "{a} x {b}", "{a}*{b}", "{a} times {b}", "the product of {a} and {b}", "{a} multiplied by {b}"]
_DIV = ["{a} / {b}", "{a} / {b}", "{a}/{b}", "{a} ÷ {b}", "{a} divided by {b}", "{a} over {b}"]
_IN_WORDS = {"+": "{a} plus {b}", "-": "{a} minus {b}", "*": "{a} times {b}", "/": "{a} divided by {b}"}
_REPLY = ["{s}.", "{s}.", "{s}.", "{s}.", "The answer is {r}: {s}.", "That is {r}: {s}."]


def pair(g):
    """(a, b, operator, result) of one step, on this side of the held-out split where the numbers leave room for one."""
    op = g.choice("+++---***//")
    if op == "+":
        top = g.choice((20, 100, 100, 100, 500, 999))
        a, b = g.fresh("+", lambda: (g.randint(0, top), g.randint(0, top)) if top > 20 else (g.randint(1, 20), g.randint(1, 20)))
        return a, b, op, a + b
    if op == "-":
        top = g.choice((20, 100, 100, 100, 500, 999))
        a, b = g.fresh("-", lambda: tuple(sorted((g.randint(0, top), g.randint(0, top)), reverse=True)))
        return a, b, op, a - b
    if op == "*":
        if g.chance(0.6):
            a, b = g.randint(0, 12), g.randint(0, 12)
        else:
            a, b = g.fresh("*", lambda: (g.randint(13, 99), g.randint(2, 9)))
            if g.chance(0.3):
                a, b = b, a
        return a, b, op, a * b
    b, r = g.randint(1, 12), g.randint(0, 12)
    b = b if g.chance(0.8) else g.randint(2, 9)
    return b * r, b, op, r


def worked(a, b, op, r):
    """"23 × 4 = 92" with the steps in front where a product is not in the tables."""
    sign = {"*": "×", "/": "÷"}.get(op, op)
    if op == "*" and max(a, b) > 12 and min(a, b) < 10 and max(a, b) % 10:
        big, small = max(a, b), min(a, b)
        tens, ones = big // 10 * 10, big % 10
        return (f"{tens} × {small} = {tens * small} and {ones} × {small} = {ones * small}, "
                f"{tens * small} + {ones * small} = {r}, so {a} {sign} {b} = {r}")
    return f"{a} {sign} {b} = {r}"


def spoken(g, n):
    """A number as typed, sometimes in words."""
    return words.number_word(n) if n <= 100 and g.chance(0.5) else str(n)


def _single(g):
    a, b, op, r = pair(g)
    forms = {"+": _ADD, "-": _SUB, "*": _MUL, "/": _DIV}[op]
    in_words = max(a, b) <= 100 and g.chance(0.12)
    if in_words:
        e = _IN_WORDS[op].format(a=spoken(g, a), b=spoken(g, b))
    else:
        e = g.choice(forms).format(a=a, b=b)
    text = g.ask(g.expand(_ASK_EXPR) + g.choice(("?", "?", "", "."))).replace("{e}", e)
    s = worked(a, b, op, r)
    return text, (s + "." if len(s) > 30 else g.say(_REPLY, s=s, r=r)), r


def _two_steps(g):
    kind = g.randint(0, 3)
    if kind == 0:
        a, b, c = g.fresh("+++", lambda: (g.randint(1, 99), g.randint(1, 99), g.randint(1, 99)))
        r = a + b + c
        e, steps = f"{a} + {b} + {c}", f"{a} + {b} = {a + b}, and {a + b} + {c} = {r}"
    elif kind == 1:
        a, b, c = g.fresh("+*", lambda: (g.randint(1, 50), g.randint(2, 12), g.randint(2, 12)))
        r = a + b * c
        e, steps = f"{a} + {b} * {c}", f"{b} × {c} = {b * c}, and {a} + {b * c} = {r}"
    elif kind == 2:
        a, b, c = g.fresh("(+)*", lambda: (g.randint(1, 9), g.randint(1, 9), g.randint(2, 9)))
        r = (a + b) * c
        s = a + b
        e = f"({a} + {b}) * {c}"
        steps = f"{a} + {b} = {s}, and " + (worked(s, c, "*", r) if s > 12 else f"{s} × {c} = {r}")
    else:
        a, b, c = g.fresh("+-", lambda: (g.randint(20, 99), g.randint(1, 99), g.randint(1, 20)))
        r = a + b - c
        e, steps = f"{a} + {b} - {c}", f"{a} + {b} = {a + b}, and {a + b} - {c} = {r}"
    text = g.ask(g.expand(_ASK_EXPR) + g.choice(("?", "?", ""))).replace("{e}", e)
    return text, g.say(["{s}. The answer is {r}.", "{s}, so the answer is {r}."], s=steps, r=r), r


_STORIES = [
    ("+", "{n} has {a} {t} and [buys|gets|finds|is given] {b} more. How many {t} does {n} have[ now| in total| altogether|]?", "{n} has {r} {t}"),
    ("+", "There are {a} {t} in one box and {b} [in another|in a second box]. How many {t} are there [in total|altogether|in both]?", "there are {r} {t}"),
    ("+", "I [have|had|bought] {a} {t} and [then I got|then bought|found] {b} more. How many [do I have|is that|have I got now]?", "you have {r} {t}"),
    ("-", "{n} had {a} {t} and [gave away|lost|sold|ate|used|dropped] {b}. How many [are left|{t} are left|does {n} have left]?", "{r} {t} are left"),
    ("-", "There were {a} {t} on the table and {n} took {b}. How many [remain|are left|{t} remain]?", "{r} {t} remain"),
    ("-", "I had {a} {t}, but {b} [broke|got lost|were stolen|are gone]. How many [do I still have|are left]?", "you still have {r} {t}"),
    ("*", "{n} [has|buys|packs|fills] {a} boxes with {b} {t} [each|in each|per box]. How many {t} [is that|are there|are there in total]?", "that is {r} {t}"),
    ("*", "One box [costs|is] {b} euros. How much do {a} boxes cost?", "{a} boxes cost {r} euros"),
    ("*", "Each of {a} children has {b} {t}. How many {t} do they have [together|in total]?", "together they have {r} {t}"),
    ("/", "{n} shares {a} {t} [equally|evenly] among {b} friends. How many [does each friend get|does each get|{t} does each get]?", "each friend gets {r} {t}"),
    ("/", "{a} {t} are [packed|put|placed] into {b} boxes equally. How many {t} go in each box?", "{r} {t} go in each box"),
]


def plural(noun):
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    if noun.endswith(("s", "x", "ch", "sh")):
        return noun + "es"
    return {"leaf": "leaves", "goose": "geese", "mouse": "mice", "sheep": "sheep", "deer": "deer", "wolf": "wolves", "shelf": "shelves",
            "knife": "knives", "scarf": "scarves"}.get(noun, noun + "s")


def _word_problem(g):
    op, question, answer = g.choice(_STORIES)
    while True:
        a, b, o, r = pair(g)
        if o == op and a <= 500 and min(a, b) >= 1 and (op not in "*/" or a >= 2 and b >= 2):
            break
    slots = {"n": words.name_like(g), "t": plural(g.choice(words.THINGS + words.FRUITS + words.ANIMALS)), "a": a, "b": b, "r": r}
    text = g.ask(question, **slots)
    return text, g.say(["{s}, so " + answer + "."], s=worked(a, b, op, r), **slots), r


def sample(g):
    text, reply, result = g.choice((_single, _single, _single, _two_steps, _word_problem))(g)
    return Sample("arithmetic", [user(text), assistant(reply)], check={"kind": "last_number", "value": result})


def check_line(g):
    """A plain sum for documents without a chat."""
    a, b, op, r = pair(g)
    return worked(a, b, op, r)
