"""Generates short prompts of kinds that look alike but differ in their label.

The pairs: code to write down and code to work out, a fact to recall and facts to combine, a number that is only mentioned and a
number to compute, a wish and a dilemma. A kind is a function of a random generator that returns a prompt; `KINDS` has its label.
"""

import random

from .puzzles import CITIES, DAYS, NAMES, THINGS

LANGUAGES = "Python|JavaScript|Java|C|Go|Rust|Ruby|PHP|TypeScript|Bash|Kotlin|C#|R|Perl|Swift".split("|")
PATTERNS = """a five digit zip code
an email address
a date like 2024-05-17
a hex colour
an IPv4 address
a licence plate with two letters and four digits
a line that starts with #
a 24 hour time
a credit card number with spaces
a word with a capital letter
an ISBN
a float with two decimals
a username of 3 to 16 characters
trailing white space
a URL
a German postcode""".split("\n")
SIMPLE = """adds two numbers
checks if a number is even
returns the largest of three numbers
reads a file line by line
turns a string into upper case
counts the vowels in a string
removes duplicates from a list
prints the numbers from 1 to 10
converts Celsius to Fahrenheit
returns the current date
joins two lists
checks whether a string is empty
sorts a list of names
flattens a list of lists
downloads a page
opens a CSV file and prints the header
returns the factorial of n
swaps two variables
generates a random password
checks if a word is a palindrome
reads an environment variable
parses a JSON string
sums a list
rounds to two decimals
counts the words in a text
merges two dictionaries
finds the file size
splits a string at commas""".split("\n")
TASKS = """undo the last commit in git
rename a branch in git
list all running containers
find files larger than 100 MB
see which process uses port 8080
make a virtual environment
install a package with npm
add an index to a table
delete a row in SQL
exit vim
check the Python version
restart nginx
copy a file over ssh
unzip a tar.gz
set an environment variable in bash
select distinct values of a column in SQL
add a column with a default in Postgres
turn a column of strings into dates in pandas
change the remote url of a repository
comment out several lines in VS Code
show hidden files on a Mac
create a symlink
kill a process
loop over a dictionary
freeze the top row in Excel
remove duplicates in Google Sheets
sum a column in Excel
insert a page break in Word
pin a message in Slack
share my screen
export a chat
turn on dark mode
reset a router
scan a document with my phone
block a number
clear the cache
back up my photos""".split("\n")
ONE_LINERS = """x = [i*i for i in range(10)]
SELECT name, age FROM users WHERE age > 30 ORDER BY name;
const sum = (a, b) => a + b;
for (int i = 0; i < 10; i++) printf("%d", i);
def greet(name): return f"Hello {name}"
git rebase -i HEAD~3
curl -s https://example.com | grep title
docker run -p 8080:80 nginx
if x is None: x = []
chmod 755 run.sh
<a href="/home">Home</a>
df.groupby("city").mean()
console.log(items.length)
awk '{print $2}' log.txt
let total = items.reduce((s, i) => s + i.price, 0);""".split("\n")
PEOPLE = """Ada Lovelace|Nelson Mandela|Frida Kahlo|Isaac Newton|Leonardo da Vinci|Rosa Parks|Johann Sebastian Bach|Marie Curie|Alan Turing|Ludwig
 van Beethoven|Mahatma Gandhi|Charles Darwin|Jane Austen|Pablo Picasso|Grace Hopper|Nikola Tesla|Virginia Woolf|Akira Kurosawa|Simone de Beauvoir
|Galileo Galilei|Catherine the Great|Abraham Lincoln|Cleopatra|Emmy Noether|Srinivasa Ramanujan|Miles Davis|Florence Nightingale|Gabriel Garcia
 Marquez|Hokusai|Rachel Carson|Chinua Achebe|Lise Meitner|David Bowie|Mary Shelley|Simon Bolivar|Hypatia|Ibn Battuta|Toni Morrison""".replace(
    "\n", ""
).split("|")
PLACES = "Peru|Norway|Kenya|Japan|Canada|Portugal|Vietnam|Egypt|Poland|Chile|Iceland|Morocco|Finland|Nepal|Ghana|Greece|Mexico|Thailand|Cuba|Ireland|Jordan|Bolivia|Latvia|Oman".split(
    "|"
)
WORKS = """Don Quixote|The Starry Night|The Marriage of Figaro|Casablanca|Middlemarch|Guernica|The Planets|Blade Runner|Beloved|Kind of Blue
|The Magic Mountain|Swan Lake|Things Fall Apart|Spirited Away|The Master and Margarita|Purple Rain|Hamilton|The Third Man|Dune|Carmen""".replace(
    "\n", ""
).split("|")
THINGS_OF_FACT = """the Rosetta Stone|the Hubble telescope|insulin|the bicycle|the World Wide Web|the Suez Canal|Esperanto|the barometer|the Red Cross
|the Nobel Peace Prize|the marathon|the metric system|Velcro|the saxophone|the Eurovision song contest|dynamite|the Panama Canal|aspirin
|the Winter Olympics|the Channel ferry|the pacemaker|the polio vaccine|the London Underground|the typewriter""".replace(
    "\n", ""
).split("|")
AWARDS = """Booker Prize|Fields Medal|Palme d'Or|Pritzker Prize|Nobel Prize in Chemistry|Turner Prize|Grammy for album of the year|Hugo Award
|Abel Prize|Golden Lion|Pulitzer Prize for fiction|IEEE Medal of Honor|Academy Award for best director|Stirling Prize|Ballon d'Or""".replace(
    "\n", ""
).split("|")
LEADERS = """the ECB|the Fed|the UN|the EU|a mayor|the city|Parliament|our CEO|the school board|a small museum|the health ministry|an NGO|my company
|a start-up|the national team's coach|the publisher|a landlord|Denmark|India|an airline|a village of 900|the hospital|the central bank""".replace(
    "\n", ""
).split("|")
MOVES = """raise rates while unemployment is rising
lower the voting age to 16
ban cars from the centre
open its books to the public
merge with its rival
subsidise heat pumps
drop the entrance exam
accept crypto
publish the names of late payers
bring back a night train
buy out the founder
cap rents
pay for performance
let staff work from abroad
sue the supplier
switch to a four-day week
break the strike
ration water
lift the embargo
return the sculpture to the country it came from
cancel the festival because of the forecast
invest in nuclear power
allow phones in class""".split("\n")
DILEMMAS = """I saw my friend's husband on a dating app
my sister asked me to lie to our parents about her job
my boss takes credit for my work
I was paid twice for the same job and nobody noticed
my neighbour parks on my spot and is very ill
my best friend wants to borrow 5000 again
a colleague drinks at work, and he has three children
I got the job that my friend wanted
my father wants to drive at 88
my roommate's cat destroys my things
I promised to help with a move and got concert tickets for the same day
my partner wants to move abroad and I have just been promoted
my ex asks to meet one last time
I found a mistake in a paper that I co-wrote
my team lead asked me not to report a safety issue
an old man gives me presents that are too expensive
my daughter wants to quit the violin after nine years""".split("\n")


def code_down(r):
    """Code that can be written down without reasoning."""
    lang = r.choice(LANGUAGES)
    return r.choice(
        [
            "Write a regex that matches {p}.",
            "regex for {p}",
            "Give me a regular expression for {p}",
            "How do I match {p} with a regex?",
            "Write a {l} function that {s}.",
            "{l}: a function that {s}",
            "Write a small {l} script that {s}.",
            "Show me how to write something in {l} that {s}.",
            "Give me a one-liner in {l} that {s}.",
            "How do I {t}?",
            "how to {t}",
            "What's the command to {t}?",
            "remind me how to {t}",
            "Show me an example of a for loop in {l}.",
            "What does this line do? {c}",
            "Explain this in one sentence: {c}",
            "Reformat this: {c}",
            "Add a comment to this line: {c}",
            "Rename the variable and change nothing else: {c}",
            "Translate this line to {l}: {c}",
            "What's the syntax for an if statement in {l}?",
            "Is {l} a compiled language?",
            "What does HTTP {n} mean?",
            "Write hello world in {l}",
            "What port does {db} use?",
            "Give me a docker compose file with {db}.",
            "Write a SQL query that selects the {n2} newest orders.",
            "What does the flag -{f} do in {u}?",
            "Write a unit test for a function that {s}.",
            "convert this to {l}: {c}",
            "Write a Makefile target that runs the tests.",
            "Write a .gitignore for {l}.",
            "What is the default timeout of {db}?",
            "Generate {n2} lines of dummy data as CSV: name, city, age.",
            "How do I print a variable in {l}?",
        ]
    ).format(
        l=lang,
        p=r.choice(PATTERNS),
        s=r.choice(SIMPLE),
        t=r.choice(TASKS),
        c=r.choice(ONE_LINERS),
        n=r.choice([200, 201, 204, 301, 304, 400, 401, 403, 404, 409, 422, 429, 500, 502, 503]),
        n2=r.choice([3, 5, 10, 20]),
        db=r.choice(["Postgres", "MySQL", "Redis", "MongoDB", "RabbitMQ", "Elasticsearch", "SSH", "SMTP"]),
        f=r.choice("rvnlapixzf"),
        u=r.choice(["grep", "tar", "ls", "rm", "curl", "ssh", "sort", "ps", "cut", "cp"]),
    )


def code_out(r):
    """Code that needs reasoning: why it fails, how to design it, what it computes."""
    symptom = r.choice(
        [
            "it hangs when the list is empty",
            "it is fast for 100 rows and never ends for 100,000",
            "every tenth request gets someone else's data",
            "it works in the debugger only",
            "the first run is right and the second is not",
            "the last row is missing now and then",
            "the counter ends below what I expect",
            "CPU is at 100 percent with no traffic",
            "the date is off by one day for users in Sydney",
            "the file is sometimes empty",
            "tests pass one by one and fail together",
            "the callback fires twice",
            "memory doubles with each reload",
            "sums of prices are off by a cent",
            "it deadlocks once a week",
        ]
    )
    part = r.choice(
        [
            "thread pool",
            "cache",
            "parser",
            "retry loop",
            "scheduler",
            "connection pool",
            "job queue",
            "React component",
            "migration",
            "rate limiter",
            "state machine",
            "file watcher",
            "batch import",
            "search index",
            "login flow",
        ]
    )
    return r.choice(
        [
            "My {l} {p}: {s}. Why?",
            "{S}. It is a {p} in {l}. What could be wrong?",
            "In our {p}, {s}. How do I find the cause?",
            "I wrote a {p} in {l} and {s}. What did I miss?",
            "Design a {p} in {l} that survives a crash half way, and explain the choices.",
            "How would you make a {p} safe under concurrent writes without a global lock?",
            "Refactor plan needed: our {p} has 4000 lines of {l} and no tests; {s}. Where do I start?",
            "Is it possible that {s} because of the {p}? How would I prove it?",
            "Implement a {p} in {l} with O(1) operations and argue that it is correct.",
            "What is the complexity of a {p} that rescans everything after each insert, and how can it be improved?",
            "Debug: {l} {p}, {s}",
            "We replaced the {p} and now {s}. Roll back or fix forward?",
            "Review the idea: each worker keeps its own {p} and syncs every 5 seconds. What breaks first?",
        ]
    ).format(l=r.choice(LANGUAGES), p=part, s=symptom, S=symptom[0].upper() + symptom[1:])


def recall(r):
    """A single fact, which a model knows or not."""
    return r.choice(
        [
            "In what year was {p} born?",
            "When did {p} die?",
            "Where was {p} born?",
            "Who was {p} married to?",
            "What was the name of {p}'s mother?",
            "What is {p} best known for?",
            "Who made {w}?",
            "What year did {w} come out?",
            "Which character opens {w}?",
            "Who directed the film version of {w}?",
            "In which city did {w} premiere?",
            "Who invented {f}?",
            "When was {f} first used?",
            "In what year was {f} founded or invented?",
            "Which country does {f} come from?",
            "What is the capital of {c}?",
            "What is the currency of {c}?",
            "Which languages are spoken in {c}?",
            "What's the highest mountain in {c}?",
            "What is the population of {c}?",
            "Who was the first president or head of state of {c}?",
            "Who won the {a} in {y}?",
            "Which film or book received the {a} in {y}?",
            "On which day, month and year did {p} receive the {a}?",
            "How many times has {c} won the {a}?",
            "What is the name of the airport of the capital of {c}?",
            "Name the architect of the town hall of {k}.",
            "On what street was {p} living in {y}?",
            "What was the title of {p}'s first published work?",
            "Which university did {p} attend?",
            "In which month of {y} did {p} visit {c}?",
            "who was mayor of {k} in {y}",
            "What is the first name of the drummer who played on {w}?",
            "How many episodes does the series about {p} have?",
            "What instrument did {p} play?",
            "What's the area code of {k}?",
            "Which river flows through {k}?",
            "What was the working title of {w}?",
            "What is the atomic number of {e}?",
            "What's the chemical symbol of {e}?",
            "At what temperature does {e} melt?",
            "Who holds the world record in the {s}?",
            "Who discovered {e}?",
        ]
    ).format(
        p=r.choice(PEOPLE),
        w=r.choice(WORKS),
        f=r.choice(THINGS_OF_FACT),
        c=r.choice(PLACES),
        a=r.choice(AWARDS),
        y=r.randint(1890, 2023),
        k=r.choice(CITIES),
        e=r.choice("iron tin neon gold zinc boron argon radium sodium nickel xenon copper".split()),
        s=r.choice(["high jump", "javelin", "800 metres", "pole vault", "decathlon"]),
    )


def hops(r):
    """Several facts that must be combined."""
    slots = {
        "p": r.choice(PEOPLE),
        "q": r.choice(PEOPLE),
        "w": r.choice(WORKS),
        "v": r.choice(WORKS),
        "f": r.choice(THINGS_OF_FACT),
        "g": r.choice(THINGS_OF_FACT),
        "c": r.choice(PLACES),
        "d": r.choice(PLACES),
        "a": r.choice(AWARDS),
        "y": r.randint(1900, 2020),
        "k": r.choice(CITIES),
        "n": r.randint(2, 9),
    }
    return r.choice(
        [
            "How old was {p} when {f} came into use, and was that before {q} turned {n}0?",
            "Who was born first: the person who made {w} or the one who invented {f}?",
            "Of the countries that border {c}, which had the largest population in the year {p} died?",
            "How many years lie between the birth of {p} and the first edition of {w}?",
            "The city where {p} was born is the capital of a country whose flag has how many colours?",
            "I'm thinking of the architect of a museum in {k}. In the year of his death, who won the {a}?",
            "If {f} had been invented {n} years later, would {p} still have been alive?",
            "Which is older, {f} or {g}, and by how many years?",
            "Take the year {p} was born, add the number of letters in the capital of {c}. Who won the {a} in the year that gives, or the next after it?",
            "Name the author of the book that won the {a} in the year in which the composer of {w} turned {n}0.",
            "As of {y}, how many more people lived in {c} than in the home country of {p}?",
            "The director of {w} and the author of {v} once lived in the same city. How far apart in time?",
            "What is the name of the river on which the birthplace of the spouse of {p} lies?",
            "Suppose I travel from the birthplace of {p} to that of {q}. Which capital of a country that has won the {a} lies closest to the midpoint?",
            "Which {a} winner was born in the same year as {p} and died in {c}?",
            "Among {c}, {d} and the birthplace of {p}, which hosted the Olympics first, and how long before {f} was that?",
            "The founder of the firm that first sold {f} had a child who wrote about {c}. In which year?",
            "Rank {p}, {q} and the maker of {w} by the age at which they became famous.",
            "Could {p} have met {q}? Show the dates.",
            "Would {p} have been able to use {f}?",
            "Did {p} live long enough to see {w}?",
        ]
    ).format(**slots)


def mention(r):
    """A number that is only mentioned."""
    return r.choice(
        [
            "My order {n} from {d} has not arrived.",
            "I paid {m} euros twice for ticket {n}, can I get one back?",
            "Book a table for {s} at {h}:{q} on {d}.",
            "Remind me at {h}:{q} to call {w}.",
            "My flight LH{n} was delayed by {s} hours, where do I claim?",
            "It's room {n}, the light is broken.",
            "Set a timer for {m} minutes.",
            "Our address is now {m} Mill Road, {k}.",
            "I ran {s} km today!!",
            "I turn {m} on {d} :)",
            "Translate: I have {s} brothers and {t} cats.",
            "Write a thank-you note for the {s} books that {w} sent me.",
            "My PIN is blocked after {s} tries, what now?",
            "Add {m} g of flour to my shopping list.",
            "Change the meeting with {w} from {h}:00 to {h}:30.",
            "Rewrite: the {m} guests arrived at {h} and left at {q} past.",
            "The {s} pm bus to {k} never came.",
            "Correct this: me and {w} has {s} {o}s.",
            "Put these in a table: {w} {m}, {x} {n}, {k} {s}",
            "Which of these is a date: {n}, {s} May, {m} kg?",
            "Read this number aloud as words: {n}",
            "Write {n} as words.",
            "Invoice {n} over {m}.50 EUR is missing from my portal.",
            "Is the {m} bus line running on {d}?",
            "Give me {s} names for a {o} shop.",
            "List {s} uses for a {o}.",
            "Name {s} animals that live in {c}.",
            "Write {s} sentences about a {o}.",
            "Tell me {s} facts about {c}.",
            "How many days are in a leap year?",
            "How many minutes are in an hour?",
            "How many sides does a hexagon have?",
            "What is {s}0 percent called as a fraction?",
            "What does a {m} on the back of a {o} mean?",
            "Format {n}{n} as a phone number.",
            "who wore number {m} for {k}",
        ]
    ).format(
        n=r.randint(1000, 99999),
        m=r.randint(10, 99),
        s=r.randint(2, 9),
        t=r.randint(2, 9),
        h=r.randint(1, 12),
        q=r.choice(["15", "30", "45", "00"]),
        d=r.choice(DAYS),
        w=r.choice(NAMES),
        x=r.choice(NAMES),
        k=r.choice(CITIES),
        o=r.choice(THINGS),
        c=r.choice(PLACES),
    )


def compute(r):
    """A number that must be computed."""
    return r.choice(
        [
            "what's {m}% of {n}?",
            "{n} divided by {s}, to two decimals",
            "If I pay {n} in {s} instalments with {t}% interest a month, what is each?",
            "{w} is {m}, her brother is {s} years younger. Half of his age?",
            "We leave at {h}:{q} and drive {m}0 km at {m} km/h with a {q} minute break. Arrival?",
            "Split {n} euros among {s} people if {w} pays double.",
            "How many tiles of {m} by {m} cm for a floor of {s} by {t} m?",
            "A {o} costs {m} after a {s}0% discount. What was the price before?",
            "My rent goes from {n} to {m}00. How much is that in percent?",
            "If today is {d}, what day is it in {m} days?",
            "{s} friends, {t} pizzas of 8 slices each, everyone eats the same. How many slices are left over?",
            "Which is cheaper per 100 g: {m}0 g for {s}.49 or {m}5 g for {t}.99?",
            "I save {m} a week. When do I have {n}?",
            "how much paint for {s} walls of {t} by 2.5 m if a litre covers {m} square metres",
            "A {o} falls from {m} m. How long does it take?",
            "Flip {s} coins: chance of at least {t} heads?",
            "The mean of five numbers is {m}; four of them are {s}, {t}, {h} and {q}. The fifth?",
            "Is {n} divisible by {s}?",
            "How many handshakes if {m} people all shake hands?",
            "Convert {m} mpg to litres per 100 km.",
            "What's {n} in binary?",
            "At {m} km/h, how long for {n} m?",
        ]
    ).format(
        n=r.randint(100, 9999),
        m=r.randint(11, 96),
        s=r.randint(2, 9),
        t=r.randint(2, 9),
        h=r.randint(1, 12),
        q=r.choice(["15", "30", "45"]),
        d=r.choice(DAYS),
        w=r.choice(NAMES),
        o=r.choice(THINGS),
    )


def verdict(r):
    """Public and private questions of judgement."""
    return r.choice(
        [
            "Should {a} {m}?",
            "Would it be wise for {a} to {m}?",
            "Is {a} right to {m}?",
            "{A} wants to {m}. Good idea?",
            "What happens if {a} decides to {m}?",
            "Make the case that {a} should {m}, then take it apart.",
            "What would it take for {a} to {m} without regretting it?",
            "Who would oppose it if {a} were to {m}, and with what arguments?",
            "If {a} does {m}, what follows in five years?".replace("does", "decides to"),
            "{D}. What should I do?",
            "{D}. Do I say something?",
            "{D}. How do I handle this without making it worse?",
            "{D}. What are my options and what would you advise?",
            "{D}, and I can't sleep. Help me think.",
            "Am I wrong here? {D}.",
            "{D}. Is it my place to step in? Consider everyone involved.",
            "What's the right thing to do when {d}?",
        ]
    ).format(
        a=(a := r.choice(LEADERS)), A=a[0].upper() + a[1:], m=r.choice(MOVES), D=(d := r.choice(DILEMMAS))[0].upper() + d[1:], d=d
    )


def small_wish(r):
    """Worded like a dilemma, but with nothing to weigh."""
    return r.choice(
        [
            "Should I capitalise '{p}'?",
            "Should I write 'who' or 'whom' in: the man {w} I met?",
            "What should I wear to a picnic?",
            "What should I say when {w} thanks me?",
            "Should I say 'on {d}' or 'in {d}'?",
            "Good idea for a gift for {w}?",
            "What should I call my {o}?",
            "Would you like to chat?",
            "What would you name a boat?",
            "Help me say happy birthday to {w}.",
            "What are my options for dessert tonight?",
            "How do I say no to {w} politely? One line.",
            "Pick a colour for my {o}.",
            "Do I need a visa for {c}?",
            "What is {a} short for?",
            "Who runs {a}?",
            "What does {a} do? One paragraph.",
            "Give me a quote on courage.",
            "Write a headline: {a} decides to {m}.",
            "Summarise in a line: {a} wants to {m}, critics disagree.",
            "Translate into French: should {a} {m}?",
            "Is it '{a} decide' or '{a} decides'?",
            "What does 'to {m}' mean?",
            "Write a tweet saying that {a} will {m}.",
            "Recommend a song for {d}.",
            "Say something nice to {w}.",
            "I can't sleep, tell me a calming story.",
            "{w} and I had coffee, it was lovely.",
            "Make this a question: {a} wants to {m}.",
        ]
    ).format(
        p=r.choice(PLACES),
        w=r.choice(NAMES),
        d=r.choice(DAYS),
        o=r.choice(THINGS),
        c=r.choice(PLACES),
        a=r.choice(LEADERS),
        m=r.choice(MOVES),
    )


KINDS = {code_down: 0.05, code_out: 0.94, recall: 0.04, hops: 0.85, mention: 0.03, compute: 0.94, verdict: 0.92, small_wish: 0.04}


def draw(r: random.Random) -> tuple[str, float, str]:
    """A random prompt, its label, and the name of its kind."""
    kind = r.choice(list(KINDS))
    return kind(r), KINDS[kind], kind.__name__
