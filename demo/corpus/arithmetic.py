"""Small sums in words and signs; harder ones are worked out in steps, which is what makes them come out right."""
from . import words
from .core import Sample, assistant, user

_ASK_EXPR = ["[What is|What's|what is|Calculate|Compute|Work out|Solve|Tell me|How much is|Please compute|Can you calculate|"
             "Could you work out|Evaluate|Please calculate|I need to know] {e}", "{e}", "{e} = ?", "{e}=?", "{e} =", "[Quick question:|Hey,|Hi,|ok,|So] "
             "[what is|what's|how much is] {e}", "[What is|What's] the [result|answer|value] of {e}", "[What does|what does] {e} [equal|make|come to|give]",
             "[Do you know|Can you tell me|Could you tell me] [what|how much] {e} is", "[Answer with the result:|Maths:|Math question:|Sum:] {e}"]
# orders to calculate: said as they are, without "what is" in front
_ORDERS = {"+": ["[Add|Please add|Can you add|I want to add] {a} [and|to|plus] {b}", "How much [do I get|is it|do you get] if [I add|you add|we add] {a} [to|and] {b}?", "[Sum|Add] up {a} and {b}", "{a} plus {b} [is what|makes|equals what]?",
                 "[Give me|I need|Tell me|Could you tell me] the sum of {a} and {b}", "{a} + {b} [is what|makes what|equals]?"],
           "-": ["[Subtract|Take|Please subtract|Can you subtract] {b} from {a}", "How much is left if [I take|you take|we take] {b} [away |]from {a}?", "{a} minus {b} [is what|makes|equals what]?", "What do I get if I subtract {b} from {a}?",
                 "{a} - {b} [is what|makes what|equals]?", "[Give me|I need|Tell me] the difference [of|between] {a} and {b}"],
           "*": ["[Multiply|Please multiply|Can you multiply] {a} [by|and|with] {b}", "[What do I get if I multiply|How much is it if I multiply] {a} by {b}?", "{a} times {b} [is what|makes|equals what]?", "[Give me|I need|Tell me] the product of {a} and {b}",
                 "{a} * {b} [is what|makes what|equals]?"],
           "/": ["[Divide|Please divide|Can you divide] {a} by {b}", "[What do I get if I divide|How much is it if I divide] {a} by {b}?", "How [often|many times] does {b} [go|fit] into {a}?", "{a} divided by {b} [is what|makes|equals what]?",
                 "{a} / {b} [is what|makes what|equals]?"]}
_ADD = ["{a} + {b}", "{a} + {b}", "{a} + {b}", "{a}+{b}", "{a} plus {b}", "the sum of {a} and {b}", "{a} and {b} added together"]
_SUB = ["{a} - {b}", "{a} - {b}", "{a} - {b}", "{a}-{b}", "{a} minus {b}", "the difference between {a} and {b}", "{a} take away {b}"]
_MUL = ["{a} * {b}", "{a} * {b}", "{a} × {b}", "{a} x {b}", "{a}*{b}", "{a} times {b}", "the product of {a} and {b}", "{a} multiplied by {b}"]
_DIV = ["{a} / {b}", "{a} / {b}", "{a}/{b}", "{a} ÷ {b}", "{a} divided by {b}", "{a} over {b}"]
_IN_WORDS = {"+": "{a} plus {b}", "-": "{a} minus {b}", "*": "{a} times {b}", "/": "{a} divided by {b}"}
_REPLY = ["{s}.", "{s}.", "{s}.", "{s}.", "The answer is {r}: {s}.", "That is {r}: {s}."]


def _two(g, kind):
    """Two numbers to add or subtract: of like size, or one small, or one next to a round number (where carries run far)."""
    top = g.choice((20, 100, 100, 100, 100, 500, 999, 999, 9999))
    shape = g.random()

    def draw():
        a, b = g.randint(1, top), g.randint(1, top)
        if shape < 0.15:
            b = g.randint(0, 12)
        elif shape < 0.3:
            a = max(1, g.choice((10, 50, 100, 100, 200, 500, 1000, 1000, 2000)) + g.randint(-3, 1))
            b = g.choice((b, g.randint(1, 20)))
        elif shape < 0.35:
            b = a
        return a, b
    return g.fresh(kind, draw)


def pair(g):
    """(a, b, operator, result) of one step, on this side of the held-out split where the numbers leave room for one."""
    op = g.choice("+++---***//")
    if op == "+":
        a, b = _two(g, "+")
        return a, b, op, a + b
    if op == "-":
        a, b = sorted(_two(g, "-"), reverse=True)
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
    if g.chance(0.22):
        s = worked(a, b, op, r)
        return g.ask(g.expand(_ORDERS[op]) + g.choice(("", ".", " please", " for me"))).format(a=a, b=b), (s + "." if len(s) > 30 else g.say(_REPLY, s=s, r=r)), r
    in_words = max(a, b) <= 100 and g.chance(0.12)
    if in_words:
        e = _IN_WORDS[op].format(a=spoken(g, a), b=spoken(g, b))
    else:
        e = g.choice(forms).format(a=a, b=b)
    text = g.ask(g.expand(_ASK_EXPR) + g.choice(("?", "?", "", "."))).replace("{e}", e)
    s = worked(a, b, op, r)
    if g.chance(0.06):
        return text + g.expand(" [Answer|Reply|Respond] with [just|only] [the|a] [number|result][.|]"), str(r), r
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
    ("*", "[A train|A car|A bus|{n}] [travels|goes|drives] {b} km [per|an|each] hour[ for| and drives for] {a} hours. How far [does it go|is that|does it travel|is the trip]?", "it is {r} km"),
    ("*", "{n} [reads|writes|runs|walks|bakes|plants] {b} {t2} [a|each|every|per] day. How many [is that|{t2} is that] in {a} days?", "it is {r} {t2}"),
    ("+", "{n} is {a} years old. How old will {n} be in {b} years?", "{n} will be {r} years old"),
    ("-", "{n} is {a} and {n2} is {b}. [How much older is {n}|What is the difference in their ages]?", "the difference is {r} years"),
    ("+", "{n} [picked|found|saw|baked|counted|collected|caught|sold|bought|read|made|drew] {a} {t} in the [morning|first hour|spring] and {b} [more |]in the [afternoon|evening|second hour|summer]. [How many {t}|How many] [did {n} {any}|is that|are that|did {n} get] [in total|altogether|in all|]?", "that is {r} {t} in total"),
    ("+", "{n} has {a} {t} and {n2} has {b}. How many {t} do they have [together|in total|altogether]?", "together they have {r} {t}"),
    ("-", "{n} has {a} {t} and {n2} has {b}. How many more [{t} |]does {n} have?", "{n} has {r} more"),
    ("-", "I [had|started with|have] {a} [euros|dollars|coins] and [paid|spent|lost|gave away] {b} [for lunch|for a book|on food|at the market|for a ticket|yesterday|][.|,] [What is left|How much is left|What remains|How much do I have now|How many are left]?", "{r} are left"),
    ("-", "[A|The] [bus|train|room|class] had {a} people and {b} [left|got off|went home]. How many [people are left|are still there|remain]?", "{r} people are left"),
    ("*", "[A|One|Each|Every] [box|bag|basket|shelf|pack] [holds|contains|has] {b} {t}. How many {t} are in {a} [of them|boxes|bags|baskets|packs]?", "there are {r} {t}"),
    ("*", "[I buy|{n} buys|We need] {a} {t} [for|at] {b} [euros|dollars] each. [What is the total|How much is that|What does it cost][ in total|]?", "the total is {r}"),
    ("/", "{a} {t} are shared by {b} [people|children|friends]. How many does each [get|person get|one get]?", "each gets {r}"),
    ("-", "[A|The] book has {a} pages and I [have read|read] {b}[ of them|]. How many pages [are left|remain|do I still have to read]?", "{r} pages are left"),
    ("-", "I [had|have] {a} [euros|dollars] and [spent|spend] {b}[ of them|]. How [much|many] do I have left?", "you have {r} left"),
    ("-", "If I have {a} {t} and [eat|give away|lose|sell] {b}[ of them|], how many {t} do I [have|still have|have left]?", "you have {r} {t}"),
    ("+", "If I have {a} {t} and [buy|get|find|you give me] {b} more, how many {t} do I have[ then|]?", "you have {r} {t}"),
    ("+", "{n} [scored|won|earned] {a} points [today|in the first game] and {b} [yesterday|in the second]. What is the total?", "the total is {r}"),
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
    slots = {"n": words.name_like(g), "n2": words.name_like(g), "t": plural(g.choice(words.THINGS + words.FRUITS + words.ANIMALS)),
             "any": g.choice(("pick", "find", "get", "have", "count", "collect", "buy", "make")), "t2": g.choice(("pages", "letters", "kilometres", "cakes", "trees", "poems", "lines")), "a": a, "b": b, "r": r}
    shown = slots if g.chance(0.8) else slots | {k: words.number_word(v) for k, v in (("a", a), ("b", b)) if v <= 20}
    text = g.ask(question, **shown)
    return text, g.say(["{s}, so " + answer + "."], s=worked(a, b, op, r), **slots), r


def _in_words(g):
    """Two steps told in words, halves and doubles, percentages."""
    kind = g.randint(0, 5)
    a, b, c = g.fresh("words", lambda: (g.randint(2, 20), g.randint(2, 20), g.randint(2, 9)))
    if kind == 0:
        r = (a + b) * c
        text = g.ask(["[Add|Take] {a} and {b}[,| and] [then |]multiply [the result|that|it] by {c}.", "Add {a} [to|and] {b} and multiply [the result |the sum |]by {c}."], a=a, b=b, c=c)
        return text, f"{a} + {b} = {a + b}, and {worked(a + b, c, '*', r)}.", r
    if kind == 1:
        r = a * c + b
        text = g.ask(["[Multiply|Take] {a} [by|times] {c}[,| and] [then |]add {b}.", "What is {a} times {c} plus {b}?"], a=a, b=b, c=c)
        return text, f"{worked(a, c, '*', a * c)}, and {a * c} + {b} = {r}.", r
    if kind == 2:
        r = g.randint(1, 100)
        text = g.ask(["What is half of {x}?", "[Halve {x}.|half of {x}?|How much is half of {x}?]"], x=2 * r)
        return text, f"Half of {2 * r} is {r}.", r
    if kind == 3:
        x = g.randint(1, 250)
        return g.ask(["What is [double|twice|two times] {x}?", "Double {x}.", "How much is twice {x}?"], x=x), f"Double {x} is {2 * x}.", 2 * x
    if kind == 4:
        percent, x = g.choice((10, 20, 25, 50, 5, 1, 100)), g.randint(1, 10) * g.choice((20, 100, 40, 200))
        if x * percent % 100 == 0:
            r = x * percent // 100
            return g.ask(["[What is|How much is|Calculate] {p}% of {x}?", "{p} percent of {x}?", "[What is|what's] {p} percent of {x}?"], p=percent, x=x), f"{percent}% of {x} is {r}.", r
    x = g.randint(1, 15)
    return g.ask(["What is {x} squared?", "[What is|Tell me] the square of {x}[?|.]", "{x} squared?"], x=x), f"{x} × {x} = {x * x}.", x * x


def compare(g):
    """Which number is larger, and odd or even."""
    if g.chance(0.6):
        a, b = g.sample(range(g.choice((20, 100, 1000))), 2)
        larger = g.chance(0.7)
        r = max(a, b) if larger else min(a, b)
        other = a + b - r
        text = g.ask(["Which [number |]is [bigger|larger|greater|more], {a} or {b}?", "[What|Which] is [the larger|the bigger|larger|bigger]: {a} or {b}?", "Is {a} or {b} [bigger|larger]?"] if larger else
                     ["Which [number |]is [smaller|less], {a} or {b}?", "What is smaller: {a} or {b}?"], a=a, b=b)
        return Sample("arithmetic", [user(text), assistant(f"{r} is {'larger' if larger else 'smaller'} than {other}.")], check={"kind": "contains", "text": f"{r} is"})
    a = g.randint(0, 200)
    parity = "odd" if a % 2 else "even"
    text = g.ask(["Is {a} [odd or even|even or odd|an odd number|an even number|even|odd]?", "{a}: odd or even?"], a=a)
    return Sample("arithmetic", [user(text), assistant(f"{a} is {parity}.")], check={"kind": "contains", "text": parity})


def sample(g):
    if g.chance(0.05):
        return compare(g)
    text, reply, result = g.choice((_single, _single, _single, _single, _two_steps, _word_problem, _word_problem, _in_words))(g)
    return Sample("arithmetic", [user(text), assistant(reply)], check={"kind": "last_number", "value": result})


def check_line(g):
    """A plain sum for documents without a chat."""
    a, b, op, r = pair(g)
    return worked(a, b, op, r)
