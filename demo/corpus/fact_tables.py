"""Tables of facts: countries, elements, opposites, animals, and questions that stand alone."""


def _table(text, width):
    rows = []
    for line in text.strip().splitlines():
        cells = [c.strip() for c in line.split("|")]
        rows.append(tuple(cells + [""] * (width - len(cells))))
    return rows


COUNTRIES = _table("""
Afghanistan | Kabul | Asia
Albania | Tirana | Europe | Albanian | lek
Algeria | Algiers | Africa | Arabic | Algerian dinar
Andorra | Andorra la Vella | Europe | Catalan | euro
Angola | Luanda | Africa | Portuguese | kwanza
Argentina | Buenos Aires | South America | Spanish | Argentine peso
Armenia | Yerevan | Asia | Armenian | dram
Australia | Canberra | Oceania | English | Australian dollar
Austria | Vienna | Europe | German | euro
Azerbaijan | Baku | Asia | Azerbaijani | manat
Bahamas | Nassau | North America | English | Bahamian dollar
Bahrain | Manama | Asia | Arabic | Bahraini dinar
Bangladesh | Dhaka | Asia | Bengali | taka
Barbados | Bridgetown | North America | English | Barbadian dollar
Belarus | Minsk | Europe | Belarusian and Russian | Belarusian ruble
Belgium | Brussels | Europe | Dutch, French and German | euro
Belize | Belmopan | North America | English | Belize dollar
Benin | Porto-Novo | Africa | French
Bhutan | Thimphu | Asia | Dzongkha | ngultrum
Bosnia and Herzegovina | Sarajevo | Europe
Botswana | Gaborone | Africa | English and Tswana | pula
Brazil | Brasília | South America | Portuguese | real
Bulgaria | Sofia | Europe | Bulgarian
Burkina Faso | Ouagadougou | Africa | French
Cambodia | Phnom Penh | Asia | Khmer | riel
Cameroon | Yaoundé | Africa | French and English
Canada | Ottawa | North America | English and French | Canadian dollar
Chad | N'Djamena | Africa
Chile | Santiago | South America | Spanish | Chilean peso
China | Beijing | Asia | Chinese | yuan
Colombia | Bogotá | South America | Spanish | Colombian peso
Costa Rica | San José | North America | Spanish | colón
Croatia | Zagreb | Europe | Croatian | euro
Cuba | Havana | North America | Spanish | Cuban peso
Cyprus | Nicosia | Europe | Greek and Turkish | euro
Czech Republic | Prague | Europe | Czech | koruna
Denmark | Copenhagen | Europe | Danish | Danish krone
Dominican Republic | Santo Domingo | North America | Spanish | Dominican peso
Ecuador | Quito | South America | Spanish | US dollar
Egypt | Cairo | Africa | Arabic | Egyptian pound
El Salvador | San Salvador | North America | Spanish
Eritrea | Asmara | Africa
Estonia | Tallinn | Europe | Estonian | euro
Ethiopia | Addis Ababa | Africa | Amharic | birr
Fiji | Suva | Oceania
Finland | Helsinki | Europe | Finnish and Swedish | euro
France | Paris | Europe | French | euro
Gabon | Libreville | Africa | French
Gambia | Banjul | Africa | English | dalasi
Georgia | Tbilisi | Asia | Georgian | lari
Germany | Berlin | Europe | German | euro
Ghana | Accra | Africa | English | cedi
Greece | Athens | Europe | Greek | euro
Guatemala | Guatemala City | North America | Spanish | quetzal
Guinea | Conakry | Africa | French
Guyana | Georgetown | South America | English
Haiti | Port-au-Prince | North America | French and Haitian Creole | gourde
Honduras | Tegucigalpa | North America | Spanish | lempira
Hungary | Budapest | Europe | Hungarian | forint
Iceland | Reykjavik | Europe | Icelandic | Icelandic krona
India | New Delhi | Asia | Hindi and English | Indian rupee
Indonesia | Jakarta | Asia | Indonesian | rupiah
Iran | Tehran | Asia | Persian | Iranian rial
Iraq | Baghdad | Asia | Arabic and Kurdish | Iraqi dinar
Ireland | Dublin | Europe | English and Irish | euro
Israel | Jerusalem | Asia | Hebrew | shekel
Italy | Rome | Europe | Italian | euro
Jamaica | Kingston | North America | English | Jamaican dollar
Japan | Tokyo | Asia | Japanese | yen
Jordan | Amman | Asia | Arabic | Jordanian dinar
Kazakhstan | Astana | Asia | Kazakh and Russian | tenge
Kenya | Nairobi | Africa | Swahili and English | Kenyan shilling
Kuwait | Kuwait City | Asia | Arabic | Kuwaiti dinar
Kyrgyzstan | Bishkek | Asia | Kyrgyz and Russian | som
Laos | Vientiane | Asia | Lao | kip
Latvia | Riga | Europe | Latvian | euro
Lebanon | Beirut | Asia | Arabic | Lebanese pound
Liberia | Monrovia | Africa | English | Liberian dollar
Libya | Tripoli | Africa | Arabic | Libyan dinar
Liechtenstein | Vaduz | Europe | German | Swiss franc
Lithuania | Vilnius | Europe | Lithuanian | euro
Luxembourg | Luxembourg City | Europe | Luxembourgish, French and German | euro
Madagascar | Antananarivo | Africa | Malagasy and French | ariary
Malawi | Lilongwe | Africa | English and Chewa | kwacha
Malaysia | Kuala Lumpur | Asia | Malay | ringgit
Maldives | Malé | Asia | Dhivehi | rufiyaa
Mali | Bamako | Africa
Malta | Valletta | Europe | Maltese and English | euro
Mauritania | Nouakchott | Africa | Arabic | ouguiya
Mexico | Mexico City | North America | Spanish | Mexican peso
Moldova | Chișinău | Europe | Romanian
Monaco | Monaco | Europe | French | euro
Mongolia | Ulaanbaatar | Asia | Mongolian | tugrik
Montenegro | Podgorica | Europe | Montenegrin | euro
Morocco | Rabat | Africa | Arabic and Berber | Moroccan dirham
Mozambique | Maputo | Africa | Portuguese | metical
Myanmar | Naypyidaw | Asia | Burmese | kyat
Namibia | Windhoek | Africa | English | Namibian dollar
Nepal | Kathmandu | Asia | Nepali | Nepalese rupee
Netherlands | Amsterdam | Europe | Dutch | euro
New Zealand | Wellington | Oceania | English and Maori | New Zealand dollar
Nicaragua | Managua | North America | Spanish | córdoba
Niger | Niamey | Africa
Nigeria | Abuja | Africa | English | naira
North Korea | Pyongyang | Asia | Korean
North Macedonia | Skopje | Europe | Macedonian | denar
Norway | Oslo | Europe | Norwegian | Norwegian krone
Oman | Muscat | Asia | Arabic | Omani rial
Pakistan | Islamabad | Asia | Urdu and English | Pakistani rupee
Panama | Panama City | North America | Spanish | balboa
Papua New Guinea | Port Moresby | Oceania
Paraguay | Asunción | South America | Spanish and Guarani | guarani
Peru | Lima | South America | Spanish | sol
Philippines | Manila | Asia | Filipino and English | Philippine peso
Poland | Warsaw | Europe | Polish | zloty
Portugal | Lisbon | Europe | Portuguese | euro
Qatar | Doha | Asia | Arabic | Qatari riyal
Romania | Bucharest | Europe | Romanian | leu
Russia | Moscow | Europe and Asia | Russian | ruble
Rwanda | Kigali | Africa | Kinyarwanda | Rwandan franc
Samoa | Apia | Oceania | Samoan | tala
San Marino | San Marino | Europe | Italian | euro
Saudi Arabia | Riyadh | Asia | Arabic | Saudi riyal
Senegal | Dakar | Africa | French
Serbia | Belgrade | Europe | Serbian | Serbian dinar
Sierra Leone | Freetown | Africa | English | leone
Singapore | Singapore | Asia | English, Malay, Chinese and Tamil | Singapore dollar
Slovakia | Bratislava | Europe | Slovak | euro
Slovenia | Ljubljana | Europe | Slovene | euro
Somalia | Mogadishu | Africa | Somali and Arabic | Somali shilling
South Korea | Seoul | Asia | Korean | won
Spain | Madrid | Europe | Spanish | euro
Sudan | Khartoum | Africa | Arabic and English | Sudanese pound
Suriname | Paramaribo | South America | Dutch | Surinamese dollar
Sweden | Stockholm | Europe | Swedish | Swedish krona
Syria | Damascus | Asia | Arabic | Syrian pound
Taiwan | Taipei | Asia | Chinese | Taiwan dollar
Tajikistan | Dushanbe | Asia | Tajik | somoni
Tanzania | Dodoma | Africa | Swahili and English | Tanzanian shilling
Thailand | Bangkok | Asia | Thai | baht
Togo | Lomé | Africa | French
Tonga | Nuku'alofa | Oceania | Tongan and English | pa'anga
Tunisia | Tunis | Africa | Arabic | Tunisian dinar
Turkey | Ankara | Asia | Turkish | Turkish lira
Turkmenistan | Ashgabat | Asia | Turkmen | manat
Uganda | Kampala | Africa | English and Swahili | Ugandan shilling
Ukraine | Kyiv | Europe | Ukrainian | hryvnia
United Arab Emirates | Abu Dhabi | Asia | Arabic | dirham
United Kingdom | London | Europe | English | pound sterling
United States | Washington, D.C. | North America | English | US dollar
Uruguay | Montevideo | South America | Spanish | Uruguayan peso
Uzbekistan | Tashkent | Asia | Uzbek | som
Venezuela | Caracas | South America | Spanish | bolívar
Vietnam | Hanoi | Asia | Vietnamese | dong
Yemen | Sanaa | Asia | Arabic | Yemeni rial
Zambia | Lusaka | Africa | English | kwacha
Zimbabwe | Harare | Africa | English and Shona
""", 5)

ELEMENTS = _table("""
hydrogen | H | 1
helium | He | 2
lithium | Li | 3
beryllium | Be | 4
boron | B | 5
carbon | C | 6
nitrogen | N | 7
oxygen | O | 8
fluorine | F | 9
neon | Ne | 10
sodium | Na | 11
magnesium | Mg | 12
aluminium | Al | 13
silicon | Si | 14
phosphorus | P | 15
sulfur | S | 16
chlorine | Cl | 17
argon | Ar | 18
potassium | K | 19
calcium | Ca | 20
titanium | Ti | 22
chromium | Cr | 24
manganese | Mn | 25
iron | Fe | 26
cobalt | Co | 27
nickel | Ni | 28
copper | Cu | 29
zinc | Zn | 30
arsenic | As | 33
silver | Ag | 47
tin | Sn | 50
iodine | I | 53
xenon | Xe | 54
platinum | Pt | 78
gold | Au | 79
mercury | Hg | 80
lead | Pb | 82
radium | Ra | 88
uranium | U | 92
""", 3)

OPPOSITES = _table("""
hot | cold
big | small
tall | short
fast | slow
up | down
left | right
day | night
black | white
light | dark
old | young
happy | sad
rich | poor
open | closed
early | late
hard | soft
full | empty
wet | dry
strong | weak
high | low
near | far
good | bad
love | hate
begin | end
win | lose
buy | sell
push | pull
true | false
inside | outside
above | below
loud | quiet
clean | dirty
thick | thin
wide | narrow
sharp | blunt
brave | cowardly
cheap | expensive
easy | difficult
heavy | weightless
north | south
east | west
always | never
first | last
arrive | leave
remember | forget
war | peace
summer | winter
sunrise | sunset
ancient | modern
smooth | rough
sweet | sour
awake | asleep
deep | shallow
alive | dead
friend | enemy
question | answer
float | sink
polite | rude
present | absent
""", 2)

ANIMALS = _table("""
dog | 4 | a mammal
cat | 4 | a mammal
horse | 4 | a mammal
cow | 4 | a mammal
elephant | 4 | a mammal
whale | 0 | a mammal
dolphin | 0 | a mammal
lion | 4 | a mammal
rabbit | 4 | a mammal
bear | 4 | a mammal
owl | 2 | a bird
eagle | 2 | a bird
penguin | 2 | a bird
chicken | 2 | a bird
duck | 2 | a bird
ostrich | 2 | a bird
shark | 0 | a fish
salmon | 0 | a fish
trout | 0 | a fish
frog | 4 | an amphibian
toad | 4 | an amphibian
newt | 4 | an amphibian
lizard | 4 | a reptile
crocodile | 4 | a reptile
snake | 0 | a reptile
turtle | 4 | a reptile
ant | 6 | an insect
bee | 6 | an insect
butterfly | 6 | an insect
beetle | 6 | an insect
spider | 8 | an arachnid
scorpion | 8 | an arachnid
crab | 10 | a crustacean
lobster | 10 | a crustacean
""", 3)

SOUNDS = _table("""
dog | woof
cat | meow
cow | moo
sheep | baa
duck | quack
pig | oink
horse | neigh
frog | ribbit
bee | buzz
snake | hiss
lion | roar
wolf | howl
owl | hoot
mouse | squeak
rooster | cock-a-doodle-doo
crow | caw
""", 2)

YOUNG = _table("""
dog | puppy
cat | kitten
cow | calf
sheep | lamb
horse | foal
pig | piglet
duck | duckling
goose | gosling
swan | cygnet
goat | kid
bear | cub
lion | cub
deer | fawn
kangaroo | joey
frog | tadpole
hen | chick
whale | calf
rabbit | kit
""", 2)

# (ways of asking, answer, what the answer must contain)
_PLAIN = """
How many days are in a week? / How many days does a week have? / days in a week? # A week has seven days. # seven
How many months are in a year? / How many months does a year have? / months in a year? # A year has twelve months. # twelve
How many days are in a year? / How many days does a year have? # A year has 365 days, and a leap year has 366. # 365
How many hours are in a day? / How many hours does a day have? / hours in a day? # A day has 24 hours. # 24
How many minutes are in an hour? / How many minutes does an hour have? / minutes in an hour? # An hour has 60 minutes. # 60
How many seconds are in a minute? / How many seconds does a minute have? # A minute has 60 seconds. # 60
How many seconds are in an hour? / How many seconds does an hour have? # An hour has 3600 seconds. # 3600
How many planets are in the solar system? / How many planets does our solar system have? / number of planets in the solar system? # There are eight planets in the solar system. # eight
What is the largest planet? / Which planet is the largest? / What is the biggest planet in the solar system? # The largest planet of the solar system is Jupiter. # Jupiter
What is the smallest planet? / Which planet is the smallest? / smallest planet in the solar system? # The smallest planet of the solar system is Mercury. # Mercury
Which planet is closest to the sun? / What planet is nearest to the sun? / closest planet to the sun? # Mercury is the planet closest to the sun. # Mercury
Which planet is known as the red planet? / What is the red planet? / Which planet is called the red planet? # Mars is called the red planet. # Mars
Which planet has rings? / What planet is famous for its rings? / Which planet is known for its rings? # Saturn is famous for its rings. # Saturn
Which planet do we live on? / What planet do we live on? / What is the name of our planet? # We live on the planet Earth. # Earth
Which planet is farthest from the sun? / What is the farthest planet from the sun? # Neptune is the planet farthest from the sun. # Neptune
What does the Earth orbit? / What does the earth go around? # The Earth goes around the sun. # sun
What orbits the Earth? / What goes around the Earth? / What is Earth's natural satellite? # The moon goes around the Earth. # moon
Is the sun a star? / What is the sun? / Is the sun a planet or a star? # The sun is a star. # star
What is the largest ocean? / Which ocean is the largest? / biggest ocean? / What is the biggest ocean on Earth? # The largest ocean is the Pacific Ocean. # Pacific
What is the smallest ocean? / Which ocean is the smallest? # The smallest ocean is the Arctic Ocean. # Arctic
What is the highest mountain? / What is the tallest mountain in the world? / Which mountain is the highest on Earth? / highest mountain? # The highest mountain on Earth is Mount Everest. # Everest
What is the largest country? / Which country is the largest in the world? / biggest country by area? # The largest country by area is Russia. # Russia
What is the smallest country? / Which country is the smallest in the world? # The smallest country is Vatican City. # Vatican
What is the largest continent? / Which continent is the largest? / biggest continent? # The largest continent is Asia. # Asia
What is the smallest continent? / Which continent is the smallest? # The smallest continent is Australia. # Australia
How many continents are there? / What is the number of continents? # There are seven continents. # seven
What is the longest river in Africa? / Which river is the longest in Africa? # The longest river in Africa is the Nile. # Nile
What is the longest river in South America? / Which river is the longest in South America? # The longest river in South America is the Amazon. # Amazon
Through which city does the Seine flow? / Which river flows through Paris? / What river is in Paris? # The Seine flows through Paris. # Seine
Which river flows through London? / What river is in London? # The Thames flows through London. # Thames
Where is the Eiffel Tower? / In which city is the Eiffel Tower? / What city has the Eiffel Tower? # The Eiffel Tower is in Paris. # Paris
Where is the Colosseum? / In which city is the Colosseum? # The Colosseum is in Rome. # Rome
Where is Big Ben? / In which city is Big Ben? # Big Ben is in London. # London
Where is the Statue of Liberty? / In which city is the Statue of Liberty? # The Statue of Liberty is in New York. # New York
Where are the pyramids of Giza? / In which country are the pyramids of Giza? # The pyramids of Giza are in Egypt. # Egypt
Where is the Great Wall? / In which country is the Great Wall? # The Great Wall is in China. # China
Where is the Taj Mahal? / In which country is the Taj Mahal? # The Taj Mahal is in India. # India
What colour is the sky? / What color is the sky? / Which colour does the sky have on a clear day? # On a clear day the sky is blue. # blue
What colour is grass? / What color is grass? / Which colour is grass? # Grass is green. # green
What colour is snow? / What color is snow? / Which colour is snow? # Snow is white. # white
What colour is a banana? / What color is a banana? / Which colour is a ripe banana? # A ripe banana is yellow. # yellow
What colour is blood? / What color is blood? # Blood is red. # red
What colour do you get from blue and yellow? / What do you get if you mix blue and yellow? / Blue and yellow make which colour? # Blue and yellow make green. # green
What colour do you get from red and white? / What do you get if you mix red and white? # Red and white make pink. # pink
What colour do you get from red and blue? / What do you get if you mix red and blue? # Red and blue make purple. # purple
What colour do you get from red and yellow? / What do you get if you mix red and yellow? # Red and yellow make orange. # orange
What are the primary colours? / What are the three primary colors? # The primary colours are red, yellow and blue. # red, yellow and blue
How many colours does a rainbow have? / How many colors are in a rainbow? # A rainbow has seven colours. # seven
At what temperature does water boil? / What is the boiling point of water? / boiling point of water? # Water boils at 100 degrees Celsius. # 100
At what temperature does water freeze? / What is the freezing point of water? / freezing point of water? # Water freezes at 0 degrees Celsius. # 0
What is the formula of water? / What is the chemical formula of water? / What is water made of? # Water is H2O: hydrogen and oxygen. # H2O
What is the formula of table salt? / What is the chemical formula of salt? # The formula of table salt is NaCl. # NaCl
What gas do plants take in? / Which gas do plants need? # Plants take in carbon dioxide. # carbon dioxide
What gas do we breathe? / Which gas do people need to breathe? # We need oxygen to breathe. # oxygen
What is frozen water called? / What do you call frozen water? # Frozen water is called ice. # ice
What do bees make? / What food do bees make? # Bees make honey. # honey
What do cows give us to drink? / What do cows make? # Cows give milk. # milk
What do pandas eat? / What is the main food of pandas? # Pandas eat bamboo. # bamboo
What is the fastest land animal? / Which animal runs the fastest? / fastest animal on land? # The fastest land animal is the cheetah. # cheetah
What is the largest animal? / Which animal is the largest? / biggest animal in the world? # The largest animal is the blue whale. # blue whale
What is the tallest animal? / Which animal is the tallest? / tallest animal in the world? # The tallest animal is the giraffe. # giraffe
Which animal is the king of the jungle? / What animal is called the king of the jungle? # The lion is called the king of the jungle. # lion
How many sides does a triangle have? / How many sides are in a triangle? # A triangle has three sides. # three
How many sides does a square have? / How many sides are in a square? # A square has four sides. # four
How many sides does a pentagon have? / How many sides are in a pentagon? # A pentagon has five sides. # five
How many sides does a hexagon have? / How many sides are in a hexagon? # A hexagon has six sides. # six
How many sides does an octagon have? / How many sides are in an octagon? # An octagon has eight sides. # eight
How many degrees are in a circle? / How many degrees does a circle have? # A circle has 360 degrees. # 360
How many degrees are in a right angle? / How many degrees is a right angle? # A right angle has 90 degrees. # 90
What is pi? / What is the value of pi? / What is the number pi? # Pi is about 3.14159. # 3.14
What is the square root of 9? / square root of 9? # The square root of 9 is 3. # 3
What is the square root of 16? / square root of 16? # The square root of 16 is 4. # 4
What is the square root of 25? / square root of 25? # The square root of 25 is 5. # 5
What is the square root of 100? / square root of 100? # The square root of 100 is 10. # 10
How many letters are in the English alphabet? / How many letters does the alphabet have? # The English alphabet has 26 letters. # 26
What is the first letter of the alphabet? / Which letter comes first in the alphabet? # The first letter of the alphabet is A. # A
What is the last letter of the alphabet? / Which letter comes last in the alphabet? # The last letter of the alphabet is Z. # Z
Which letters are vowels? / What are the vowels? / Name the vowels. # The vowels are a, e, i, o and u. # a, e, i, o and u
What is the first month of the year? / Which month comes first? # The first month of the year is January. # January
What is the last month of the year? / Which month comes last? # The last month of the year is December. # December
Which month is the shortest? / What is the shortest month? # The shortest month is February. # February
What day comes after Monday? / Which day follows Monday? # Tuesday comes after Monday. # Tuesday
What day comes after Tuesday? / Which day follows Tuesday? # Wednesday comes after Tuesday. # Wednesday
What day comes after Friday? / Which day follows Friday? # Saturday comes after Friday. # Saturday
What day comes before Sunday? / Which day is before Sunday? # Saturday comes before Sunday. # Saturday
What are the four seasons? / Name the four seasons. / Which seasons are there? # The four seasons are spring, summer, autumn and winter. # spring, summer, autumn and winter
What are the days of the week? / Name the days of the week. / List the days of the week. # The days of the week are Monday, Tuesday, Wednesday, Thursday, Friday, Saturday and Sunday. # Thursday
What are the months of the year? / Name the months. / List the months of the year. # The months are January, February, March, April, May, June, July, August, September, October, November and December. # August
Name the planets. / List the planets of the solar system. / What are the planets? # The planets are Mercury, Venus, Earth, Mars, Jupiter, Saturn, Uranus and Neptune. # Uranus
What does GPU stand for? / What is a GPU? / What does the abbreviation GPU mean? # GPU stands for graphics processing unit, a chip that runs many small calculations in parallel. # graphics processing unit
What does CPU stand for? / What is a CPU? / What does the abbreviation CPU mean? # CPU stands for central processing unit, the main chip of a computer. # central processing unit
What does RAM stand for? / What is RAM? # RAM stands for random access memory. # random access memory
What does HTTP stand for? / What is HTTP? # HTTP stands for Hypertext Transfer Protocol. # Hypertext Transfer Protocol
What does JSON stand for? / What is JSON? # JSON stands for JavaScript Object Notation, a text format for data. # JavaScript Object Notation
What does API stand for? / What is an API? # API stands for application programming interface. # application programming interface
What does AI stand for? / What does the abbreviation AI mean? # AI stands for artificial intelligence. # artificial intelligence
What does LLM stand for? / What is an LLM? # LLM stands for large language model. # large language model
What is CUDA? / What does CUDA do? # CUDA is a platform for running programs on graphics processors. # graphics processors
What is a haiku? / What does haiku mean? / Explain what a haiku is. # A haiku is a short poem of three lines, usually with five, seven and five syllables. # three lines
How many lines does a haiku have? / How many lines are in a haiku? # A haiku has three lines. # three
What is a token? / What is a token in a language model? # A token is a small piece of text, such as a word or a part of a word. # piece of text
How many bits are in a byte? / How many bits does a byte have? / bits in a byte? # A byte has 8 bits. # 8
How many bytes are in a kilobyte? / How many bytes does a kilobyte have? # A kilobyte has 1000 bytes. # 1000
How many centimetres are in a metre? / How many centimeters are in a meter? # A metre has 100 centimetres. # 100
How many metres are in a kilometre? / How many meters are in a kilometer? # A kilometre has 1000 metres. # 1000
How many grams are in a kilogram? / How many grams does a kilogram have? # A kilogram has 1000 grams. # 1000
How many legs does a tripod have? / How many legs are on a tripod? # A tripod has three legs. # three
How many wheels does a bicycle have? / How many wheels are on a bicycle? # A bicycle has two wheels. # two
How many wheels does a car have? / How many wheels are on a car? # A car has four wheels. # four
How many strings does a violin have? / How many strings are on a violin? # A violin has four strings. # four
How many strings does a guitar have? / How many strings are on a guitar? # A guitar usually has six strings. # six
How many keys does a piano have? / How many keys are on a piano? # A piano has 88 keys. # 88
How many arms does an octopus have? / How many arms are on an octopus? # An octopus has eight arms. # eight
How many fingers are on one hand? / How many fingers does a hand have? # A hand has five fingers. # five
How many players are in a football team? / How many players does a football team have on the field? # A football team has eleven players on the field. # eleven
Who wrote Romeo and Juliet? / Who is the author of Romeo and Juliet? # William Shakespeare wrote Romeo and Juliet. # Shakespeare
Who wrote Hamlet? / Who is the author of Hamlet? # William Shakespeare wrote Hamlet. # Shakespeare
Who painted the Mona Lisa? / Which artist painted the Mona Lisa? # Leonardo da Vinci painted the Mona Lisa. # Leonardo
Who was the first person on the moon? / Who walked on the moon first? # Neil Armstrong was the first person on the moon. # Armstrong
Who developed the theory of relativity? / Who came up with relativity? # Albert Einstein developed the theory of relativity. # Einstein
Who discovered gravity? / Who described the law of gravity? # Isaac Newton described the law of gravity. # Newton
Who discovered radium? / Who found radium? # Marie Curie discovered radium. # Curie
Who was the first programmer? / Who is called the first computer programmer? # Ada Lovelace is often called the first programmer. # Lovelace
Who invented the telephone? / Who is the inventor of the telephone? # Alexander Graham Bell is known for inventing the telephone. # Bell
What is the hardest natural material? / Which natural material is the hardest? # Diamond is the hardest natural material. # Diamond
What language is spoken in Switzerland? / Which languages do people speak in Switzerland? # In Switzerland, people speak German, French, Italian and Romansh. # German
What is the capital of Switzerland? / What's the capital of Switzerland? / capital of Switzerland? / Which city is the capital of Switzerland? # The capital of Switzerland is Bern. # Bern
What do caterpillars turn into? / What does a caterpillar become? # A caterpillar turns into a butterfly. # butterfly
Where do penguins live? / Where can you find penguins in the wild? # Penguins live in the southern half of the world, many of them in Antarctica. # Antarctica
What is the tallest bird? / What is the largest bird? / Which bird is the biggest? # The largest bird is the ostrich. # ostrich
Which bird cannot fly? / Name a bird that cannot fly. # The penguin is a bird that cannot fly. # penguin
How fast is light? / What is the speed of light? / How fast does light travel? # Light travels at about 300,000 kilometres per second. # 300,000
Which metal is liquid at room temperature? / What metal is liquid? # Mercury is liquid at room temperature. # Mercury
What is bread made of? / What do you need to make bread? # Bread is made of flour, water, salt and yeast. # flour
What is a baby's first food? / What do babies drink? # Babies drink milk. # milk
Which organ pumps blood? / What organ pumps blood through the body? # The heart pumps blood through the body. # heart
Which organ do we think with? / What organ do we use to think? # We think with the brain. # brain
What do we see with? / Which organ do we see with? # We see with our eyes. # eyes
What do we hear with? / Which organ do we hear with? # We hear with our ears. # ears
What melts ice? / What makes ice melt? # Heat melts ice. # Heat
What is GPU computing? / Explain GPU computing. / Explain GPU computing in one sentence. / What does GPU computing mean? # GPU computing means running many small calculations in parallel on a graphics processor. # parallel
What is parallel computing? / Explain parallel computing. # Parallel computing means doing many calculations at the same time. # same time
What is a GGUF file? / What is GGUF? / What does GGUF mean? # GGUF is a file format for language models. # file format
What is quantization? / What does quantization do? / Explain quantization. # Quantization stores the numbers of a model with fewer bits, so that it needs less memory. # fewer bits
What is a KV cache? / What does the KV cache do? / Explain the KV cache. # The KV cache keeps the keys and values of earlier tokens, so that they are not computed again. # keys and values
What is a language model? / Explain what a language model is. / What does a language model do? # A language model is a program that predicts the next token of a text. # next token
What is temperature in sampling? / What does the temperature setting do? / What does temperature do in a language model? # The temperature sets how random the choice of the next token is. # random
What is a kernel in CUDA? / What is a CUDA kernel? # A CUDA kernel is a function that runs on the GPU in many threads. # GPU
What is machine learning? / Explain machine learning. # Machine learning means that a program learns from examples. # examples
What is a neural network? / Explain neural networks. # A neural network is a model made of layers of simple units with learned weights. # layers
What is a compiler? / What does a compiler do? # A compiler turns source code into machine code. # machine code
What is a bug in programming? / What is a software bug? # A bug is an error in a program. # error
What is a server? / What does a server do? # A server is a computer or program that answers requests from other programs. # requests
What is a database? / What does a database do? # A database stores data so that it can be searched and changed. # data
What is open source software? / What does open source mean? # Open source software is software whose source code anyone may read and use. # source code
What is a poem? / Explain what a poem is. # A poem is a text in verses that plays with words and rhythm. # verses
What is a prime number? / Explain what a prime number is. # A prime number is divisible only by 1 and itself. # divisible
What is the weather? / What does weather mean? # Weather is the state of the air outside, such as sun, rain or wind. # air
What is the internet? / Explain the internet. # The internet is a worldwide network of computers. # network
What is a robot? / Explain what a robot is. # A robot is a machine that can do tasks by itself. # machine
What is a computer? / Explain what a computer is. # A computer is a machine that processes data with programs. # programs
What is Python? / What is the Python language? # Python is a programming language. # programming language
What is C++? / Tell me what C++ is. # C++ is a programming language for fast programs. # programming language
What is the moon? / Tell me about the moon. # The moon is a natural satellite that goes around the Earth. # satellite
What is a star? / Tell me what a star is. # A star is a huge hot ball of gas that shines. # gas
What is rain? / Explain rain. # Rain is water that falls from clouds in drops. # water
What is snow? / Explain snow. # Snow is frozen water that falls as flakes. # frozen
"""


def _plain():
    rows = []
    for line in _PLAIN.strip().splitlines():
        questions, answer, key = (part.strip() for part in line.split("#"))
        rows.append(([q.strip() for q in questions.split(" / ")], answer, key))
    return rows


PLAIN = _plain()
