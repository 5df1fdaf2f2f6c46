"""Word lists and makers of words. `any_word` gives anything a user may ask to have copied exactly."""

def _w(text):
    return text.split()


def _p(text):
    return [s.strip() for s in text.split(",") if s.strip()]


FIRST_NAMES = _w("""Ada Adam Aisha Alan Alba Alice Amir Ana Andre Anika Anna Anton Aria Arthur Asha Astrid Ava Bea Ben Bianca
Boris Bruno Carla Carlos Cara Cecil Celia Chen Chloe Clara Cora Dan Daniel Daria David Deniz Diego Dina Dora Edgar Elena Eli
Elif Ella Emil Emma Enzo Erik Esther Eva Fabio Farid Fatima Felix Finn Fiona Flora Frank Freya Gabriel Gita Gloria Grace Greta
Gus Hana Hans Hassan Hazel Hugo Ida Igor Ilse Imani Ines Ingrid Ira Iris Isaac Ivan Ivy Jack Jade James Jana Jasper Jin Joan
Joel Jonas Jose Julia June Kai Kamal Karin Kate Keiko Kenji Kofi Kira Lars Laura Lea Leo Lena Leila Liam Lily Lina Linus Lola
Lucas Lucia Luna Maja Marco Maria Marie Mark Marta Mateo Maya Mei Mia Mila Milo Mina Mira Mona Nadia Naomi Nate Nico Nina Noah
Nora Olaf Olga Oliver Omar Oscar Otto Pablo Paul Paula Pedro Petra Pia Priya Quinn Rahul Ravi Remy Rita Robin Rosa Ruth Sam
Samira Sara Sasha Selma Sofia Sven Tara Tariq Tess Theo Thomas Tilda Tim Tina Tom Uma Ursula Vera Victor Viola Wanda Wei Will
Xenia Yara Yasmin Yusuf Zara Zoe""")
SURNAMES = _w("""Abbott Adler Bauer Becker Berg Blake Bloom Brandt Castillo Chen Clarke Costa Cruz Dahl Diaz Dubois Eriksen Fischer
Flores Fox Garcia Grant Gupta Haas Hansen Hill Hoffman Ito Ivanov Jensen Kaya Keller Khan Kim Klein Kovacs Kumar Lang Larsen Lee
Lopez Marsh Martin Mehta Meyer Moreau Mori Nakamura Nielsen Novak Okafor Olsen Ortega Park Patel Perez Petrov Reed Rossi Sato
Schmidt Silva Singh Smith Stone Suzuki Tanaka Torres Ueda Vance Varga Vogel Walker Wang Weber West Wolf Wong Wright Yilmaz Young
Zimmer""")
CITIES = _p("""Aarhus, Accra, Amsterdam, Antwerp, Athens, Austin, Bangkok, Barcelona, Basel, Beijing, Bergen, Berlin, Bilbao, Bogota,
Bologna, Boston, Bremen, Bristol, Brno, Brussels, Budapest, Cairo, Cape Town, Cardiff, Chicago, Cologne, Copenhagen, Cork, Dakar,
Dallas, Delhi, Denver, Dresden, Dublin, Dubai, Edinburgh, Florence, Geneva, Genoa, Ghent, Glasgow, Graz, Hamburg, Hanoi, Havana,
Helsinki, Istanbul, Izmir, Jakarta, Kigali, Kobe, Krakow, Kyoto, Lagos, Leeds, Leipzig, Lima, Linz, Lisbon, Liverpool, London,
Los Angeles, Lyon, Madrid, Malmo, Manchester, Manila, Marseille, Melbourne, Mexico City, Miami, Milan, Montreal, Moscow, Mumbai,
Munich, Nairobi, Nantes, Naples, New York, Nice, Osaka, Oslo, Ottawa, Oxford, Paris, Perth, Porto, Prague, Quito, Riga, Rio, Rome,
Rotterdam, San Francisco, Santiago, Sapporo, Seattle, Seoul, Seville, Shanghai, Singapore, Sofia, Stockholm, Sydney, Taipei,
Tallinn, Tampere, Tbilisi, Tokyo, Toronto, Toulouse, Trieste, Tunis, Turin, Turku, Uppsala, Utrecht, Valencia, Vancouver, Venice,
Vienna, Vilnius, Warsaw, Wellington, York, Zagreb, Zurich, Zürich, Malmö, São Paulo, Córdoba, Málaga, Göteborg, Łódź""")
COLOURS = _w("""red blue green yellow orange purple pink brown black white grey teal turquoise violet indigo crimson gold silver
beige maroon navy olive coral lavender magenta scarlet amber emerald cyan ivory""")
ANIMALS = _w("""fox owl bear wolf cat dog rabbit mouse hedgehog badger otter beaver squirrel deer horse goat sheep cow pig duck goose
swan crow raven robin sparrow heron frog toad turtle snail ant bee spider butterfly moth whale dolphin seal penguin crab octopus
lion tiger elephant giraffe zebra monkey panda koala kangaroo camel parrot lizard dragon hamster donkey falcon eagle""")
FRUITS = _w("""apple pear plum cherry peach mango banana orange lemon lime grape melon fig kiwi apricot papaya pineapple strawberry
raspberry blueberry blackberry coconut pomegranate""")
FOODS = _p("""pizza, soup, bread, cheese, rice, noodles, pancakes, salad, sushi, curry, pasta, stew, dumplings, tacos, waffles,
porridge, omelette, lasagna, falafel, chocolate, ice cream, honey cake, apple pie, roast potatoes, lentil soup, mushroom risotto""")
JOBS = _p("""teacher, nurse, baker, carpenter, engineer, doctor, farmer, pilot, painter, librarian, gardener, writer, singer, chef,
plumber, lawyer, driver, designer, chemist, tailor, photographer, electrician, biologist, journalist, translator, accountant,
architect, mechanic, dentist, programmer, violinist, sailor, potter, welder, data analyst, software engineer, train driver""")
THINGS = _w("""lamp kettle umbrella lantern clock mirror ladder basket bucket candle blanket pillow chair table shelf drawer window
door key lock rope hammer needle thread button coat scarf glove boot hat ring necklace letter book pencil notebook map compass
bell drum flute violin guitar piano camera telescope radio bicycle wagon boat raft kite balloon puppet marble coin box bottle jar
cup spoon bowl teapot broom stone shell feather leaf acorn seed flower cactus crystal crown anchor wheel mask statue painting
backpack suitcase keyboard monitor laptop phone headset charger printer desk stapler""")
NATURE = _w("""river mountain forest meadow ocean island desert valley garden lake cloud storm rain snow wind thunder sunrise sunset moon
star comet planet galaxy rainbow frost mist dew ember flame shadow tide wave harbour lighthouse bridge tower castle village
orchard canyon glacier waterfall volcano pebble moss fern willow oak pine birch maple lotus rose tulip lily daisy clover""")
ABSTRACT = _w("""hope silence memory courage patience wisdom kindness freedom justice sorrow joy wonder secret promise dream whisper echo
journey rhythm balance harmony mystery friendship language music story number answer question moment evening morning winter
summer autumn spring midnight century algorithm variable function compiler pointer buffer cache thread kernel tensor matrix vector
server network packet router database index query token model gradient loss epoch latency bandwidth quantum photon electron
molecule enzyme neuron protein""")
ADJECTIVES = _w("""quiet gentle brave clever curious ancient golden silver tiny huge bright dark warm cold soft rough swift slow lonely
merry hidden broken distant crooked hollow humble frozen wild patient restless sleepy stubborn velvet crimson azure silent loud
sweet bitter empty steady strange shiny dusty rusty misty stormy sunny fragile sturdy graceful clumsy honest noble fearless""")
VERBS_ING = _w("""running dancing sleeping waiting singing falling rising glowing dreaming drifting wandering burning melting growing
spinning humming laughing weeping climbing flying swimming listening learning computing compiling debugging sampling streaming
whispering shimmering blinking scattering gathering remembering forgetting""")
ADVERBS = _w("softly slowly quickly always never gently boldly sometimes together forever nearly almost brightly silently again")
# ordinary words of sentences, for texts that are copied and for the frames around what is extracted
COMMON = _w("""the a an my your our his her their this that of in on at to from with for about before after near under over until and or but so if when while I you we they he she it is are was
will can must should may not no yes all some many few more less very too also just only still already soon later now then today tomorrow yesterday tonight here there home see meet call write send bring take
come go leave stay start stop wait find lose need want like love hope think know ask tell say give get make help work play read eat drink sleep walk run drive buy sell pay open close please thanks sorry hello dear
good bad new old big small great nice happy late early next last first second noon lunch dinner breakfast party meeting week month year day hour minute morning evening weekend school office street house room car
train bus ticket money price time place people friend family team boss client project report email message phone number question answer problem idea plan list order""")
VERBS_PAST = _w("""moved travelled walked flew drove ran sailed returned went came hurried looked laughed waited worked studied stayed lived arrived started won lost found bought sold wrote painted
visited met called helped joined left opened closed built cleaned repaired carried dropped forgot remembered liked loved asked told said thinks knows likes wants needs says lives works sings dances""")
WHEN = _p("""last spring, last week, yesterday, two days ago, this morning, in the evening, after lunch, every Sunday, before dawn, on a rainy day, with a friend, by train, for work, for the first time, without a coat,
a long time ago, next month, at noon, with great joy, in a hurry, as always, when it was cold, during the holidays, once a year, at night""")
NOUNS = THINGS + NATURE + ABSTRACT + ANIMALS + FRUITS
ONES = _w("zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
          "eighteen nineteen")
TENS = _w("zero ten twenty thirty forty fifty sixty seventy eighty ninety")
MONTHS = _w("January February March April May June July August September October November December")
WEEKDAYS = _w("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")

_ONSETS = _w("b br bl c ch cl cr d dr f fl fr g gl gr h j k kl kr l m n p pl pr qu r s sc sh sk sl sm sn sp st str t th tr tw v w x y z "
             "zh vr") + ["", ""]
_VOWELS = _w("a e i o u a e i o u ai au ea ee ei ia ie io oa oo ou y ae ui")
_CODAS = _w("b ck d f ft g k l ld lf lk ll lm m mp n nd ng nk nt p ph r rd rk rm rn rt s sh sk ss st t th v x z zz") + [""] * 12


def number_word(n):
    """46 -> "forty-six", up to 999."""
    if n >= 100:
        rest = n % 100
        return ONES[n // 100] + " hundred" + (" and " + number_word(rest) if rest else "")
    if n < 20:
        return ONES[n]
    return TENS[n // 10] + ("-" + ONES[n % 10] if n % 10 else "")


def syllables(g, n):
    return "".join(g.choice(_ONSETS) + g.choice(_VOWELS) + g.choice(_CODAS) for _ in range(n))


def _from_pieces(g):
    """A word made of the tokenizer's own pieces, so that every piece is seen being copied."""
    if not g.pieces:
        return syllables(g, 2)
    return "".join(g.choice(g.pieces) for _ in range(g.randint(1, 3)))


def invented(g):
    """A word that is in no dictionary, on this side of the held-out split."""
    def draw():
        roll = g.random()
        if roll < 0.55:
            return syllables(g, g.choice((1, 2, 2, 2, 3, 3, 4)))
        if roll < 0.80:
            return _from_pieces(g).lower()
        return "".join(g.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(g.randint(3, 9)))
    return g.fresh("word", draw)


def name_like(g):
    """A capitalised name: usually real, often invented."""
    if g.chance(0.5):
        return g.fresh("name", lambda: g.choice(FIRST_NAMES))
    return accented(g).capitalize() if g.chance(0.12) else invented(g).capitalize()


def full_name(g):
    last = g.choice(SURNAMES) if g.chance(0.6) else invented(g).capitalize()
    return name_like(g) + " " + last


def city(g):
    if g.chance(0.65):
        return g.fresh("city", lambda: g.choice(CITIES))
    if g.chance(0.15):
        return f"{g.choice(('San', 'São', 'Saint', 'New', 'Port', 'El', 'Los', 'Bad', 'North', 'Sankt'))} {invented(g).capitalize()}"
    return accented(g).capitalize() if g.chance(0.2) else invented(g).capitalize()


def common_word(g):
    """A dictionary word with its part of speech."""
    pos = g.choice(("noun", "noun", "noun", "adjective", "ing", "adverb"))
    words = {"noun": NOUNS, "adjective": ADJECTIVES, "ing": VERBS_ING, "adverb": ADVERBS}[pos]
    return g.fresh("word", lambda: g.choice(words)), pos


_ACCENTS = {"a": "áàâäãåą", "e": "éèêëęě", "i": "íìîï", "o": "óòôöõøő", "u": "úùûüůű", "c": "çćč", "n": "ñńň", "s": "śšş", "z": "źżž", "l": "ł", "r": "ř", "y": "ý"}
_SCRIPTS = ((0x3B1, 24), (0x430, 32), (0x4E00, 3000), (0x3042, 80), (0x1F300, 300), (0x5D0, 26))


def accented(g):
    """An invented word with letters beyond ASCII."""
    word = invented(g)
    return "".join(g.choice(_ACCENTS[c]) if c in _ACCENTS and g.chance(0.4) else c for c in word)


def foreign(g):
    """Some characters of another script: for copying byte by byte."""
    first, count = g.choice(_SCRIPTS)
    return "".join(chr(first + g.randint(0, count - 1)) for _ in range(g.randint(1, 5)))


def any_word(g):
    """(word, part of speech) for "includes the word ...": plain, invented, hyphenated, capitalised, with digits."""
    if g.chance(0.06):
        roll = g.random()
        if roll < 0.45:
            return g.fresh("word", lambda: number_word(g.randint(100, 999))), "number"
        if roll < 0.8:
            return f"{g.choice(ADJECTIVES)} {g.choice(NOUNS)}", "noun"
        return foreign(g), "other"
    roll = g.random()
    if roll < 0.26:
        return common_word(g)
    if roll < 0.44:
        return g.fresh("word", lambda: number_word(g.randint(2, 99))), "number"
    if roll < 0.66:
        return invented(g), "other"
    if roll < 0.74:
        return name_like(g), "name"
    if roll < 0.82:
        left = invented(g) if g.chance(0.5) else g.choice(NOUNS + ADJECTIVES)
        right = invented(g) if g.chance(0.5) else g.choice(NOUNS + VERBS_ING)
        return f"{left}-{right}", "other"
    if roll < 0.88:
        return f"{name_like(g)}-{g.randint(0, g.choice((9, 99, 999)))}", "name"
    if roll < 0.91:
        return invented(g).upper(), "other"
    if roll < 0.94:
        return invented(g).capitalize() + invented(g).capitalize(), "name"
    if roll < 0.97:
        return invented(g) + str(g.randint(0, 999)), "other"
    return accented(g), "other"


def identifier(g):
    """A short code: hexadecimal, digits, or letters and digits."""
    roll = g.random()
    if roll < 0.5:
        return "".join(g.choice("0123456789abcdef") for _ in range(g.choice((4, 6, 6, 8, 8, 10, 12, 16))))
    if roll < 0.7:
        return str(g.randint(0, 10 ** g.randint(2, 9)))
    if roll < 0.9:
        return "".join(g.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") for _ in range(g.randint(4, 9)))
    return "-".join("".join(g.choice("0123456789abcdef") for _ in range(n)) for n in (8, 4, 4, 4, 12))


def sentence(g, most=7):
    """Words in a row as they come: nonsense, but of the words that sentences are made of."""
    n = g.randint(2, most)
    return " ".join(g.choice(COMMON) if g.chance(0.65) else g.choice(NOUNS) if g.chance(0.5) else g.choice((g.choice(ADJECTIVES), g.choice(VERBS_PAST), g.choice(FIRST_NAMES), invented(g), str(g.randint(1, 99))))
                    for _ in range(n))


def date(g):
    year, month, day = g.randint(1990, 2035), g.randint(1, 12), g.randint(1, 28)
    return g.choice((f"{year}-{month:02d}-{day:02d}", f"{day} {MONTHS[month - 1]} {year}", f"{MONTHS[month - 1]} {day}, {year}",
                     f"{MONTHS[month - 1]} {day}", f"{day}/{month}/{year}", g.choice(WEEKDAYS)))


def clock(g):
    hour, minute = g.randint(1, 12), g.choice((0, 0, 15, 30, 45, 10, 20, 50))
    return g.choice((f"{hour + 11}:{minute:02d}", f"{hour}:{minute:02d} {g.choice(('am', 'pm'))}", f"{hour} {g.choice(('am', 'pm'))}",
                     f"{hour - 1:02d}:{minute:02d}"))


def email(g, name=None):
    parts = (name or name_like(g)).lower().split()
    local = g.choice((".".join(parts), "".join(parts), parts[0] + str(g.randint(1, 99)), parts[0] + "_" + invented(g)))
    domain = g.choice(("example.com", "example.org", "mail.test", "post.example", invented(g) + ".com", invented(g) + ".org",
                       invented(g) + ".net", invented(g) + ".io"))
    return f"{local}@{domain}"


def phone(g):
    return g.choice(("+{} {} {}", "{}-{}-{}", "({}) {} {}")).format(g.randint(1, 99), g.randint(100, 999), g.randint(1000, 999999))


def price(g):
    """A number that JSON may hold as it is written."""
    if g.chance(0.5):
        return str(g.randint(1, 2000))
    return f"{g.randint(0, 400)}.{g.randint(1, 9)}{g.choice('123456789')}" if g.chance(0.7) else f"{g.randint(1, 99)}.{g.choice('123456789')}"


def article(noun):
    return ("an " if noun[0].lower() in "aeiou" else "a ") + noun
