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
             ["[What is|What's|Do you remember|Do you know|Can you tell me|Tell me|Remind me of] my name?", "Who am I?", "What am I called?",
              "[Do you remember|Do you still know] what I'm called?", "Which name did I tell you?"],
             ["Your name is {v}."]),
    "age": (lambda g: str(g.randint(5, 99)), ["I am {v} years old.", "I'm {v} years old.", "My age is {v}.", "I just turned {v}.", "I'm {v}."],
            ["Got it, you are {v} years old.", "{v} is a fine age."],
            ["How old am I?", "What is my age?", "What's my age?", "Do you remember how old I am?"], ["You are {v} years old."]),
    "favourite colour": (lambda g: g.choice(words.COLOURS),
                         ["My [favourite colour|favorite color] is {v}.", "I [like|love] the colour {v} most.", "{v} is my [favourite colour|favorite color].",
                          "The colour I like best is {v}."],
                         ["{v} is a lovely colour.", "Noted: your favourite colour is {v}."],
                         ["[What is|What's|Do you remember|Tell me] my [favourite colour|favorite color]?", "Which colour do I like [best|most]?",
                          "What colour did I say I like?"], ["Your favourite colour is {v}."]),
    "favourite number": (_number, ["My [favourite|favorite|lucky] number is {v}.", "{v} is my [lucky|favourite|favorite] number."],
                         ["Okay, I will remember the number {v}.", "{v}, noted."],
                         ["[What is|What's|Do you remember|Tell me] my [favourite|favorite|lucky] number?", "Which number is my [favourite|lucky number|favorite]?"],
                         ["Your favourite number is {v}."]),
    "number": (_number, ["Remember the number {v}.", "Please remember [this number: |the number ]{v}.", "Keep the number {v} in mind.", "The number is {v}, [remember it|don't forget it]."],
               ["Okay, I will remember {v}.", "I will keep {v} in mind."],
               ["[What was|What is|Which was] the number[ I told you| I asked you to remember|]?", "Which number did I [tell you|ask you to remember]?",
                "What number should you remember?", "Do you remember the number?"], ["The number is {v}."]),
    "code word": (_word, ["[The|My|Our] [code word|secret word|password|codeword|magic word] is {v}.", "Remember the [word|code word|secret word] {v}.",
                          "Please remember this word: {v}", "Please remember the [secret |code |]word \"{v}\"."],
                  ["Understood, the word is {v}.", "I will remember the word {v}."],
                  ["[What is|What was|What's|Tell me|Do you remember] the [code word|secret word|password|word]?", "Which word did I [tell you|ask you to remember]?",
                   "What is the word I told you?"], ["The word is {v}."]),
    "city": (words.city, ["I live in {v}.", "I'm living in {v}.", "My home is in {v}.", "I am from {v}.", "I come from {v}.", "My city is {v}."],
             ["{v} sounds like a nice place.", "Good to know that you live in {v}."],
             ["Where do I live?", "[What is|Which is] my city?", "[Which|What] city [do I live in|am I from|do I come from]?", "Where am I from?",
              "Do you remember where I live?"], ["You live in {v}."]),
    "job": (lambda g: g.choice(words.JOBS), ["I work as {a}.", "I am {a}.", "I'm {a}.", "My job is {v}.", "I am {a} by profession."],
            ["Being {a} must be interesting.", "Good to know that you are {a}."],
            ["What is my job?", "What do I do [for a living|for work]?", "What's my [profession|job]?", "What do I work as?"], ["You are {a}."]),
    "pet": (words.name_like, ["My {pet} is called {v}.", "I have a {pet} named {v}.", "My {pet}'s name is {v}.", "I've got a {pet} called {v}."],
            ["{v} is a great name for a {pet}.", "Say hello to {v} from me."],
            ["What is my {pet} called?", "What is my {pet}'s name?", "What's the name of my {pet}?", "Do you remember my {pet}'s name?"],
            ["Your {pet} is called {v}."]),
    "relative": (words.name_like, ["My {rel} is called {v}.", "My {rel}'s name is {v}.", "I have a {rel} called {v}.", "{v} is my {rel}."],
                 ["Good to know that your {rel} is called {v}.", "{v} is a nice name."],
                 ["What is my {rel} called?", "What is my {rel}'s name?", "What's the name of my {rel}?", "Who is my {rel}?"],
                 ["Your {rel} is called {v}."]),
    "food": (lambda g: g.choice(words.FOODS), ["My [favourite|favorite] food is {v}.", "I [love|like] to eat {v}.", "The food I like most is {v}.", "I love {v}."],
             ["{v} is delicious.", "I have heard that {v} is very good."],
             ["What is my [favourite|favorite] food?", "What do I like to eat?", "Which food do I like [most|best]?"], ["Your favourite food is {v}."]),
    "animal": (lambda g: g.choice(words.ANIMALS), ["My [favourite|favorite] animal is the {v}.", "The animal I like most is the {v}."],
               ["The {v} is a fine animal.", "A good choice, the {v}."],
               ["What is my [favourite|favorite] animal?", "Which animal do I like [most|best]?"], ["Your favourite animal is the {v}."]),
    "meeting": (words.clock, ["My [meeting|appointment] is at {v}.", "I have [a meeting|an appointment] at {v}.", "The [meeting|appointment] starts at {v}."],
                ["Okay, {v} it is.", "I will keep in mind that it is at {v}."],
                ["When is my [meeting|appointment]?", "What time is the [meeting|appointment]?", "At what time is my [meeting|appointment]?"],
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
_RECALL_PRE = ["", "", "", "", "So, ", "Now tell me: ", "By the way, ", "Quick check: ", "One more thing: ", "Back to me: ", "Okay. ", "Ok, ", "Thanks. "]


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
    text = " ".join(t if t[-1] in ".!?" else t + g.choice((".", ",")) for t in told)
    text += g.choice(("", "", "", " Please remember that.", " Remember it.", " Remember this!"))
    return [user(text), assistant(facts[0].confirm(g) if len(facts) == 1 else g.choice(_OK))]


def sample(g, filler=None):
    """filler() gives the messages of some other talk that comes between telling and asking."""
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
    if len(facts) > 1 and g.chance(0.15):
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


def _everything(g, facts):
    ask = g.ask(["What do you know about me?", "[List|Tell me] everything [I told you|you know about me].", "What have I told you[ so far|]?",
                 "Summarise what I told you."])
    parts = [f.answer(g).rstrip(".") for f in facts]
    return [user(ask), assistant(join_and([p if i == 0 else p[0].lower() + p[1:] for i, p in enumerate(parts)]) + ".")]
