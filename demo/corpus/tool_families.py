"""Everyday tools: their many names, parameters, requests, results and answers.

A family is (names, description, parameters, requests, result keys, answers). A parameter is (keys, type, description,
draw); requests and answers name parameters by position, and a parameter whose slot is missing in a request is left out
of the call. Result keys are (key, draw) pairs; answers may use them by key.
"""
from . import words

STRING, INTEGER, NUMBER = "string", "integer", "number"


def _phrase(g):
    """A few words, as in a subject line or a search."""
    if g.chance(0.5):
        return words.sentence(g)
    n = g.choice((1, 2, 2, 3, 4))
    return " ".join(g.choice((words.NOUNS, words.ADJECTIVES, words.VERBS_ING))[int(g.random() * 20)] if g.chance(0.75) else words.invented(g) for _ in range(n))


def _small(g):
    return g.randint(1, g.choice((10, 60, 120)))


def _amount(g):
    return g.randint(1, 2000) if g.chance(0.7) else float(f"{g.randint(1, 300)}.{g.randint(1, 9)}")


def _expression(g):
    op = g.choice("+-*/")
    return f"{g.randint(1, 999)} {op} {g.randint(1, 99)}"


def _word(g):
    return words.any_word(g)[0]


def _temperature(g):
    return g.randint(-15, 38)


LANGUAGES = words._w("French German Spanish Italian Japanese Chinese Korean Dutch Polish Turkish Arabic Hindi Portuguese Swedish Danish Greek Finnish")
CURRENCIES = words._w("USD EUR GBP JPY CHF SEK NOK CAD AUD INR CNY PLN")
ROOMS = words._p("kitchen, bedroom, living room, bathroom, garage, hallway, office, cellar, attic")
CONDITIONS = words._w("sunny cloudy rainy windy foggy snowy stormy clear overcast")
SYMBOL = lambda g: "".join(g.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ") for _ in range(g.randint(2, 4)))


FAMILIES = {
    "weather": (
        "get_weather get_weather get_weather get_current_weather weather fetch_weather getWeather weather_lookup current_weather check_weather get_forecast".split(),
        ["Get the weather.", "Get the current weather in a city.", "Returns the weather for a location.", "Current weather for a given place", "Look up the weather"],
        [("city city city location place town city_name".split(), STRING, ["City name", "The city", "Name of the city", "City name, e.g. Paris"], words.city),
         ("unit units unit temperature_unit".split(), ("celsius", "fahrenheit"), ["Temperature unit", "The unit"], lambda g: g.choice(("celsius", "fahrenheit")))],
        ["[What is|What's|How is|How's] the weather [like |]in {0}[?| today?| now?| right now?]", "weather in {0}[?|]", "[Tell me|Check|Get|Show me|Please check|I need] the weather [in|for] {0}[.|, please.|]",
         "Is it [raining|sunny|cold|warm|hot|windy] in {0}[?| today?| right now?]", "[How warm|How cold|How hot] is it in {0}[?| now?]", "[Do I need|Should I take] an umbrella in {0}?",
         "[What's|What is] the temperature in {0}[?| in {1}?| (in {1})?]", "[What is|What's|Tell me] the weather in {0} in {1}[?|.]", "I'm [going|travelling|flying] to {0}[ tomorrow|], what is the weather [like|there]?",
         "[What is|What's|How's] the weather [like |]in {0} [today |right now |]in {1}?", "[How warm|How cold] is it in {0}? [Use|In] {1}[ please|].", "[Weather|weather] in {0}[ please|], [in|use] {1}[ please|]", "[What's|How's] the weather in {0}[?|,] [in|use] {1}[ please|][.|?|]", "[Do I need|Should I wear|Should I bring] a [jacket|coat|hat|scarf] in {0}?",
         "[Tell me|Give me] the temperature in {0} in {1}[.|]", "[Can you|Could you] [check|tell me|look up] [what the weather is like|the weather|the current weather|how the weather is] in {0}?", "[What's|What is] it like outside in {0}?",
         "Will [it rain|it snow|I need an umbrella|the sun shine] in {0}[ today|]?", "[forecast|Forecast] for {0}[ please|]", "[Hi|Hello|Hey]! [What's|How is] the weather in {0}?"],
        [("temperature temp degrees t temperature_c".split(), _temperature), ("condition conditions weather sky description".split(), lambda g: g.choice(CONDITIONS))],
        ["It is {r1} in {0}, with {r0} degrees.", "The weather in {0} is {r1} and the temperature is {r0} degrees.", "In {0} it is {r1} at {r0} degrees."]),
    "time": (
        "get_time get_current_time current_time time_in clock_lookup get_local_time world_clock".split(), ["Get the current time.", "Returns the local time of a city.", "Current time in a place"],
        [("city city location timezone place zone".split(), STRING, ["City name", "The place", "Where"], words.city)],
        ["What time is it in {0}[?| now?| right now?]", "[What is|What's|Tell me] the [time|local time|current time] in {0}[?|.]", "time in {0}?", "[Is it late|Is it night|How late is it] in {0}?"],
        [("time now local_time current_time".split(), words.clock)], ["It is {r0} in {0}.", "The time in {0} is {r0}."]),
    "calculator": (
        "calculator calculate calc evaluate evaluate_expression compute math_eval".split(), ["Evaluate an arithmetic expression.", "A calculator.", "Computes the value of an expression"],
        [("expression expression expr formula input".split(), STRING, ["The expression", "Arithmetic expression, e.g. 2 + 2"], _expression)],
        ["[What is|What's|Calculate|Compute|Work out|How much is|Please calculate|Evaluate] {0}[?|]", "Use the calculator[ for|:] {0}", "I need the result of {0}."],
        [("result value answer".split(), _amount)], ["{0} = {r0}.", "The result of {0} is {r0}."]),
    "email": (
        "send_email send_mail sendEmail mail_send email_sender".split(), ["Send an email.", "Sends an email message.", "Send a mail to somebody"],
        [("to to recipient address email".split(), STRING, ["Recipient address", "Email address"], words.email), ("subject subject title topic".split(), STRING, ["Subject line"], _phrase),
         ("body text message content".split(), STRING, ["Text of the email"], _phrase)],
        ["[Send|Please send|Can you send] an email to {0} with [the |]subject \"{1}\" and [the |]body \"{2}\"[.|]", "[Send|Please send] [an email|a mail] to {0}[. Subject:|, subject] \"{1}\"[. Body:|, body] \"{2}\"[.|]",
         "[Send|Please send|Can you send] {0} an email [about|titled|with the title] \"{1}\" [that says|saying|with the text] \"{2}\"[.|]", "[Email|Mail] {0} [with the |]subject \"{1}\"[,|] [and text|text|saying] \"{2}\"[.|]",
         "Write an email to {0}, subject: {1}, text: {2}"],
        [("status result".split(), lambda g: g.choice(("sent", "ok", "delivered", "queued")))], ["The email to {0} has been sent.", "Done, I have sent the email to {0}."]),
    "search": (
        "search web_search search_web google find_pages search_documents internet_search".split(), ["Search the web.", "Find pages about a topic.", "Searches documents"],
        [("query query q text search_term keywords".split(), STRING, ["Search query", "What to search for"], _phrase), ("limit max_results count n".split(), INTEGER, ["Number of results"], _small)],
        ["[Search|Search the web|Look|Search online] for {0}[.|]", "[Find|Look up|Google] {0}[ on the web| online|][.|]", "[Search for|Find] \"{0}\"[.|]", "[Find|Show me|Get] {1} results [for|about] {0}[.|]"],
        [("title top_result result first".split(), _phrase)], ["I found this: {r0}.", "The search for {0} found: {r0}."]),
    "timer": (
        "set_timer start_timer timer create_timer countdown".split(), ["Set a timer.", "Starts a timer for some minutes.", "Start a countdown"],
        [("minutes minutes duration duration_minutes mins".split(), INTEGER, ["Minutes", "Duration in minutes"], _small), ("label name title".split(), STRING, ["Name of the timer"], _word)],
        ["[Set|Start|Please set|Can you set] a timer for {0} minutes[.|, please.|]", "timer {0} minutes", "[Wake me|Remind me|Call me] in {0} minutes[.|]", "[Set|Start] a {0} minute timer[ called {1}| named {1}][.|]"],
        [("status state".split(), lambda g: g.choice(("started", "running", "ok", "set")))], ["The timer for {0} minutes is set.", "Done, the timer will ring in {0} minutes."]),
    "convert": (
        "convert_currency currency_converter exchange convert_money fx_convert".split(), ["Convert money between currencies.", "Currency conversion."],
        [("amount amount value sum".split(), NUMBER, ["Amount of money"], _amount), ("from_currency from source base".split(), STRING, ["Currency code to convert from"], lambda g: g.choice(CURRENCIES)),
         ("to_currency to target quote".split(), STRING, ["Currency code to convert to"], lambda g: g.choice(CURRENCIES))],
        ["[Convert|Change|Please convert] {0} {1} [to|into] {2}[.|]", "How much is {0} {1} in {2}?", "[What is|What are|What's] {0} {1} in {2}?", "{0} {1} in {2}?"],
        [("result converted amount value".split(), _amount)], ["{0} {1} is {r0} {2}.", "That is {r0} {2}."]),
    "stock": (
        "get_stock_price stock_price get_stock quote getStockPrice lookup_stock".split(), ["Get the price of a stock.", "Returns the current stock price."],
        [("symbol symbol ticker stock code".split(), STRING, ["Ticker symbol"], SYMBOL)],
        ["[What is|What's|Tell me] the [stock price|price|stock] of {0}[?|]", "[Get|Check|Show] the [stock |share |]price [for|of] {0}[.|]", "How much is {0} [stock |]trading at?", "stock price {0}", "Price of {0}?"],
        [("price value last".split(), _amount)], ["The price of {0} is {r0}.", "{0} is trading at {r0}."]),
    "translate": (
        "translate translate_text translator get_translation".split(), ["Translate a text.", "Translates text to another language."],
        [("text text input phrase".split(), STRING, ["Text to translate"], _phrase), ("target_language language to target lang".split(), STRING, ["Language to translate into"], lambda g: g.choice(LANGUAGES))],
        ["[Translate|Please translate] \"{0}\" [to|into] {1}[.|]", "[How do you say|What is] \"{0}\" in {1}?", "[Translate|Put] {0} into {1}[.|]"],
        [("translation result text".split(), _phrase)], ["In {1} it is: {r0}.", "The {1} translation is: {r0}."]),
    "table": (
        "book_table reserve_table make_reservation restaurant_booking bookTable".split(), ["Book a table in a restaurant.", "Reserve a table."],
        [("restaurant restaurant place name".split(), STRING, ["Name of the restaurant"], lambda g: words.name_like(g) + g.choice(("", "'s", " Kitchen", " Cafe"))),
         ("people people guests party_size persons".split(), INTEGER, ["Number of guests"], lambda g: g.randint(1, 12)), ("time time when hour".split(), STRING, ["Time of the booking"], words.clock)],
        ["[Book|Reserve|Please book|Can you book] a table [for {1} people |for {1} ]at {0} at {2}[.|]", "[Table|I need a table|I'd like a table] for {1} at {0}, {2}[.|]", "Make a reservation at {0} for {1} people at {2}."],
        [("status confirmation state".split(), lambda g: g.choice(("confirmed", "booked", "ok")))], ["Your table at {0} is booked.", "Done, the table for {1} at {0} is booked."]),
    "music": (
        "play_music play_song play music_player start_song".split(), ["Play a song.", "Plays music."],
        [("song song title track name".split(), STRING, ["Title of the song"], lambda g: _phrase(g).title()), ("artist artist singer band".split(), STRING, ["Name of the artist"], words.full_name)],
        ["[Play|Please play|Can you play|Start] {0} by {1}[.|]", "[Play|Put on|I want to hear] [the song |]{0}[.|]", "[Play|Put on] \"{0}\" by {1}[.|]"],
        [("status state".split(), lambda g: g.choice(("playing", "ok", "started")))], ["Now playing {0}.", "Done, {0} is playing."]),
    "event": (
        "create_event add_event add_to_calendar schedule_meeting create_calendar_event".split(), ["Create a calendar event.", "Adds an event to the calendar."],
        [("title title name event summary".split(), STRING, ["Title of the event"], _phrase), ("date date day when".split(), STRING, ["Date of the event"], words.date),
         ("time time start hour start_time".split(), STRING, ["Start time"], words.clock)],
        ["[Add|Create|Schedule|Please add] [an event |a meeting |]called \"{0}\" on {1} at {2}[.|]", "[Put|Add] \"{0}\" [in|to] my calendar on {1}[.| at {2}.]", "[Schedule|Plan] {0} for {1} at {2}[.|]"],
        [("status id".split(), lambda g: g.choice(("created", "ok", "saved")))], ["The event {0} is in your calendar.", "Done, I have added {0} on {1}."]),
    "light": (
        "set_light switch_light turn_on_light control_light smart_light".split(), ["Switch a light on or off.", "Controls the light in a room."],
        [("room room location where".split(), STRING, ["The room"], lambda g: g.choice(ROOMS)), ("state state power action".split(), ("on", "off"), ["on or off"], lambda g: g.choice(("on", "off")))],
        ["[Turn|Switch|Please turn] {1} the light[s|] in the {0}[.|, please.|]", "[Turn|Switch] the {0} light[s|] {1}[.|]", "{0} light {1}[ please|]"],
        [("status state".split(), lambda g: g.choice(("ok", "done", "success")))], ["The light in the {0} is {1}.", "Done, the {0} light is {1}."]),
    "population": (
        "get_population population_of population city_population".split(), ["Get the population of a place.", "Number of people living in a city."],
        [("city city place name location".split(), STRING, ["The place"], words.city)],
        ["[What is|What's|Tell me] the population of {0}[?|]", "How many people live in {0}?", "population of {0}?"],
        [("population people count value".split(), lambda g: g.randint(1000, 9999999))], ["The population of {0} is {r0}.", "{r0} people live in {0}."]),
    "distance": (
        "get_distance distance route_distance calculate_distance".split(), ["Distance between two places.", "Get the distance in kilometres."],
        [("origin from start source".split(), STRING, ["Start"], words.city), ("destination to end target".split(), STRING, ["Destination"], words.city)],
        ["How far is it from {0} to {1}?", "[What is|Tell me|Get] the distance [from {0} to {1}|between {0} and {1}][?|]", "distance from {0} to {1}"],
        [("distance km distance_km kilometres".split(), lambda g: g.randint(10, 9000))], ["It is {r0} kilometres from {0} to {1}.", "The distance from {0} to {1} is {r0} kilometres."]),
    "order": (
        "get_order_status track_order order_status check_order find_order track_package".split(), ["Get the status of an order.", "Track a package by its id."],
        [("order_id order_id id number order tracking_number".split(), STRING, ["Id of the order"], words.identifier)],
        ["[Where is|What is the status of|Track|Check|What's up with] [my |the |]order {0}[?|]", "[Has|Did] order {0} [shipped|arrive][?|]", "[Status of|Look up] order {0}[.|?|]", "My order number is {0}. Where is it?"],
        [("status state".split(), lambda g: g.choice(("shipped", "delivered", "pending", "on the way", "cancelled", "packed", "delayed")))],
        ["Order {0} is {r0}.", "The status of order {0} is: {r0}."]),
    "note": (
        "save_note add_note create_note write_note remember_note add_todo".split(), ["Save a note.", "Adds a note to the list."],
        [("text text note content".split(), STRING, ["Text of the note"], _phrase)],
        ["[Save|Write|Add|Make|Take] a note: {0}", "Note down \"{0}\"[.|]", "[Add|Put] \"{0}\" [to|on] my [notes|list][.|]"],
        [("status id".split(), lambda g: g.choice(("saved", "ok", "created")))], ["I have saved the note.", "Done, the note is saved."]),
    "user": (
        "get_user find_user lookup_user get_customer user_info find_person".split(), ["Get information about a user.", "Finds a user by name."],
        [("name username user user_name person".split(), STRING, ["Name of the user"], words.name_like)],
        ["[Find|Look up|Get|Show me] [the user|user|the customer|information about|data of] {0}[.|]", "Who is [user |]{0}?", "[Do we have|Is there] a user [called|named] {0}?", "[What is|What's] the email of {0}?"],
        [("email mail contact".split(), words.email)], ["The email of {0} is {r0}.", "I found {0}: {r0}."]),
    "random": (
        "random_number roll_dice get_random_number random_integer".split(), ["Get a random number.", "Random number between two limits."],
        [("min minimum low from".split(), INTEGER, ["Lower limit"], lambda g: g.randint(0, 10)), ("max maximum high to".split(), INTEGER, ["Upper limit"], lambda g: g.randint(11, 1000))],
        ["[Give me|Pick|Get|I need] a random number [between {0} and {1}|from {0} to {1}][.|]", "[Random number|Choose a number] between {0} and {1}[.|]"],
        [("number value result".split(), _small)], ["Your number is {r0}.", "The random number is {r0}."]),
}
