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
    "name: {name}, age: {age}, city: {city}", "Name: {name}\nEmail: {email}\nPhone: {phone}", "{date}: {name} paid {price} euros for {product}.",
    "Hello, I'm {name}. I'm {age} years old, I live in {city}, {country}, and I work as a {job}. You can reach me at {email}.",
]
_LEAD = ["", "", "", "Hello! ", "Good news: ", "Dear team, ", "Note: ", "As you know, ", "Just so you know, "]
_TAIL = ["", "", "", " Thank you.", " See you soon.", " It was a sunny day.", " Please confirm.", " Best regards.", " That is all."]
_ASKS = [
    "[Extract|Please extract|Get|Pull out|Can you extract|Give me|Find|Return] [the |]{keys} [from this text|from the following text|from the text|from this sentence|from this message|from this] "
    "[as JSON|as a JSON object|in JSON format|in JSON|and answer in JSON]: {t}",
    "[Extract|Return|Give me] [a JSON object|JSON] with [the keys|keys|the fields|fields] {keys} [from|for|based on] [this text|the text|this sentence|this|the following]: {t}",
    "{t}\n[Extract|Return|Give me|Output] {keys} as JSON.", "{t}\n\n[Return|Write|Answer with] [only |]JSON with the keys {keys}.",
    "Text: {t}\nExtract {keys} as JSON[ only|, nothing else|].", "[Convert|Turn|Transform] this [text |sentence |]into JSON with {keys}: {t}",
    "JSON with {keys} for: {t}", "[Read this and give me|From this text, extract] {keys} as JSON: {t}", "Extract JSON ({keys}) from: {t}",
    "[Parse|Please parse] the [sentence|text|message] \"{t}\" into JSON with the keys {keys}.",
]
_SYSTEMS = [None, None, None, None, "You extract data and answer with JSON only.", "Reply with valid JSON.", "You are a data extraction assistant. Output JSON only."]


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


def sample(g):
    text = g.choice(TEXTS)
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
