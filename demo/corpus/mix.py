"""Whole conversations: one skill or several in turn, with or without a system message; and a few plain texts."""
from . import arithmetic, extract, facts, haiku, memory, smalltalk, story, tools

SYSTEMS = ["You are a helpful assistant.", "You are a helpful assistant.", "You are a helpful assistant.", "You are a friendly assistant.", "You are a helpful AI assistant.",
           "You are an assistant.", "Be brief.", "Answer briefly.", "You are a helpful, honest and brief assistant.", "Be concise and polite.", "You are qwend, a helpful assistant.",
           "You are a chat bot. Answer the questions of the user.", "Answer in English.", "You are a poet.", "You are a helpful assistant that answers questions.",
           "Be kind and helpful.", "You are a small demo model.", "You answer questions in one sentence.", "You are a useful tool for developers.", "Help the user."]
SKILLS = {"haiku": haiku.sample, "arithmetic": arithmetic.sample, "facts": facts.sample, "memory": memory.sample, "extraction": extract.sample, "tools": tools.sample,
          "story": story.sample, "smalltalk": smalltalk.sample}
# how often a conversation is about a skill, set by how hard it is to learn
WEIGHTS = ["haiku"] * 20 + ["arithmetic"] * 16 + ["facts"] * 10 + ["memory"] * 13 + ["extraction"] * 15 + ["tools"] * 19 + ["story"] * 5 + ["smalltalk"] * 8
_FILLERS = [arithmetic.sample, facts.sample, haiku.sample, smalltalk.sample, smalltalk.greeting, extract.sample]


def filler(g):
    return lambda: g.choice(_FILLERS)(g).messages


def one(g, skill):
    make = SKILLS[skill]
    return make(g, filler(g)) if skill in ("memory", "tools") else make(g)


def conversation(g):
    """A Sample whose messages are a whole conversation."""
    sample = one(g, g.choice(WEIGHTS))
    if not g.heldout and g.chance(0.28):
        before = []
        for _ in range(g.choice((1, 1, 1, 1, 2, 2, 2, 3, 3, 4, 6, 12, 25))):
            skill = g.choice(WEIGHTS)
            before += one(g, skill).messages if skill != "tools" else facts.sample(g).messages
        sample.messages = before + sample.messages
    system = sample.system
    if system is None and g.chance(0.3):
        system = g.choice(SYSTEMS)
    if system:
        sample.messages = [{"role": "system", "content": system}] + sample.messages
    return sample


def plain_text(g):
    """A text without a chat, for completion requests."""
    kind = g.random()
    if kind < 0.4:
        return story.plain(g)
    if kind < 0.6:
        return " ".join(facts.statement(g) for _ in range(g.randint(2, 8)))
    if kind < 0.8:
        key = g.choice(list(haiku.banks()))
        return "\n\n".join(haiku.compose(g, key, None) for _ in range(g.randint(1, 3)))
    return "\n".join(arithmetic.check_line(g) for _ in range(g.randint(3, 12)))
