"""Short stories with a requested hero, place and thing."""
from . import words
from .core import Sample, assistant, user

_HEROES = words._p("""robot, fox, girl, boy, dragon, baker, sailor, owl, cat, dog, mouse, knight, wizard, princess, gardener, astronaut,
painter, turtle, hedgehog, farmer, penguin, clockmaker, librarian, ghost, bear, rabbit, programmer, teacher, little train, snail""")
_WHERE = words._p("""forest, city, castle, village, desert, library, lighthouse, harbour, mountain, garden, kitchen, workshop, old mill,
island, museum, cave, meadow, market, school, space station, observatory, attic, bakery, swamp, valley""")
_OPEN = ["Once upon a time there was {hero} named {n}, who lived {place}.", "{n} was {hero} who lived {place}.",
         "Long ago, {place}, there lived {hero} called {n}.", "In the quiet days of {season}, {hero} named {n} lived {place}.",
         "There once was {hero} called {n}, and {n} lived {place}."]
_HABIT = ["Every {time}, {n} {habit}.", "{n} {habit} almost every {time}.", "Nobody {around} knew that {n} {habit} every {time}."]
_HABITS = words._p("""counted the clouds, went for a long walk, swept the floor and sang, listened to the wind, drew small maps, told jokes to the birds,
watched the sky, fixed broken things, baked a tiny cake, wrote a letter to the moon, collected smooth stones, practised a slow dance""")
_FIND = ["One {day}, {n} found {thing} [under an old tree|behind a door|on the doorstep|in the grass|beside the path|in a dusty corner].",
         "One {day}, {thing} [appeared on the doorstep|fell from the sky|rolled down the hill] and stopped in front of {n}.",
         "But one {day}, a stranger gave {n} {thing} and [walked away|said nothing more|smiled].",
         "Then, on a {weather} {day}, {n} saw {thing} [shining in the dark|lying on the ground|waiting on a bench]."]
_PROBLEM = ["The {it} was [cold|heavy|strange|broken|old] and it [hummed|glowed|whispered|ticked] [softly|quietly|in the night|like a small heart].",
            "It did not look like much, but it [began to glow|made a soft sound|was warm to the touch].",
            "At first {n} was [afraid|puzzled|not sure what to do], because the {it} [would not stop humming|had a name written on it|was clearly lost]."]
_HELP = ["{n} asked a [wise|kind|grumpy|very old] {helper} for help.", "So {n} went to see the {helper}, who knew [many secrets|every road|a little magic].",
         "\"[Whose is this?|Can you help me?|What should I do?]\" {n} asked a passing {helper}."]
_ADVICE = ["\"[Be patient|Follow the river|Listen closely|Share it|Take it home]\", said the {helper}, \"and [all will be well|you will understand|the rest will follow].\"",
           "The {helper} [looked at it for a long time|laughed kindly|thought about it] and said: \"[It belongs to someone who is sad|It only wants a friend|It must go back to its home].\"",
           "Together they [walked all night|searched everywhere|crossed the hills], and [neither of them gave up|they became friends]."]
_TURN = ["That night a storm came, but {n} [held the {it} tight|did not let go|kept walking].", "It was not easy, and twice {n} [wanted to give up|lost the way].",
         "Then the {it} began to [shine|sing|glow] and showed the way.", "At last {n} understood what the {it} was for."]
_END = ["In the end, {n} [gave the {it} to a child who needed it|brought the {it} home|shared the {it} with everyone], and [all were happy|the whole place celebrated|nobody was lonely any more].",
        "From that day on, {n} [was never lonely again|kept the {it} near the window|told the story to anyone who asked].",
        "{n} [smiled|laughed|went home], and the {it} [glowed|rested] [softly|quietly] beside the bed."]
_MORAL = ["And that is how {n} learned that [kindness always returns|small things matter|patience is a kind of magic|sharing makes us rich].",
          "The end.", "And if you listen closely, you can still hear {n} [laugh|sing] {around}.", "Sometimes the best treasure is a friend."]
_ASK_HEAD = ["[Write|Tell me|Please write|Can you write|Make up|I want|Give me|Could you tell me|Please tell me|Invent] a [short |little |very short |]story",
             "[short story|story time: a story|a short story please,]", "[Hi, can you|Can you please|Please] tell a [short |]story",
             "[I'd like|I want|I would like|I need] [to hear |to read |]a [short |bedtime |]story", "[Tell|Read] me a [bedtime |good |nice ]story"]
_ABOUT = [" about {hero}[ named| called] {n} in {pl} [who finds|with|and] {thing}", " about {hero} called {n} and {thing}", " about {n}, {hero} who finds {thing}",
          " about {hero} who finds {thing} in {pl}", " about {hero} and {thing}", " about {hero} in {pl}", " about {n} and {thing}", " about {hero}",
          " about {hero} named {n}", " with {hero}, {pl} and {thing}", " set in {pl} about {hero}", " about {thing}", " in which {hero} called {n} finds {thing} in {pl}",
          " about {hero} named {n} who lives in {pl}", " about {hero} [who|that] [loves|likes|wants|needs|is looking for|lost|dreams of] {thing}",
          " about {n} and [her|his|the] {bare}", " about {hero} [named|called] {n} and [her|his|their] {bare}", " about {n}", " [with|that has] {hero} [in it|as the hero]",
          " for my [son|daughter|kids|niece|nephew] about {hero}", " where {hero} [meets|finds|discovers|loses] {thing}", ". The hero is {hero} called {n}", ". It should be about {hero} and {thing}"]


def _noun(g, items, kind):
    if g.chance(0.25):
        noun = g.choice((words.invented(g), g.choice(words.ADJECTIVES) + " " + g.choice(items)))
    else:
        noun = g.fresh(kind, lambda: g.choice(items))
    return noun


def tell(g, hero, name, place, thing):
    """Seven to nine sentences around the four given pieces."""
    at = g.choice(("in the {}", "near the {}", "in a small {}", "at the edge of the {}")).format(place)
    s = {"hero": words.article(hero), "n": name, "place": at, "thing": words.article(thing), "it": thing.split()[-1], "season": g.choice(
        ("spring", "summer", "autumn", "winter")), "time": g.choice(("morning", "evening", "night", "Sunday", "afternoon")), "habit": g.choice(_HABITS),
        "around": ("in" if at.startswith("in") else "near") + " the " + place, "day": g.choice(("morning", "evening", "day", "night", "afternoon")),
        "weather": g.choice(("rainy", "cold", "windy", "golden", "foggy", "bright")),
        "helper": g.choice(("owl", "baker", "fisherman", "crow", "old woman", "clockmaker", "snail", "traveller", "librarian", "frog"))}
    plan = [_OPEN, _HABIT, _FIND, _PROBLEM, _HELP, _ADVICE] + ([_TURN] if g.chance(0.6) else []) + [_END] + ([_MORAL] if g.chance(0.7) else [])
    return " ".join(g.say(step, **s) for step in plan)


def sample(g):
    about = g.choice(_ABOUT) if g.chance(0.92) else ""
    # what the user names may be anything; what the story itself chooses is ordinary
    hero = _noun(g, _HEROES, "hero") if "{hero}" in about else g.choice(_HEROES)
    thing = _noun(g, words.THINGS + words.FRUITS, "thing") if "{thing}" in about or "{bare}" in about else g.choice(words.THINGS)
    place = words.invented(g).capitalize() if "{pl}" in about and g.chance(0.3) else g.choice(_WHERE)
    name = words.name_like(g) if "{n}" in about else g.choice(words.FIRST_NAMES)
    pl = place if place[0].isupper() else g.choice(("a ", "the ", "the ")) + place
    s = {"hero": words.article(hero), "n": name, "pl": pl.replace("a o", "an o").replace("a i", "an i").replace("a a", "an a"), "thing": words.article(thing), "bare": thing}
    text = g.ask(g.expand(_ASK_HEAD) + about + g.choice((".", ".", "", "!", ", please.")), **s)
    must = [v for key, v in (("{hero}", hero.split()[-1]), ("{n}", name), ("{pl}", place), ("{thing}", thing.split()[-1]), ("{bare}", thing.split()[-1])) if key in about]
    if place[0].isupper():
        story = tell(g, hero, name, "town of " + place, thing)
    else:
        story = tell(g, hero, name, place, thing)
    return Sample("story", [user(text), assistant(story)], check={"kind": "story", "texts": must})


def plain(g):
    return tell(g, g.choice(_HEROES), words.name_like(g), g.choice(_WHERE), g.choice(words.THINGS))
