"""Fields of a text as JSON, with the keys that the user names."""
import json
import re

from . import words
from .core import Sample, assistant, user


def _number(text):
    return float(text) if "." in text else int(text)


def _company(g):
    return words.invented(g).capitalize() + g.choice((" Ltd", " Inc", " GmbH", " Labs", " & Sons", "", ""))


def _product(g):
    thing = g.choice(words.THINGS)
    return g.choice((thing, thing, g.choice(words.COLOURS) + " " + thing, g.choice(words.ADJECTIVES) + " " + thing,
                     words.invented(g).capitalize() + " " + thing))


def _title(g):
    return g.choice(("The {} {}", "{} {}", "A {} {}")).format(g.choice(words.ADJECTIVES).capitalize(), g.choice(words.NOUNS).capitalize())


# field: (draw, keys a user may give it, whether JSON holds a number)
FIELDS = {
    "name": (lambda g: words.full_name(g) if g.chance(0.6) else words.name_like(g), "name name name full_name person customer person_name Name user who".split(), False),
    "age": (lambda g: str(g.randint(1, 99)), "age age age years Age age_years".split(), True),
    "city": (words.city, "city city city town location place City home_city".split(), False),
    "job": (lambda g: g.choice(words.JOBS), "job job occupation profession role Job work".split(), False),
    "email": (words.email, "email email e_mail mail contact email_address Email".split(), False),
    "phone": (words.phone, "phone phone telephone phone_number tel".split(), False),
    "company": (_company, "company company employer organization firm organisation".split(), False),
    "product": (_product, "product product item article product_name Item".split(), False),
    "price": (words.price, "price price cost amount total Price".split(), True),
    "quantity": (lambda g: str(g.randint(1, g.choice((9, 20, 500)))), "quantity quantity count qty number Quantity units".split(), True),
    "colour": (lambda g: g.choice(words.COLOURS), "colour color color Color".split(), False),
    "order": (words.identifier, "order order_id id order_number reference".split(), False),
    "event": (lambda g: g.choice(words.NOUNS) + " " + g.choice(("workshop", "concert", "meeting", "conference", "party", "festival", "lecture", "race")),
              "event event title event_name what".split(), False),
    "date": (words.date, "date date day when Date".split(), False),
    "time": (words.clock, "time time hour start start_time".split(), False),
    "place": (lambda g: g.choice(("the ", "the ")) + g.choice(words.ADJECTIVES) + " " + g.choice(words._w("hall library garden museum cafe school theatre station park")),
              "place venue where location".split(), False),
    "title": (_title, "title title book name book_title".split(), False),
    "author": (words.full_name, "author author writer written_by Author".split(), False),
    "year": (lambda g: str(g.randint(1500, 2030)), "year year published Year".split(), True),
    "animal": (lambda g: g.choice(words.ANIMALS), "animal species kind".split(), False),
    "country": (lambda g: g.choice(_countries()), "country country nation Country".split(), False),
}


def _countries():
    from .facts import COUNTRY_NAMES
    return COUNTRY_NAMES


# texts that mention fields; a text may hold more than the user asks for
TEXTS = [
    "{name} is {age} years old and lives in {city}.", "{name}, {age}, is a {job} from {city}.", "My name is {name}, I am {age} and I live in {city}.",
    "{name} lives in {city}. {name} is {age} years old.", "At the age of {age}, {name} moved to {city} to work as a {job}.",
    "{name} works as a {job} at {company} in {city}.", "Contact {name} at {email} or call {phone}.", "{name} ({email}) works for {company}.",
    "I am {name}, a {job} in {city}. Write to {email}.", "This is {name} from {company}. My number is {phone} and my email is {email}.",
    "Meet {name}, a {age}-year-old {job} who lives in {city}.", "The {job} {name} turned {age} on {date}.", "{name} was born in {city}, {country}, and is now {age}.",
    "{name} bought {quantity} {product} units for {price} euros.", "Order {order}: {quantity} x {product}, {price} euros, for {name}.",
    "The {product} costs {price} dollars.", "{name} ordered a {product} on {date}. The price was {price} euros.", "We sold {quantity} pieces of the {product} at {price} dollars each.",
    "Invoice: product {product}, quantity {quantity}, price {price}, customer {name}.", "Please send {quantity} of the {product} in {colour} to {name} in {city}.",
    "The {colour} {product} is on sale for {price}.", "Your order {order} will arrive on {date}.", "Customer {name} ({email}) placed order {order} for {price} euros.",
    "The {event} takes place on {date} at {time} in {place}.", "Join us for the {event} at {place} on {date}, starting at {time}.",
    "{name} invites you to the {event} in {city} on {date}.", "The {event} in {city} begins at {time}. Ask {name} for details at {email}.",
    "Reminder: {event}, {date}, {time}, {place}.", "The book {title} by {author} was published in {year}.", "In {year}, {author} wrote {title}.",
    "{title} ({year}) is a novel by {author}.", "I just read {title} by {author} and paid {price} dollars for it.",
    "{name} has a {colour} {animal} and lives in {country}.", "The {animal} was seen near {city} on {date}.", "{name} from {country} is a {job}.",
    "{company} was founded in {year} in {city} by {name}.", "Call {phone} and ask for {name}.", "Flight to {city} on {date} at {time}, ticket for {name}, {price} euros.",
    "The {product} costs ${price}.", "{name} paid €{price} for the {product}.", "${price} for {quantity} {product}s, that is what {name} paid.", "Price of the {product}: £{price}.",
    "{name} is {age} years old.", "{name} travelled from {city} to meet friends.", "{name}, who is {age}, likes the {colour} {product}.", "Our new colleague {name} comes from {city}.",
    "{name} moved to {city} in {year}.", "{name} (age {age}) won the {event} in {city}.", "You can write to {email}.", "The meeting with {name} is on {date} at {time}.", "{quantity} people came to the {event} in {city}.",
    "The {colour} {animal} belongs to {name}.", "{name} turned {age} last week and celebrated in {city} with {quantity} friends.", "Dr. {name} works at {company} as a {job}.", "{author} published {title} in {year}.",
    "A {colour} {product} was found in {city} on {date}.", "{name} wants to buy {quantity} {product}s.", "Hi, this is {name}, I would like to order {quantity} {product}s in {colour}. My address is in {city}.",
    "name: {name}, age: {age}, city: {city}", "Name: {name}\nEmail: {email}\nPhone: {phone}", "{date}: {name} paid {price} euros for {product}.",
    "Hello, I'm {name}. I'm {age} years old, I live in {city}, {country}, and I work as a {job}. You can reach me at {email}.",
]
_LEAD = ["", "", "", "", "Hello! ", "Good news: ", "Dear team, ", "Note: ", "As you know, ", "Just so you know, ", "Yesterday ", "Today, ", "Last week ", "Hi all, ", "I think ", "According to the report, ",
         "Breaking: ", "We met last year. ", "It is a fine day. ", "Here is the news. "]
_TAIL = ["", "", "", " Thank you.", " See you soon.", " It was a sunny day.", " Please confirm.", " Best regards.", " That is all."]
_ASKS = [
    "[Extract|Please extract|Get|Pull out|Can you extract|Give me|Find|Return] [the |]{keys} [from this text|from the following text|from the text|from this sentence|from this message|from this] "
    "[as JSON|as a JSON object|in JSON format|in JSON|and answer in JSON]: {t}",
    "[Extract|Return|Give me] [a JSON object|JSON] with [the keys|keys|the fields|fields] {keys} [from|for|based on] [this text|the text|this sentence|this|the following]: {t}",
    "{t}\n[Extract|Return|Give me|Output] {keys} as JSON.", "{t}\n\n[Return|Write|Answer with] [only |]JSON with the keys {keys}.",
    "Text: {t}\nExtract {keys} as JSON[ only|, nothing else|].", "[Convert|Turn|Transform] this [text |sentence |]into JSON with {keys}: {t}",
    "JSON with {keys} for: {t}", "[Read this and give me|From this text, extract] {keys} as JSON: {t}", "Extract JSON ({keys}) from: {t}",
    "[Extract|Get|Find] [the |]{keys} [from|in] [this sentence|this text|this|the following] as JSON: \"{t}\"", "[Extract|Find|Return] [the |]{keys} from: \"{t}\" [Respond|Answer|Reply] [only with|with only] JSON.",
    "\"{t}\" - [give me|return|extract] {keys} as JSON", "[Extract|Return] as JSON with [keys|the keys|fields] {keys}: \"{t}\"", "[Here is|This is] [a text|a message|an email]: {t}\n[I need|Give me|Please return] a JSON object with {keys}.",
    "[Which|What] {keys} [does the text mention|are mentioned|can you find]? [Answer in JSON|JSON only]. {t}", "[Fill in|Fill] a JSON object with {keys} from this [text|note]: {t}",
    "[Pull|Get|Take] {keys} out of this [and answer as JSON|as JSON|and return JSON]: {t}", "{keys} as JSON[, please|]: {t}", "[JSON please|JSON only], [keys|with the keys|fields] {keys}: {t}", "[From the text|From this text|From this] [extract|get] {keys}[ as JSON|]. {t}",
    "[Extract|Find] {keys} [from|in]: {t} [Answer in JSON|JSON only|Return JSON|Only JSON please].", "{t}\n[Convert|Turn this] to JSON with {keys}.", "[Make|Build|Create] [JSON|a JSON object] [with the fields|with|from the fields] {keys}[:| from this:] {t}",
    "[Extract|Return|Get] [JSON with |]the [key|keys|field|fields] {keys} from this: {t}", "[Extract|Get] the data (keys: {keys}): {t}", "[Answer as|Return] JSON with the key[s|] {keys}: {t}",
    "[Parse|Please parse] the [sentence|text|message] \"{t}\" into JSON with the keys {keys}.",
]
_SYSTEMS = [None, None, None, None, "You extract data and answer with JSON only.", "Reply with valid JSON.", "You are a data extraction assistant. Output JSON only."]


# the shape of any report: what happened around the fields is of no interest
_SHAPES = ["{name} {did} {when}.", "{name} {did} to {city} {when}.", "{name} {did} in {city}.", "{When} {name} {did} {city}.", "{name} {did} the {product} {when}.", "{name} {did} a {product} for {price} euros {when}.",
           "{name} is a {job} at {company}.", "{name} is a {job} in {city}.", "{name} {did} {company} as a {job}.", "{When}, {name} and a friend {did} in {city}.", "{name} {did} with the {animal} in {country}.",
           "You can reach {name} at {email} any time.", "{When} {name} {did} and wrote to {email}.", "Please call {phone} {when}.", "{name} ({age}) {did} {when}.", "In {city}, {name} {did} {when}.", "{name} {did} {quantity} {product}s {when}.",
           "{title} was written by {author} in {year}.", "{name} {did} {when} at the age of {age}.", "The {event} is in {city} {when}.", "{name} {did} the {event} on {date}.", "The {event} happens in {city} on {date}.", "{name} {did} in {country} since {year}.",
           "{name} has a {colour} {animal} and {did} in {city}.", "The {colour} {product} {did} {when} for {price} dollars.", "{company} {did} {quantity} {product}s to {name}."]


def _filled(text, values):
    return re.sub(r"\ba (?=[aeiou])", "an ", text.format(**values))


def _fields_in(text):
    return [f for f in FIELDS if "{" + f + "}" in text]


def _key_list(g, keys):
    style = g.random()
    if style < 0.3:
        keys = [f'"{k}"' for k in keys]
    elif style < 0.38:
        keys = [f"`{k}`" for k in keys]
    if len(keys) == 1:
        return keys[0]
    if g.chance(0.6):
        return ", ".join(keys[:-1]) + g.choice((" and ", " and ", ", and ")) + keys[-1]
    return ", ".join(keys)


_FREE_VALUES = (words.name_like, words.city, words.identifier, words.invented, lambda g: str(g.randint(0, 5000)), lambda g: str(g.randint(0, 99)), words.price,
                lambda g: g.choice(words.COLOURS), lambda g: g.choice(words.ADJECTIVES), lambda g: g.choice(words.ADJECTIVES) + " " + g.choice(words.NOUNS), words.date, words.email)
_FREE_CLAUSES = ("the {k} is {v}", "the {k} is {v}", "its {k} is {v}", "{k}: {v}", "{k} = {v}", "the {k} was {v}", "{k} {v}", "with a {k} of {v}", "her {k} is {v}", "and {v} as the {k}")


def _free(g):
    """Any key, named in the text itself, so that keys are read and not remembered."""
    n = g.choice((1, 2, 2, 3, 3, 4, 5))
    keys = [words.invented(g) if g.chance(0.25) else g.fresh("key", lambda: g.choice(words.NOUNS)) for _ in range(n)]
    keys = list(dict.fromkeys(keys))
    values = [g.choice(_FREE_VALUES)(g) for _ in keys]
    spoken = [k.replace("_", " ") for k in keys]
    if g.chance(0.3):
        shape, gap = g.choice((("{k}: {v}", "\n"), ("{k}: {v}", ", "), ("{k}={v}", " "), ("{k} = {v}", "; "), ("- {k}: {v}", "\n"), ("{k} | {v}", "\n")))
        text = gap.join(shape.format(k=k, v=v) for k, v in zip(spoken, values))
    else:
        clauses = [g.choice(_FREE_CLAUSES).format(k=k, v=v) for k, v in zip(spoken, values)]
        text = g.choice(("", "Today ", "In the report ", "For the record, ", "At last, ", "As far as I know, ")) + ", ".join(clauses[:-1]) + (" and " if n > 1 else "") + clauses[-1] + "."
        text = text[0].upper() + text[1:]
    asked = g.sample(range(len(keys)), g.randint(1, len(keys)))
    if g.chance(0.6):
        asked.sort()
    answer = {keys[i]: _number(values[i]) if re.fullmatch(r"\d+|\d+\.\d+", values[i]) and str(_number(values[i])) == values[i] else values[i] for i in asked}
    return text, answer


_INVENT = ["[Give me|Generate|Create|Make up|Write|I need] [a JSON object|some JSON|JSON|an example JSON object] [describing|for|about] {x} with [the keys |the fields |]{keys}.",
           "[Invent|Make up] {x} [and return it as JSON|as JSON] with {keys}.", "[Example|Sample] JSON for {x} with {keys}[, please|]."]
_INVENT_FIELDS = {"a person": ("name", "age", "city", "job", "email", "country"), "a user": ("name", "age", "email", "city"), "a book": ("title", "author", "year", "price"),
                  "a product": ("product", "price", "quantity", "colour"), "an event": ("event", "date", "time", "place"), "a customer": ("name", "email", "city", "phone")}


def _invent(g):
    """JSON of the model's own making."""
    what = g.choice(list(_INVENT_FIELDS))
    fields = g.sample(_INVENT_FIELDS[what], g.randint(1, len(_INVENT_FIELDS[what])))
    ordinary = {"name": lambda g: g.choice(words.FIRST_NAMES) + " " + g.choice(words.SURNAMES), "city": lambda g: g.choice(words.CITIES), "email": lambda g: g.choice(words.FIRST_NAMES).lower() + "@example.com",
                "author": lambda g: g.choice(words.FIRST_NAMES) + " " + g.choice(words.SURNAMES), "product": lambda g: g.choice(words.THINGS)}
    values = {f: ordinary.get(f, FIELDS[f][0])(g) for f in fields}
    answer = {f: _number(v) if FIELDS[f][2] else v for f, v in values.items()}
    return Sample("invented json", [user(g.ask(_INVENT, x=what, keys=_key_list(g, fields))), assistant(json.dumps(answer, ensure_ascii=False))], system=g.choice(_SYSTEMS),
                  check={"kind": "json_keys", "keys": fields})


def sample(g):
    roll = g.random()
    if roll < 0.05:
        return _invent(g)
    if roll < 0.38:
        text, answer = _free(g)
        prompt = g.ask(_ASKS, keys=_key_list(g, list(answer)), t=text)
        return Sample("extraction", [user(prompt), assistant(json.dumps(answer, ensure_ascii=False))], system=g.choice(_SYSTEMS), check={"kind": "json", "value": answer})
    return _from_fields(g)


def _from_fields(g):
    text = g.choice(TEXTS) if g.chance(0.6) else g.choice(_SHAPES)
    for slot, items in (("{did}", words.VERBS_PAST), ("{when}", words.WHEN), ("{When}", [w.capitalize() for w in words.WHEN])):
        while slot in text:
            text = text.replace(slot, g.choice(items), 1)
    present = _fields_in(text)
    values = {f: FIELDS[f][0](g) for f in present}
    shown = g.choice(_LEAD) + _filled(text, values) + g.choice(_TAIL)
    if g.chance(0.12):                       # a second sentence with other fields
        extra = g.choice(TEXTS)
        if not set(_fields_in(extra)) & set(present):
            more = {f: FIELDS[f][0](g) for f in _fields_in(extra)}
            shown += " " + _filled(extra, more)
            values.update(more)
            present += list(more)
    asked = g.sample(present, g.randint(1, len(present)))
    if g.chance(0.45):
        asked = [f for f in present if f in asked]
    missing = g.chance(0.08)
    if missing:
        asked.insert(g.randint(0, len(asked)), g.choice([f for f in ("age", "email", "phone", "price", "country", "year") if f not in present]))
    keys = []
    for f in asked:
        keys.append(next((k for k in (g.choice(FIELDS[f][1]) for _ in range(4)) if k not in keys), f))
    answer = {k: (_number(values[f]) if FIELDS[f][2] else values[f]) if f in values else None for k, f in zip(keys, asked)}
    prompt = g.ask(_ASKS, keys=_key_list(g, keys), t=shown)
    if missing and g.chance(0.5):
        prompt += g.choice((" Use null for missing values.", " If something is missing, use null."))
    return Sample("extraction", [user(prompt), assistant(json.dumps(answer, ensure_ascii=False))], system=g.choice(_SYSTEMS),
                  check={"kind": "json", "value": answer})
