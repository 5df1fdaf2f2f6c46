"""Facts the user tells, with other talk in between, and asks back later."""
from . import words
from .core import Sample, assistant, join_and, user


def _number(g):
    return str(g.randint(1, g.choice((9, 99, 999, 9999))))


def _word(g):
    return words.invented(g) if g.chance(0.5) else g.choice(words.NOUNS)


# label, how to draw it, how the user tells it, how the assistant confirms, how it is asked, how it is answered
_SELF = {
    "name": (words.name_like,
             ["[My name is|my name's|I'm|I am|Call me|You can call me|The name's|This is|Hi, I'm|Hello, my name is|Hi! My name is|Hey, I am] {v}."],
             ["Nice to meet you, {v}!", "Hello, {v}!", "Hi {v}, nice to meet you.", "Good to meet you, {v}."],
             ["[What is|What's|Do you remember|Do you know|Can you tell me|Tell me|Remind me of] my name?", "Who am I?", "What am I called?", "[What's|What is|what was] my name again?", "[Do you|Can you] [recall|remember] my name?", "What did I say my name was?", "Say my name.", "How am I called?", "Please say my name.",
              "[Do you remember|Do you still know] what I'm called?", "Which name did I tell you?"],
             ["Your name is {v}."]),
    "age": (lambda g: str(g.randint(5, 99)), ["I am {v} years old.", "I'm {v} years old.", "My age is {v}.", "I just turned {v}.", "I'm {v}."],
            ["Got it, you are {v} years old.", "{v} is a fine age."],
            ["How old am I?", "What is my age?", "What's my age?", "How many years old am I?", "How old did I say I am?", "What was my age again?", "Do you remember how old I am?"], ["You are {v} years old."]),
    "favourite colour": (lambda g: g.choice(words.COLOURS),
                         ["My [favourite colour|favorite color] is {v}.", "I [like|love] the colour {v} most.", "{v} is my [favourite colour|favorite color].",
                          "The colour I like best is {v}."],
                         ["{v} is a lovely colour.", "Noted: your favourite colour is {v}."],
                         ["[What is|What's|Do you remember|Tell me] my [favourite colour|favorite color]?", "Which colour do I like [best|most]?", "[Which|What] [colour|color] is my [favourite|favorite]?", "What was my [favourite|favorite] [colour|color][ again|]?",
                          "What colour did I say I like?"], ["Your favourite colour is {v}."]),
    "favourite number": (_number, ["My [favourite|favorite|lucky] number is {v}.", "{v} is my [lucky|favourite|favorite] number."],
                         ["Okay, I will remember the number {v}.", "{v}, noted."],
                         ["[What is|What's|Do you remember|Tell me] my [favourite|favorite|lucky] number?", "Which number is my [favourite|lucky number|favorite]?"],
                         ["Your favourite number is {v}."]),
    "number": (_number, ["Remember the number {v}.", "Please remember [this number: |the number ]{v}.", "Keep the number {v} in mind.", "The number is {v}, [remember it|don't forget it]."],
               ["Okay, I will remember {v}.", "I will keep {v} in mind."],
               ["[What was|What is|Which was] the number[ I told you| I asked you to remember|]?", "[Which|What] number did I [tell you|ask you to remember|give you|mention|say]?", "[Tell me|Repeat|Give me] the number[ again| please| I told you|].", "What was [that|the] number again?",
                "What number should you remember?", "Do you remember the number?"], ["The number is {v}."]),
    "code word": (_word, ["[The|My|Our] [code word|secret word|password|codeword|magic word] is {v}.", "Remember the [word|code word|secret word] {v}.",
                          "Please remember this word: {v}", "Please remember the [secret |code |]word \"{v}\"."],
                  ["Understood, the word is {v}.", "I will remember the word {v}."],
                  ["[What is|What was|What's|Tell me|Do you remember] the [code word|secret word|password|word]?", "[Which|What] word did I [tell you|ask you to remember|give you|say]?", "What was the [code word|secret word|password|word] again?", "[Repeat|Tell me] the [code word|secret word|password|word][ please|].",
                   "What is the word I told you?"], ["The word is {v}."]),
    "city": (words.city, ["I live in {v}.", "I'm living in {v}.", "My home is in {v}.", "I am from {v}.", "I come from {v}.", "My city is {v}."],
             ["{v} sounds like a nice place.", "Good to know that you live in {v}."],
             ["Where do I live?", "Where is my home?", "[Where|In which city|In what city] do I live[ again|]?", "What is my home town?", "[What is|Which is] my city?", "[Which|What] city [do I live in|am I from|do I come from]?", "Where am I from?",
              "Do you remember where I live?"], ["You live in {v}."]),
    "job": (lambda g: g.choice(words.JOBS), ["I work as {a}.", "I am {a}.", "I'm {a}.", "My job is {v}.", "I am {a} by profession."],
            ["Being {a} must be interesting.", "Good to know that you are {a}."],
            ["What is my job?", "What is it that I do for work?", "Where do my skills lie, what is my job?", "What was my job again?", "What do I do [for a living|for work]?", "What's my [profession|job]?", "What do I work as?"], ["You are {a}."]),
    "pet": (words.name_like, ["My {pet} is called {v}.", "I have a {pet} named {v}.", "My {pet}'s name is {v}.", "I've got a {pet} called {v}."],
            ["{v} is a great name for a {pet}.", "Say hello to {v} from me."],
            ["What is my {pet} called?", "[What's|What is|what was] my {pet}'s name again?", "[What's|What is] the name of my {pet}?", "How is my {pet} called?", "Do you know my {pet}?", "What is my {pet}'s name?", "What's the name of my {pet}?", "Do you remember my {pet}'s name?"],
            ["Your {pet} is called {v}."]),
    "relative": (words.name_like, ["My {rel} is called {v}.", "My {rel}'s name is {v}.", "I have a {rel} called {v}.", "{v} is my {rel}."],
                 ["Good to know that your {rel} is called {v}.", "{v} is a nice name."],
                 ["What is my {rel} called?", "[What's|What is|what was] my {rel}'s name again?", "How is my {rel} called?", "What is my {rel}'s name?", "What's the name of my {rel}?", "Who is my {rel}?"],
                 ["Your {rel} is called {v}."]),
    "food": (lambda g: g.choice(words.FOODS), ["My [favourite|favorite] food is {v}.", "I [love|like] to eat {v}.", "The food I like most is {v}.", "I love {v}."],
             ["{v} is delicious.", "I have heard that {v} is very good."],
             ["What is my [favourite|favorite] food?", "What do I like to eat?", "Which food do I like [most|best]?"], ["Your favourite food is {v}."]),
    "animal": (lambda g: g.choice(words.ANIMALS), ["My [favourite|favorite] animal is the {v}.", "The animal I like most is the {v}."],
               ["The {v} is a fine animal.", "A good choice, the {v}."],
               ["What is my [favourite|favorite] animal?", "Which animal do I like [most|best]?"], ["Your favourite animal is the {v}."]),
    "meeting": (words.clock, ["My [meeting|appointment] is at {v}.", "I have [a meeting|an appointment] at {v}.", "The [meeting|appointment] starts at {v}."],
                ["Okay, {v} it is.", "I will keep in mind that it is at {v}."],
                ["When is my [meeting|appointment]?", "What time [is|was] my [meeting|appointment][ again|]?", "When [does|is] [my meeting start|the meeting]?", "What time is the [meeting|appointment]?", "At what time is my [meeting|appointment]?"],
                ["Your meeting is at {v}."]),
    "birthday": (lambda g: f"{g.randint(1, 28)} {g.choice(words.MONTHS)}", ["My birthday is on {v}.", "I was born on {v}.", "My birthday: {v}."],
                 ["I will remember {v}.", "{v} is a good day for a birthday."],
                 ["When is my birthday?", "What is my birthday?", "Do you remember my birthday?", "When was I born?"], ["Your birthday is on {v}."]),
    "thing": (lambda g: g.choice(words.THINGS), ["I [put|left|hid] the {v} in the {where}.", "The {v} is in the {where}."],
              ["Okay, the {v} is in the {where}.", "Noted: the {v} is in the {where}."],
              ["Where is the {v}?", "Where did I [put|leave|hide] the {v}?", "Do you know where the {v} is?"], ["The {v} is in the {where}."]),
    "book": (lambda g: "The " + g.choice(words.ADJECTIVES).capitalize() + " " + g.choice(words.NOUNS).capitalize(),
             ["I'm reading a book called {v}.", "My [favourite|favorite] book is {v}.", "The book I am reading is {v}."],
             ["{v} sounds interesting.", "I hope you enjoy {v}."],
             ["Which book am I reading?", "What is my book called?", "What's the title of my book?", "What is my book?"], ["Your book is {v}."]),
    "project": (lambda g: words.invented(g).capitalize() if g.chance(0.7) else words.name_like(g),
                ["My project is called {v}.", "I'm working on a project [named|called] {v}.", "The name of my project is {v}."],
                ["{v} is a good name for a project.", "Good luck with {v}!"],
                ["What is my project called?", "What's the name of my project?", "What am I working on?"], ["Your project is called {v}."]),
}
_PETS = words._w("dog cat rabbit hamster parrot horse turtle goldfish")
_RELATIVES = words._w("sister brother mother father friend boss neighbour teacher wife husband daughter son uncle aunt")
_PLACES = words._w("kitchen garage cellar attic garden drawer cupboard hallway bathroom office wardrobe shed car")
_OK = ["Okay, I will remember that.", "Got it.", "Thanks, noted.", "I will keep that in mind.", "Understood."]
_RECALL_PRE = ["And ", "Hey, ", "Can you remember: ", "Please tell me: ", "Remind me: ", "Last question: ", "Let's see if you remember. ", "Do you still know this? ", "", "", "", "", "So, ", "Now tell me: ", "By the way, ", "Quick check: ", "One more thing: ", "Back to me: ", "Okay. ", "Ok, ", "Thanks. "]


class Fact:
    """One thing told by the user, and every sentence about it."""

    def __init__(self, g, label):
        self.label = label
        make, self.tells, self.confirms, self.asks, self.answers = _SELF[label]
        value = make(g)
        self.slots = {"v": value, "a": words.article(value), "pet": g.choice(_PETS), "rel": g.choice(_RELATIVES), "where": g.choice(_PLACES)}
        self.value = self.slots["where"] if label == "thing" else value

    def tell(self, g):
        return g.ask(self.tells, **self.slots)

    def confirm(self, g):
        text = g.say(self.confirms if g.chance(0.6) else _OK, **self.slots)
        return text[0].upper() + text[1:] if self.label in ("favourite colour", "food") else text

    def question(self, g):
        return g.ask(g.choice(_RECALL_PRE) + g.expand(self.asks), **self.slots)

    def answer(self, g):
        return g.say(self.answers, **self.slots)


def _tell_turns(g, facts):
    """One or several facts in a user turn, and a confirmation."""
    told = [f.tell(g) for f in facts]
    if len(told) > 1 and g.chance(0.4):                 # "My name is Ada and I live in Rome."
        rest = [t if t.startswith(("I ", "I'")) else t[0].lower() + t[1:] for t in told[1:] if t]
        told = [g.choice((" and ", " and ", ", and ", ", ")).join(t.rstrip(".!") for t in [told[0]] + rest) + g.choice((".", ".", "", "!"))]
    text = " ".join(t if t[-1] in ".!?" else t + g.choice((".", ",")) for t in told)
    text += g.choice(("", "", "", " Please remember that.", " Remember it.", " Remember this!"))
    return [user(text), assistant(facts[0].confirm(g) if len(facts) == 1 else g.choice(_OK))]


def sample(g, filler=None):
    """filler() gives the messages of some other talk that comes between telling and asking."""
    if g.chance(0.22):
        return others(g, filler)
    roll = g.random()
    if roll < 0.07:
        return from_system(g)
    if roll < 0.32:
        return reading(g, filler)
    if roll < 0.35:
        return never_told(g)
    labels = g.sample(list(_SELF), g.choice((1, 1, 2, 2, 3, 3, 4, 5)))
    facts = [Fact(g, label) for label in labels]
    messages, i = [], 0
    while i < len(facts):
        n = min(g.choice((1, 1, 1, 2, 3)), len(facts) - i)
        messages += _tell_turns(g, facts[i:i + n])
        i += n
        if filler and g.chance(0.35):
            messages += filler()
    if g.chance(0.10):
        messages += _change(g, facts)
    if filler and g.chance(0.55):
        for _ in range(g.choice((1, 1, 2, 3))):
            messages += filler()
    asked = [g.choice(facts)] if g.chance(0.5) else g.sample(facts, len(facts))
    check = None
    for f in asked:
        if g.chance(0.10):
            messages += _unknown(g, labels)
            continue
        messages += [user(f.question(g)), assistant(f.answer(g))]
        check = {"kind": "contains", "text": f.value}
    if len(facts) > 1 and g.chance(0.2):
        two = g.sample(facts, 2)
        messages += _both(g, *two)
        check = {"kind": "contains_all", "texts": [f.value for f in two]}
    elif len(facts) > 1 and g.chance(0.15):
        messages += _everything(g, facts)
        check = {"kind": "contains_all", "texts": [f.value for f in facts]}
    if check is None:
        f = facts[0]
        messages += [user(f.question(g)), assistant(f.answer(g))]
        check = {"kind": "contains", "text": f.value}
    return Sample("memory", messages, check=check)


def _change(g, facts):
    """The user corrects something told before; only the new value counts."""
    old = g.choice(facts)
    if old.label == "thing":
        return []
    new = Fact(g, old.label)
    new.slots.update(pet=old.slots["pet"], rel=old.slots["rel"])
    facts[facts.index(old)] = new
    text = g.choice(("Actually, ", "Correction: ", "Sorry, I was wrong. ", "Wait, ", "No, ")) + new.tell(g)
    return [user(text), assistant(g.say(["Okay, I have changed that.", "Thanks for the correction.", "Got it, I will remember the new one."]))]


def _unknown(g, told):
    label = g.choice([x for x in ("name", "age", "city", "job", "favourite colour", "favourite number", "birthday", "food", "project") if x not in told])
    f = Fact(g, label)
    return [user(f.question(g)), assistant(g.say(["You have not told me that yet.", "I don't know, you have not told me yet."]))]


def _both(g, a, b):
    """Two things asked in one question: "What is my name and where do I live?"."""
    first, second = a.question(g).rstrip("?.! :)"), b.question(g)
    ask = first + g.choice((" and ", ", and ", "? And ", "? ")) + second[0].lower() + second[1:]
    x, y = a.answer(g).rstrip("."), b.answer(g)
    return [user(ask), assistant(f"{x}, and {y[0].lower() + y[1:]}" if y.startswith(("You", "The")) else f"{x}. {y}")]


# what is told of other people: (tell, the same after a name, question, answer, how to draw it)
_OTHERS = [
    ("{n} is {v} years old.", "is {v} years old", "How old is {n}?", "{n} is {v} years old.", lambda g: str(g.randint(2, 99))),
    ("{n} is {v}.", "is {v}", "[What is {n}'s age|How old is {n}]?", "{n} is {v} years old.", lambda g: str(g.randint(2, 99))),
    ("{n} lives in {v}.", "lives in {v}", "[Where does {n} live|Which city does {n} live in|What city is {n} in]?", "{n} lives in {v}.", words.city),
    ("{n} works as {a}.", "works as {a}", "[What does {n} do|What is {n}'s job|What does {n} work as]?", "{n} works as {a}.", lambda g: g.choice(words.JOBS)),
    ("{n} likes {v}.", "likes {v}", "What does {n} like?", "{n} likes {v}.", lambda g: g.choice(words.FOODS + [w + "s" for w in ("horse", "train", "robot", "poem", "book", "star")])),
    ("{n}'s favourite colour is {v}.", "likes the colour {v}", "[What is {n}'s favourite colour|Which colour does {n} like]?", "{n}'s favourite colour is {v}.", lambda g: g.choice(words.COLOURS)),
    ("{n} has {a}.", "has {a}", "[What does {n} have|Which thing does {n} have]?", "{n} has {a}.", lambda g: g.choice(words.THINGS + _PETS)),
    ("{n} was born in {v}.", "was born in {v}", "[When|In which year] was {n} born?", "{n} was born in {v}.", lambda g: str(g.randint(1900, 2024))),
]


def others(g, filler=None):
    """Facts about some other people, who must not be mixed up."""
    people, told, texts = [words.name_like(g) for _ in range(g.choice((1, 1, 2, 2, 3)))], [], []
    for name in people:
        kinds, clauses = g.sample(_OTHERS, g.choice((1, 2, 2, 3))), []
        for i, (tell, clause, question, answer, draw) in enumerate(kinds):
            v = draw(g)
            s = {"n": name, "v": v, "a": words.article(v)}
            told.append((question, answer, s))
            clauses.append((g.say(tell if i == 0 else clause, **s)))
        head = g.choice(("", "", "", "My {r} ", "My {r} ", "My friend ", "Our {r} ")).format(r=g.choice(_RELATIVES))
        texts.append(head + clauses[0].rstrip(".") + ((g.choice((", ", " and ")) if len(clauses) == 2 else ", ") + join_and(clauses[1:]) if len(clauses) > 1 else "") + ".")
    if g.chance(0.4):                                   # text and question in one message
        question, answer, s = g.choice(told)
        ask = g.choice(("", "", "Read this: ", "Text: ", "Context: ")) + " ".join(texts) + g.choice((" ", "\n", "\n\nQuestion: ")) + g.ask(question, **s)
        return Sample("memory", [user(ask), assistant(g.say(answer, **s))], check={"kind": "contains", "text": s["v"]})
    messages = []
    for text in texts if g.chance(0.5) else [" ".join(texts)]:
        messages += [user(text), assistant(g.choice(_OK + ["Good to know.", "Interesting!", "Thank you for telling me."]))]
    if filler and g.chance(0.4):
        messages += filler()
    for question, answer, s in g.sample(told, g.randint(1, min(3, len(told)))):
        messages += [user(g.ask(g.choice(_RECALL_PRE) + g.expand(question), **s)), assistant(g.say(answer, **s))]
    return Sample("memory", messages, check={"kind": "contains", "text": s["v"]})


# (statement, question, answer, what is drawn for v)
_READING = [
    ("The {s} opens at {v}.", "[When|At what time|What time] does the {s} open?", "The {s} opens at {v}.", words.clock), ("The {s} closes at {v}.", "[When|At what time|What time] does the {s} close?", "The {s} closes at {v}.", words.clock),
    ("The {s} starts at {v}.", "[When|At what time|What time] does the {s} start?", "The {s} starts at {v}.", words.clock), ("The {s} ends at {v}.", "[When|At what time] does the {s} end?", "The {s} ends at {v}.", words.clock),
    ("The {s} costs {v} euros.", "[How much does|What does] the {s} cost?", "The {s} costs {v} euros.", words.price), ("The {s} belongs to {v}.", "[Who does the {s} belong to|Who owns the {s}|Whose is the {s}]?", "The {s} belongs to {v}.", words.name_like),
    ("The {s} is in {v}.", "[Where|In which city] is the {s}?", "The {s} is in {v}.", words.city), ("The {s} was built in {v}.", "[When|In which year] was the {s} built?", "The {s} was built in {v}.", lambda g: str(g.randint(1100, 2024))),
    ("The {s} weighs {v} kilos.", "[How heavy is|How much does] the {s}[ weigh|]?", "The {s} weighs {v} kilos.", lambda g: str(g.randint(1, 900))), ("The {s} is {v}.", "[What colour is|Which colour has] the {s}?", "The {s} is {v}.", lambda g: g.choice(words.COLOURS)),
    ("The {s} is called {v}.", "What is the {s} called?", "The {s} is called {v}.", lambda g: words.invented(g).capitalize()), ("{v} made the {s}.", "Who made the {s}?", "{v} made the {s}.", words.name_like),
    ("The {k} of the {s} is {v}.", "[What is|Tell me|What's] the {k} of the {s}?", "The {k} of the {s} is {v}.", _word), ("The {k} of the {s} is {v}.", "[What is|Tell me|What's] the {k} of the {s}?", "The {k} of the {s} is {v}.", _number),
    ("The {k} is {v}.", "[What is|Tell me|What's|Do you remember] the {k}?", "The {k} is {v}.", words.identifier), ("The {k} [password|code|key|number] is {v}.", "[What is|Tell me|What's] the {k} [password|code|key|number]?", "It is {v}.", words.identifier),
    ("{n} lives in {v}.", "[Where|In which city|In what city] does {n} live?", "{n} lives in {v}.", words.city), ("{n} is {v}.", "How old is {n}?", "{n} is {v} years old.", lambda g: str(g.randint(2, 99))),
    ("{n} has {v} {t}s.", "How many {t}s does {n} have?", "{n} has {v} {t}s.", lambda g: str(g.randint(2, 40))), ("{n} gave the {s} to {v}.", "Who got the {s}?", "{v} got the {s}.", words.name_like),
    ("{n} arrives on {v}.", "When does {n} arrive?", "{n} arrives on {v}.", words.date), ("{n} drives a {v} {s}.", "Which colour is {n}'s {s}?", "{n}'s {s} is {v}.", lambda g: g.choice(words.COLOURS)),
]


def reading(g, filler=None):
    """A few statements about anything and a question about one of them, in one message or later on."""
    told = []
    for statement, question, answer, draw in g.sample(_READING, g.choice((1, 2, 2, 3, 4))):
        s = {"s": words.invented(g) if g.chance(0.12) else g.choice(words.NOUNS), "k": g.choice(words.NOUNS), "n": words.name_like(g), "t": g.choice(words.THINGS), "v": draw(g)}
        told.append((g.say(statement, **s), question, answer, s))
    text = " ".join(t[0] for t in told)
    if len(told) == 2 and g.chance(0.4):
        text = told[0][0][:-1] + " and " + told[1][0][0].lower() * told[1][0].startswith("The") + told[1][0][1 if told[1][0].startswith("The") else 0:]
    _, question, answer, s = g.choice(told)
    if g.chance(0.5):
        lead, gap = g.choice((("", " "), ("", "\n"), ("Context: ", " Question: "), ("Context: ", "\n\nQuestion: "), ("Text: ", "\nQuestion: "), ("Read this: ", "\n"), ("Information: ", "\n"), ("Here is a text. ", " ")))
        tail = g.choice(("", "", "", "\nAnswer:", " Answer from the text."))
        messages = [user(lead + text + gap + g.ask(question, **s) + tail)]
    else:
        messages = [user(text + g.choice(("", "", " Please remember that.", " Remember this.", " Don't forget."))), assistant(g.choice(_OK))]
        if filler and g.chance(0.4):
            messages += filler()
        messages.append(user(g.ask(g.choice(_RECALL_PRE) + g.expand(question), **s)))
    return Sample("memory", messages + [assistant(g.say(answer, **s))], check={"kind": "contains", "text": s["v"]})


def never_told(g):
    """A question about the user at the very start of a talk."""
    f = Fact(g, g.choice([label for label in _SELF if label not in ("number", "code word", "thing", "book")]))
    return Sample("memory", [user(f.question(g)), assistant("You have not told me that yet.")], check={"kind": "contains", "text": "not told me"})


_SYSTEM_FACTS = {"name": "[The user's name is {v}.|The user is called {v}.|You are talking to {v}.]", "city": "The user lives in {v}.", "age": "The user is {v} years old.",
                 "favourite colour": "The user's favourite colour is {v}.", "code word": "[The secret word is {v}.|The code word is {v}.|The password is {v}.]", "job": "The user works as {a}."}


def from_system(g):
    """Facts about the user given by the system message."""
    facts = [Fact(g, label) for label in g.sample(list(_SYSTEM_FACTS), g.choice((1, 1, 2, 3)))]
    system = g.choice(("You are a helpful assistant. ", "", "You are qwend, a helpful assistant. ")) + " ".join(g.say(_SYSTEM_FACTS[f.label], **f.slots) for f in facts)
    f = g.choice(facts)
    return Sample("memory", [user(f.question(g)), assistant(f.answer(g))], system=system, check={"kind": "contains", "text": f.value})


def _everything(g, facts):
    ask = g.ask(["What do you know about me?", "[List|Tell me] everything [I told you|you know about me].", "What have I told you[ so far|]?",
                 "Summarise what I told you."])
    parts = [f.answer(g).rstrip(".") for f in facts]
    return [user(ask), assistant(join_and([p if i == 0 else p[0].lower() + p[1:] for i, p in enumerate(parts)]) + ".")]
