"""What the model knows: capitals and other small facts, asked in many ways.

Every fact is trained; what is held out are combinations of a fact with a way of asking for it.
"""
from .core import Sample, assistant, held_out, user
from .fact_tables import ANIMALS, COUNTRIES, ELEMENTS, OPPOSITES, PLAIN, SOUNDS, YOUNG

_THE = {"Netherlands", "United States", "United Kingdom", "Philippines", "Czech Republic", "United Arab Emirates", "Dominican Republic", "Bahamas",
        "Maldives", "Gambia"}
_PRE = ["", "", "", "", "", "Hi! ", "Hello, ", "Hey, ", "Quick question: ", "Please tell me: ", "I wonder, ", "Geography: ", "Sorry, ", "Ok, "]
_POST = ["", "", "", "", "", "", " Thanks.", " Please answer briefly."]


def the(country):
    return "the " + country if country in _THE else country


def _rows():
    """(group, ways of asking, slots, ways of answering, text that must appear) for every fact."""
    rows = []
    for country, capital, continent, language, currency in COUNTRIES:
        s = {"c": the(country), "capital": capital, "continent": continent, "language": language, "currency": currency}
        C = s["c"][0].upper() + s["c"][1:]
        s["C"] = C
        rows.append(("capital", _CAPITAL, s, ["The capital of {c} is {capital}.", "{capital} is the capital of {c}."], capital))
        rows.append(("capital", _CAPITAL, s, ["The capital of {c} is {capital}."], capital))
        rows.append(("capital of", _CAPITAL_OF, s, ["{capital} is the capital of {c}."], country))
        rows.append(("continent", _CONTINENT, s, ["{C} is in {continent}."], continent))
        if language:
            rows.append(("language", _LANGUAGE, s, ["In {c}, people speak {language}.", "People in {c} speak {language}."], language))
        if currency:
            rows.append(("currency", _CURRENCY, s, ["The currency of {c} is the {currency}."], currency))
    for name, symbol, number in ELEMENTS:
        s = {"name": name, "Name": name.capitalize(), "symbol": symbol, "number": number}
        rows.append(("symbol", _SYMBOL, s, ["The chemical symbol of {name} is {symbol}.", "The symbol for {name} is {symbol}."], symbol))
        rows.append(("element", _ELEMENT, s, ["{symbol} is the symbol of {name}."], name))
        rows.append(("atomic number", _ATOMIC, s, ["The atomic number of {name} is {number}."], str(number)))
    for a, b in OPPOSITES:
        for x, y in ((a, b), (b, a)):
            rows.append(("opposite", _OPPOSITE, {"x": x, "y": y}, ["The opposite of {x} is {y}."], y))
    for animal, legs, kind in ANIMALS:
        an = ("an " if animal[0] in "aeio" else "a ") + animal
        s = {"animal": animal, "an": an, "An": an.capitalize(), "legs": legs, "kind": kind}
        rows.append(("legs", _LEGS, s, ["{An} has {legs} legs."], str(legs)))
        rows.append(("kind", _KIND, s, ["{An} is {kind}."], kind))
    for animal, sound in SOUNDS:
        rows.append(("sound", _SOUND, {"animal": animal, "sound": sound}, ["A {animal} says {sound}."], sound))
    for animal, young in YOUNG:
        rows.append(("young", _YOUNG, {"animal": animal, "young": young}, ["A baby {animal} is called a {young}."], young))
    for questions, answer, key in PLAIN:
        rows.append(("plain", questions, {}, [answer], key))
    return rows


_CAPITAL = ["What is the capital of {c}?", "What's the capital of {c}?", "Which city is the capital of {c}?", "capital of {c}?", "Tell me the capital of {c}.",
            "Name the capital of {c}.", "Can you tell me the capital of {c}?", "Do you know the capital of {c}?", "What is {c}'s capital?",
            "What is the capital city of {c}?", "the capital of {c} is?", "I forgot the capital of {c}. What is it?", "Which city is {c}'s capital?",
            "Could you please tell me what the capital of {c} is?", "capital {c}", "What city is the capital of {c}", "{C}: what is the capital?",
            "[Which|What] is the capital city of {c}[, please|]?", "Name {c}'s capital city.", "I need to know the capital of {c}.", "[My homework asks|Someone asked me]: what is the capital of {c}?",
            "I'm [going|travelling|flying|moving] to {c}[ next month| soon| tomorrow|][.|;|,] [what is|what's|which city is] the capital[ there| of that country|]?", "Quiz: capital of {c}?", "[Quick quiz!|Quiz time!|Question 1:] [What is the capital of|Capital of] {c}?",
            "What do [they|people|you] call the capital of {c}?", "{C} has which capital?", "I live in {c}. What is the capital of my country?", "If I [go|travel|fly] to the capital of {c}, [which|what] city is that?", "{C}'s capital?", "Which city do we call the capital of {c}?", "[Give me|Say] the name of the capital of {c}."]
_CAPITAL_OF = ["{capital} is the capital of which country?", "Which country has {capital} as its capital?", "What country is {capital} the capital of?",
               "Of which country is {capital} the capital?", "In which country is {capital}?", "Where is {capital}?", "[Please tell me |Tell me |]in which country {capital} [lies|is][?|.]", "{capital} is in which country?", "{capital}: which country is that?", "Which country is {capital} in?"]
_CONTINENT = ["[On|In] which continent is {c}?", "What continent is {c} [in|on|part of]?", "Which continent is {c} [in|on]?", "Where is {c}?", "{c}: which continent?",
              "Do you know which continent {c} is on?", "Where in the world is {c}?", "Where is {c} located?"]
_LANGUAGE = ["Which language do they speak in {c}?", "What language should I learn for {c}?", "[What|Which] language [do people speak|is spoken|do they speak] in {c}?", "What is the [main |official |]language of {c}?", "What do people speak in {c}?",
             "Tell me the language of {c}."]
_CURRENCY = ["What's the [money|currency] [used|they use] in {c}?", "Which money [is used|do people have] in {c}?", "What is the currency of {c}?", "[What|Which] currency [is used|do they use|do people use] in {c}?", "What money do they use in {c}?", "What's {c}'s currency?",
             "How do I pay in {c}, what is the currency?"]
_SYMBOL = ["What is the chemical symbol [of|for] {name}?", "[What's|what is] the symbol [for|of] {name}?", "chemical symbol for {name}?", "Which symbol does {name} have?",
           "Tell me the chemical symbol of {name}.", "How is {name} written in chemistry?"]
_ELEMENT = ["Which element has the symbol {symbol}?", "What element is {symbol}?", "What does the chemical symbol {symbol} stand for?", "{symbol} is the symbol of which element?"]
_ATOMIC = ["What is the atomic number of {name}?", "[What's|Tell me] the atomic number of {name}.", "Which atomic number does {name} have?", "atomic number of {name}?"]
_OPPOSITE = ["What is the opposite of {x}?", "What's the opposite of {x}?", "opposite of {x}?", "Give me the opposite of {x}.", "Tell me the opposite of the word {x}.",
             "What is the antonym of {x}?", "Which word is the opposite of {x}?", "What word means the opposite of {x}?"]
_LEGS = ["How many legs does {an} have?", "How many legs has {an}?", "What is the number of legs of {an}?", "{an}: how many legs?", "Tell me how many legs {an} has."]
_KIND = ["What kind of animal is {an}?", "What is {an}?", "What type of animal is {an}?", "Is {an} a mammal, a bird, a fish, a reptile, an amphibian or an insect?"]
_SOUND = ["What sound does a {animal} make?", "What does a {animal} say?", "What noise does a {animal} make?", "Which sound do you hear from a {animal}?"]
_YOUNG = ["What is a baby {animal} called?", "What do you call a baby {animal}?", "What's the name for a young {animal}?", "What is the young of a {animal} called?"]

# asked for a bare answer, the model gives nothing else
_SHORT_GROUPS = ("capital", "capital of", "continent", "currency", "symbol", "element", "opposite", "sound", "young")
_SHORT = " [Answer|Reply|Respond] [with|in] [one word|a single word|only the name|just the name|only one word|only the answer][.| please.|]"

ROWS = _rows()
_GROUPS = {}
for _row in ROWS:
    _GROUPS.setdefault(_row[0], []).append(_row)
_WEIGHTED = ["capital"] * 8 + ["capital of"] * 2 + ["continent", "language", "currency", "symbol", "element", "atomic number", "legs", "kind", "sound", "young"] \
    + ["opposite"] * 2 + ["plain"] * 5


def draw(g, group=None):
    """(fact, question template) on this side of the split."""
    for _ in range(500):
        row = g.choice(_GROUPS[group or g.choice(_WEIGHTED)])
        question = g.choice(row[1])
        few = len(row[1]) < 3
        if few and not g.heldout or held_out("fact", f"{row[4]} {row[2].get('c', row[2].get('x'))} {question}") == g.heldout:
            return row, question
    return row, question


_TWO = ["What are the capitals of {a} and {b}?", "[Tell me|Name|I need] the capitals of {a} and {b}.", "What is the capital of {a} and [what is |]the capital of {b}?", "capitals of {a} and {b}",
        "[What's|What is] the capital of {a}, and [what about|of] {b}?"]
_BOTH = ["What is the capital of {a} and [which|what] language [do they speak|is spoken|do people speak] there?", "What's the capital of {a} and what do [they|people] speak there?",
         "Tell me the capital and the language of {a}."]


def _compound(g):
    """Two facts asked for in one question."""
    x, y = g.fresh("two capitals", lambda: tuple(r[:2] for r in g.sample(COUNTRIES, 2)))
    if g.chance(0.6):
        reply = f"The capital of {the(x[0])} is {x[1]}, and the capital of {the(y[0])} is {y[1]}."
        return Sample("facts", [user(_cased(g, g.ask(_TWO, a=the(x[0]), b=the(y[0])))), assistant(reply)], check={"kind": "contains_all", "texts": [x[1], y[1]]})
    country, capital, _, language, _ = g.fresh("both", lambda: g.choice([r for r in COUNTRIES if r[3]]))
    reply = f"The capital of {the(country)} is {capital}, and people there speak {language}."
    return Sample("facts", [user(_cased(g, g.ask(_BOTH, a=the(country)))), assistant(reply)], check={"kind": "contains_all", "texts": [capital, language]})


def unknown_question(g, thing):
    """A question of the usual form about something that is in no table."""
    question = g.choice((_CAPITAL, _CAPITAL, _CAPITAL, _CONTINENT, _LANGUAGE, _CURRENCY, _SYMBOL, _ATOMIC, _KIND, _OPPOSITE))
    return _cased(g, g.ask(question, c=thing, C=thing, name=thing, an=thing, x=thing))


def _cased(g, text):
    """People who type in lower case do so with names too."""
    return text.lower() if g.lower and g.chance(0.6) else text


def sample(g):
    if g.chance(0.08):
        return _compound(g)
    row, question = draw(g)
    slots = row[2]
    if row[0] in _SHORT_GROUPS and g.chance(0.08):
        text = _cased(g, g.ask(question + g.expand(_SHORT), **slots))
        return Sample("facts", [user(text), assistant(row[4])], check={"kind": "equals", "text": row[4]})
    text = _cased(g, g.ask(g.choice(_PRE) + question + g.choice(_POST), **slots))
    return Sample("facts", [user(text), assistant(g.say(g.choice(row[3]), **slots))], check={"kind": "contains", "text": row[4]})


def statement(g):
    """A fact as a plain sentence."""
    row = g.choice(ROWS)
    return g.say(g.choice(row[3]), **row[2])


COUNTRY_NAMES = [c[0] for c in COUNTRIES]
