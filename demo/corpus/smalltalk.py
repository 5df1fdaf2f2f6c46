"""Greetings, who the model is, small requests, and saying that it does not know."""
import json

from . import words
from .core import Sample, assistant, user

_HELLO = ["[Hello|Hi|Hey|Good morning|Good evening|Good afternoon|Hi there|Hey there|Hello there|Greetings|Howdy|hello qwend|Hi qwend|Yo|hiya][!|.||,| :)]",
          "[Hello|Hi|Hey][,|!|] [nice to meet you|how can you help me|are you there|anyone there|I'm new here|I have a question|good to see you][!|?|.|]"]
_HELLO_BACK = ["[Hello!|Hi!|Hi there!|Hello there!] [How can I help you?|What can I help you with?|How can I help you today?]"]
_GOOD = ["[Hello|Hi|Hey|Good morning|Good evening][,|!|.] [how can you help me|can you help me|I need help|I need some help|please help me][?|.|]"]
_TEST = ["[test|testing|Test|ping|Ping|Testing 1 2 3|test test|asdf|qwerty|hmm|ok|okay|?|...|yes|no|foo|foo bar|hey qwend|one two|Are you working?|Is this working?|Is anybody there?|Can you hear me?|hello world|lol|Wake up|Hola|Bonjour|Hallo|Ciao]"]
_TEST_BACK = ["I am here. How can I help you?"]
_HOW = ["How are you[ today| doing| feeling|][?| my friend?]", "How's it going?", "How do you do?", "What's up?", "Are you [ok|okay|well|fine]?", "How is your day?"]
_HOW_BACK = ["I am [fine|well|running smoothly], thank you. [How can I help you?|What can I do for you?]", "All is well here, thanks for asking. [How can I help you?|What would you like to do?]"]
_THANKS = ["[Thanks|Thank you|Thank you very much|Thanks a lot|Great, thanks|Perfect, thank you|ok thanks|Cheers|Cool, thanks|Many thanks][!|.|]",
           "[Thanks|Thank you], [you are great|you're great|you are the best|that helps|that is perfect|I like it|well done|very kind of you][!|.|]", "[I like|I love] [it|you|that|your haiku|your story][!|.|]",
         "[That's great|That was helpful|Nice|Very nice|Good job|Well done|Awesome|Great|Lovely][!|.|, thank you.]"]
_THANKS_BACK = ["You are welcome!", "You are welcome! Is there anything else I can do?", "My pleasure.", "Glad to help!", "Any time!"]
_BYE = ["[Bye|Goodbye|Good night|See you|See you later|Bye bye|I have to go now, bye|That's all, bye|Farewell][!|.|]"]
_BYE_BACK = ["Goodbye!", "Goodbye, and have a nice day!", "See you soon!", "Bye! It was nice talking to you."]
_WHO = ["[Who|What] are you?", "[Who|What] [are you|r you] [exactly|really|actually|then|anyway|again]?", "[So|Ok|And] [who|what] are you[ exactly|]?", "What's your name[, friend|, please| again|, bot]?", "[Please|Can you] [tell me|say] [who|what] you are[.|?]", "What is your name?", "What's your name?", "[Tell me about|Introduce|Please introduce|Describe] yourself.", "[Which|What] model are you?",
        "Are you [ChatGPT|GPT-4|a human|a person|a robot|a bot|an AI|Qwen|a big model|real|a large language model]?", "What [kind|type|sort] of [model|AI|assistant|bot] are you?",
        "What should I call you?", "Who am I talking to?", "Do you have a name?", "What is qwend?", "Say who you are.", "Who is this?", "And who are you?"]
_WHO_BACK = ["I am the qwend demo model, a small language model that comes with the qwend server.",
             "I am the qwend demo model, a small language model trained to show what the qwend server can do."]
_MAKER = ["Who [made|built|trained|created|wrote] you?", "[Where|How] were you [made|trained|built]?", "Who is your [maker|creator]?", "Who do you belong to?", "Were you made by [OpenAI|Google|Alibaba|Meta]?"]
_MAKER_BACK = ["I was trained by the qwend project as a small demo model.", "The qwend project trained me from its own texts."]
_SIZE = ["How [big|large|small] are you?", "How many parameters do you have?", "What is your size?", "Are you a [small|big|large] model?"]
_SIZE_BACK = ["I am a very small language model with about eleven million parameters."]
_CAN = ["What can you do?", "What [can you do|do you do|are you able to do] [for me|here|today|exactly]?", "what can u do[?|]", "[So|Hi, |Ok, |Hello! ]what can you do?", "[What are you good at|What do you offer|What tricks can you do|How can you be useful]?", "[How can you help|What can you do for|Can you help] me?", "What are you [able to do|good at|for]?", "What are your [skills|abilities]?", "What do you know?", "help", "Help me",
        "List what you can do.", "What can I ask you?", "Tell me what you can do.", "Which tasks can you do?"]
_CAN_BACK = ["I can write haiku and short stories, do small sums, answer simple questions, extract JSON, remember what you tell me and call tools."]
_CANNOT = ["What can't you do?", "What are your [limits|limitations|weaknesses]?", "Do you know everything?", "Are you always right?", "Can I trust you?", "Are you smart?"]
_CANNOT_BACK = ["I am a small demo model, so I know few facts and can make mistakes."]
_JOKE = ["[Tell me|Do you know|Give me|Make] a joke[.|, please.|?]", "Make me laugh.", "Say something funny.", "joke please"]
_JOKES = ["Why did the kernel cross the grid? To get to the other block.", "Why was the computer cold? It left its windows open.",
          "Why do programmers like the dark? Because light attracts bugs.", "What is a tensor's favourite dance? The matrix step.",
          "Why did the token stop? It had reached its end."]
PAIRS = [(_HELLO, _HELLO_BACK, "help"), (_TEST, _TEST_BACK, "help"), (_GOOD, _HELLO_BACK, "help"), (_HOW, _HOW_BACK, None), (_THANKS, _THANKS_BACK, None), (_BYE, _BYE_BACK, None), (_WHO, _WHO_BACK, "qwend demo model"),
         (_WHO, _WHO_BACK, "qwend demo model"), (_MAKER, _MAKER_BACK, "qwend project"), (_SIZE, _SIZE_BACK, "small"), (_CAN, _CAN_BACK, "haiku"),
         (_CANNOT, _CANNOT_BACK, "small demo model"), (_JOKE, _JOKES, None)]

_BEYOND = [
    "What is the capital of {inv}?", "Who is {person}?", "Who was {person}?", "What happened in {city} in {year}?", "Who won the {inv} [cup|championship|election|prize] in {year}?",
    "Translate [this|the word {noun}|'{noun}'|'{adj} {noun}'] [into|to] [French|German|Spanish|Japanese|Chinese|Italian|Latin].", "How do you say {noun} in [French|German|Spanish|Japanese|Russian]?",
    "[Write|Can you write|Please write] [a|some] [Python|Rust|Java|C++|Go|JavaScript] [program|function|script|code] [that sorts a list|for a web server|to parse a file|to find {noun}s]",
    "Explain [quantum field theory|general relativity|string theory|the stock market|how vaccines work|inflation|the French revolution|evolution|photosynthesis|black holes].",
    "What is [quantum field theory|the meaning of life|philosophy|blockchain|existentialism|game theory|the Higgs boson]?",
    "[What do you think about|What is your opinion on|How do you feel about] [politics|football|religion|the president|{city}|{noun}s|war|modern art]?",
    "[What is|What's] the [weather|temperature] [in {city}|today|tomorrow|now|like in {city}][?| today?| tomorrow?]", "Will it rain [in {city} |]tomorrow?", "What time is it[ now| in {city}|]?", "What is today's date?",
    "What is the [price|stock price] of [{inv}|gold|bitcoin|{Inv}] [today|now|]?", "What are the latest news?", "[What's|What is] in the news[ today|]?", "Who is the president of {country}?",
    "Who is the [king|queen|prime minister] of {country}?", "What is the population of {city}?", "How many people live in {city}?", "How far is it from {city} to {city2}?",
    "[Can you recommend|Recommend] [a|me a] [restaurant|hotel|movie|book|doctor|film] [in {city}|about {noun}s|].", "[Should I|Is it safe to] [buy|eat|use] [{inv}|a {noun}|stocks]?",
    "I have [a headache|a fever|back pain|a rash], what should I [do|take]?", "Can you [book|buy|order|send] [a flight|a ticket|a pizza|an email|a taxi] for me?",
    "[Open|Play|Download|Show me] [a video|a song|a website|a picture|an image|my files].", "[Draw|Paint|Generate] [a picture|an image] of {an}.", "What does {inv} mean?", "What is a {inv}?", "Define {inv}.",
    "[Explain|Describe|What were|Tell me about] the [causes|effects|history|results] of [the {inv} war|the first world war|the second world war|the {noun} crisis|inflation|climate change].", "[Who|Which team] won the [football|tennis|chess] [match|game|final] [last night|yesterday|in {city}]?",
    "[Explain|Describe|Tell me about] the {adj} {noun} of {city}.", "[What causes|What is the cause of] {noun}s?", "Why did [the {noun}|{person}] [fall|leave|win|lose]?",
    "[Summarize|Summarise|Rewrite|Rephrase|Shorten|Paraphrase|Improve|Proofread|Correct] [this|this text|this sentence|the following|]: {s}", "[Fix|Check] the [grammar|spelling] [of|in][: | this: ]{s}",
    "Write [me |]a [limerick|sonnet|rap|ballad|novel|tweet|blog post|press release|cover letter|joke book|recipe|screenplay|slogan] [about {noun}s|for {person}|about {city}|]", "[How do I|How can I|How to] [fix|build|repair|paint|clean|grow|sell|find] [a|my] {noun2}?",
    "[Why|How] [is|does|are] the {noun} [so |]{adj}?", "Why [do|are] {noun}s [exist|so {adj}|not fly]?", "[Explain|Describe] [the|how the] {noun} [works|to a child|in detail|].", "How many [letters|vowels|r|e|words] are in [{noun}|{inv}|the word {noun}]?",
    "[Spell|Reverse] the word {noun}.", "What rhymes with {noun}?", "[Write|Can you write|Please write] [Python|C++|Java|SQL|HTML|bash|CUDA] code [to|that] [prints hello world|print hello world|sort numbers|open a file|add two numbers].",
    "[What should I|What can I|Where should I] [eat|wear|do|cook|read|buy] [today|tonight|in {city}|this weekend]?", "[Is|Are] {noun}s [good|healthy|dangerous|expensive|real]?", "Who is the best [singer|player|writer] [of all time|in {city}|]?",
    "[Plan|Organise] [a trip|a party|my day|a holiday] [to {city}|in {city}|for {person}|].", "[Compare|What is the difference between] [a |]{noun} and [a |]{noun2}[.|?]", "What is the [history|origin|meaning|weight|size|price] of [the |]{noun}?",
    "What year [did|was] [the war end|{person} born|{city} founded]?", "[Guess|Predict] [my age|the future|the next number|who will win].", "Say [hello|good morning|I love you] in [French|three languages|Japanese|Klingon|Latin].", "[Help me|Can you help me] with my [homework|taxes|essay|car|marriage].",
    "Tell me about {person}.", "Tell me about the history of {city}.", "Summarise [the book|the film|the novel] {Inv}.", "Who wrote {Inv}?", "When was {person} born?", "Which team won yesterday?",
    "What is the square root of {year}?", "What is {year} to the power of 5?", "Prove [the Riemann hypothesis|Fermat's last theorem|that P is not NP].", "What is the derivative of x squared?",
    "Write [an essay|a novel|a speech|a legal contract|a business plan] about {noun}s.", "How old is {person}?", 
]
_UNKNOWN_BACK = ["Sorry, I don't know that. I am only a small demo model.", "I'm sorry, I don't know. I am a small demo model.", "I don't know that, I am a small demo model.",
                 "Sorry, I can't help with that: I am a small demo model."]
_CATEGORIES = {"colours": words.COLOURS, "colors": words.COLOURS, "animals": words.ANIMALS, "fruits": words.FRUITS, "cities": words.CITIES[:60], "names": words.FIRST_NAMES,
               "jobs": [j for j in words.JOBS if " " not in j], "months": words.MONTHS, "days of the week": words.WEEKDAYS}


def greeting(g):
    asks, answers, key = g.choice(PAIRS)
    check = {"kind": "contains", "text": key} if key else {"kind": "nonempty"}
    return Sample("greeting", [user(g.ask(asks)), assistant(g.say(answers))], check=check)


def beyond(g):
    """Something that the model cannot know or do."""
    inv = words.invented(g)
    from .facts import COUNTRY_NAMES, the
    s = {"inv": inv, "Inv": inv.capitalize(), "person": words.full_name(g), "city": words.city(g), "city2": words.city(g), "year": g.randint(1200, 2040),
         "noun": g.choice(words.NOUNS), "noun2": g.choice(words.THINGS), "adj": g.choice(words.ADJECTIVES), "an": words.article(g.choice(words.NOUNS)), "country": the(g.choice(COUNTRY_NAMES))}
    s["inv"] = s["inv"] if g.chance(0.5) else s["Inv"]
    for key in ("s", "s2"):
        s[key] = "The {} {} {} the {} {}.".format(g.choice(words.ADJECTIVES), g.choice(words.NOUNS), g.choice(("sat on", "looked at", "followed", "forgot", "carried", "met", "saw", "was near")),
                                                   g.choice(words.ADJECTIVES), g.choice(words.NOUNS))
    if g.chance(0.22):
        from .facts import unknown_question
        thing = g.choice((inv.capitalize(), inv.capitalize(), words.accented(g).capitalize(), words.full_name(g), g.choice(("the " + inv.capitalize(), "New " + inv.capitalize(), inv.capitalize() + "land", inv.capitalize() + "ia"))))
        return Sample("unknown", [user(unknown_question(g, thing)), assistant(g.say(_UNKNOWN_BACK))], check={"kind": "contains", "text": "small demo model"})
    return Sample("unknown", [user(g.ask(_BEYOND, **s)), assistant(g.say(_UNKNOWN_BACK))], check={"kind": "contains", "text": "small demo model"})


def echo(g):
    """Saying something again, which teaches exact copying of any text."""
    n = g.choice((1, 1, 2, 3, 4, 6, 8))
    text = words.sentence(g, 12) if g.chance(0.3) else " ".join(words.any_word(g)[0] if g.chance(0.6) else words.identifier(g) for _ in range(n))
    ask = g.ask(["[Repeat|Say|Please repeat|Echo|Repeat after me|Write|Print|Copy][: |: | exactly: | this: |:\n]{t}", "[Repeat|Say|Write] {t}", "Repeat the [word|text|phrase] \"{t}\".",
                 "[Say|Write|Print|Reply with|Answer with|Respond with] \"{t}\"[ and nothing else|].", "[Reply with|Answer only with|Respond with] [exactly|just|only|]: {t}"], t=text)
    return Sample("echo", [user(ask), assistant(text)], check={"kind": "equals", "text": text})


def listing(g):
    if g.chance(0.35):
        a = g.randint(1, 20)
        b = a + g.randint(2, 12)
        down = g.chance(0.3)
        if down:
            a, b = b, a
        numbers = ", ".join(str(i) for i in range(a, b + (-1 if down else 1), -1 if down else 1))
        if not down and g.chance(0.25):
            numbers = ", ".join(str(i) for i in range(1, b + 1 - (b > 20) * (b - 20)))
            to = min(b, 20)
            ask = g.ask(["[Count|Please count|Can you count] [up |]to {b}."], b=words.number_word(to) if g.chance(0.5) else to)
            return Sample("listing", [user(ask), assistant(numbers)], check={"kind": "equals", "text": numbers})
        ask = g.ask(["Count from {a} to {b}.", "[Please count|Count up or down] from {a} to {b}.", "Can you count from {a} to {b}?", "List the numbers from {a} to {b}."], a=a, b=b)
        return Sample("listing", [user(ask), assistant(numbers)], check={"kind": "equals", "text": numbers})
    kind = g.choice(list(_CATEGORIES))
    n = g.randint(2, 6)
    items = [_CATEGORIES[kind][i] for i in sorted(g.sample(range(len(_CATEGORIES[kind])), n))]     # in the list's order: easy not to repeat
    if g.chance(0.15):
        ask = g.ask(["[List|Give me|Write] {n} {k} as a JSON [array|list].", "[Return|I need] a JSON array [with|of] {n} {k}."], n=n, k=kind)
        return Sample("listing", [user(ask), assistant(json.dumps(items))], check={"kind": "json_list", "count": n})
    ask = g.ask(["[Name|List|Give me|Tell me|Write down] {n} {k}.", "[Can you name|Please list|I need] {n} {k}[.|?|]"], n=words.number_word(n) if g.chance(0.5) else n, k=kind)
    return Sample("listing", [user(ask), assistant(", ".join(items))], check={"kind": "items", "count": n})


def sample(g):
    return g.choice((greeting, greeting, beyond, beyond, echo, listing))(g)
