"""Generates problems of kinds that the data folder lacks. Each kind has its own wording, names and sizes.

A kind is a function of a random generator that returns a prompt. `KINDS` has its label. The kinds in `HELD_OUT` are never used
for training, so that they measure how the model handles an unknown kind.
"""

import itertools
import random

NAMES = (
    "Alice Bob Claire Dave Eve Fred Gina Hana Ivan Judy Kofi Lena Mateo Nadia Omar Priya Quinn Rosa Sven Tara Umar Vera Wen Ximena "
    "Yusuf Zoe Amara Boris Chloe Dmitri Elif Farid Greta Hugo Imani Jonas Keiko Luca Mei Noor Ola Pablo Rafael Sana Tomas Uma"
).split()
THINGS = "book key lamp mug ball scarf violin clock teapot rug kite shell coin stamp map vase drum hat umbrella notebook pear stone".split()
COLOURS = "red blue green yellow purple orange black white teal grey pink brown magenta turquoise silver gold".split()
ANIMALS = "owl robin falcon hawk crow quail cardinal finch raven heron fox badger otter goat llama penguin turtle".split()
FRUITS = "apples pears plums mangoes kiwis lemons figs grapes onions carrots cabbages potatoes garlic peppers".split()
INSTRUMENTS = "flute piano violin trumpet drum clarinet accordion harp cello oboe guitar trombone".split()
CITIES = "Oslo Lima Cairo Kyoto Porto Dakar Turin Hanoi Quito Perth Riga Split Ghent Bern Leeds Cork".split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
WORDS = (
    "planet garden silver market window stream candle forest bridge rocket velvet dragon harbour lantern thunder crystal journey "
    "captain blanket orchard mineral pattern"
).split()
ORDINALS = "first second third fourth fifth sixth seventh".split()
NUMBER_WORDS = "zero one two three four five six seven eight nine ten eleven twelve".split()


def pick(r, items, n):
    """n different random items."""
    return r.sample(list(items), n)


def listing(items):
    """The items as a list in English: a, b, and c."""
    items = list(items)
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + (", and " if len(items) > 2 else " and ") + items[-1]


def single(thing):
    """The singular with its article, of a word that may be a plural: an apple, a mango."""
    thing = thing.removesuffix("es") if thing.endswith("oes") else thing.removesuffix("s")
    return f"{'an' if thing[0] in 'aeiou' else 'a'} {thing}"


def several(thing):
    """The plural of a thing."""
    if thing in FRUITS:
        return thing
    return thing + ("es" if thing.endswith(("ch", "sh", "x")) else "s")


def number(r, low, high):
    """A random number, in digits or sometimes as a word."""
    n = r.randint(low, high)
    return NUMBER_WORDS[n] if n <= 12 and r.random() < 0.4 else str(n)


def options(r, items):
    """Answer choices in one of several layouts, or none."""
    style = r.randrange(5)
    items = list(items)
    if style < 2:
        return ""
    if style == 2:
        return "\nOptions:\n" + "\n".join(f"({chr(65 + i)}) {x}" for i, x in enumerate(items))
    if style == 3:
        return "\n" + "\n".join(f"{chr(97 + i)}) {x}" for i, x in enumerate(items))
    return " Choose from: " + " / ".join(map(str, items)) + "."


def truth_tellers(r):
    names = pick(r, NAMES, r.randint(3, 6))
    verbs = r.choice([("tells the truth", "lies"), ("is a knight", "is a knave"), ("is honest", "is lying")])
    start = f"{names[0]} {r.choice(verbs)}."
    statements = [f"{b} says {a} {r.choice(verbs)}." for a, b in itertools.pairwise(names)]
    if r.random() < 0.4:
        r.shuffle(statements)
    intro = r.choice(
        [
            "",
            "",
            "On an island everyone either always lies or always tells the truth. ",
            "In this village people are either honest or liars. ",
        ]
    )
    ask = r.choice(
        [f"Does {names[-1]} tell the truth?", f"Is {names[-1]} a liar?", "Who is lying?", "Which of them can be believed?"]
    )
    return f"{intro}{start} {' '.join(statements)} {ask}" + options(r, ["Yes", "No"])


def walking(r):
    steps = []
    for _ in range(r.randint(3, 8)):
        steps.append(
            r.choice(
                [
                    f"take {r.randint(1, 10)} steps",
                    f"go {r.randint(1, 9)} steps {r.choice(['forward', 'backward', 'left', 'right'])}",
                    f"turn {r.choice(['left', 'right', 'around'])}",
                    f"walk {r.randint(1, 20)} metres {r.choice(['north', 'south', 'east', 'west'])}",
                ]
            )
        )
    who = r.choice(["you", r.choice(NAMES)])
    if who == "you":
        joined = ". ".join(s.capitalize() for s in steps)
        return (
            r.choice(
                [
                    "If you follow these instructions, do you return to the starting point? ",
                    "Do these directions bring you back to where you began? ",
                    "Starting at the origin facing north, where do you end up? ",
                ]
            )
            + joined
            + "."
            + options(r, ["Yes", "No"])
        )
    joined = ", then ".join(
        s.replace("take", "takes").replace("go ", "goes ").replace("turn ", "turns ").replace("walk ", "walks ") for s in steps
    )
    return f"{who} leaves home and {joined}. " + r.choice(
        ["How far from home is that?", "Which direction is home from there?", "Which way is " + who + " facing now?"]
    )


def swaps(r):
    n = r.randint(3, 7)
    names = pick(r, NAMES, n)
    items = r.choice([pick(r, COLOURS, n), pick(r, THINGS, n)])
    noun = r.choice(["ball", "present", "locker", "card", "seat"]) if items[0] in COLOURS else ""
    begin = listing(f"{a} has the {b} {noun}".strip() for a, b in zip(names, items, strict=True))
    moves = []
    for _ in range(r.randint(3, 7)):
        a, b = pick(r, names, 2)
        moves.append(r.choice([f"{a} and {b} swap", f"{a} trades with {b}", f"{b} exchanges with {a}"]))
    text = f"{listing(names)} are {r.choice(['playing a game', 'friends who trade things', 'at a gift exchange', 'sitting in a row'])}. At the start {begin}. "
    text += r.choice(["First, ", "As it goes on, ", ""]) + ". Then ".join(moves) + ". "
    return (
        text
        + r.choice(
            [
                f"What does {r.choice(names)} have at the end?",
                f"Who ends up with the {items[0]} {noun}?".replace(" ?", "?"),
                f"At the end, {names[0]} has the",
            ]
        )
        + options(r, items)
    )


def counting(r):
    group = r.choice([(INSTRUMENTS, "musical instruments"), (FRUITS, "pieces of fruit or vegetables"), (ANIMALS, "animals")])
    mine, other = pick(r, group[0], r.randint(3, 6)), pick(r, THINGS, r.randint(1, 4))
    one = r.random()  # how often a thing comes alone
    items = [single(x) if r.random() < one else f"{number(r, 2, 6)} {several(x)}" for x in mine + other]
    r.shuffle(items)
    have = r.choice(
        ["I have ", "In my bag there are ", "On the table lie ", "I bought ", "We own ", "My list says: ", "She packed "]
    )
    return have + listing(items) + r.choice([
        f". How many {group[1]} do I have?",
        f". How many {group[1]} is that in total?",
        f". Count the {group[1]}.",
        ". How many things are there altogether?",
        f". what's the number of {group[1]}",
        f". How many of these are {group[1]}, and how many are not?",
        f". Without the first two, how many {group[1]} remain?",
    ])  # fmt: skip


def coloured(r):
    things = pick(r, THINGS, r.randint(3, 6))
    row = [f"{'a' if r.random() < 0.6 else NUMBER_WORDS[r.randint(2, 6)]} {r.choice(COLOURS)} {t}" for t in things]
    place = r.choice(["On the desk", "On the floor", "In the drawer", "On the nightstand", "On the table"])
    return (
        f"{place} there are things in a row: {listing(row)}. "
        + r.choice(
            [
                f"What colour is the thing directly to the right of the {things[0]}?",
                f"If I remove all the {r.choice(COLOURS)} ones, how many are left?",
                f"How many items are neither {COLOURS[0]} nor {COLOURS[1]}?",
                f"What colour is the thing furthest from the {things[-1]}?",
                f"How many non-{r.choice(COLOURS)} things are to the left of the {things[-1]}?",
            ]
        )
        + options(r, pick(r, COLOURS, 5))
    )


def dates(r):
    base = r.choice(
        [
            f"Today is {r.choice(DAYS)}, {r.randint(1, 28)} {r.choice(['March', 'June', 'October', 'January'])} {r.randint(1950, 2030)}.",
            f"Yesterday was {r.choice(['April', 'May', 'July'])} {r.randint(1, 28)}, {r.randint(1950, 2030)}.",
            f"It is {r.randint(1, 12)}/{r.randint(1, 28)}/{r.randint(1960, 2026)} today.",
            f"{r.choice(NAMES)} was born on the last day of February in {r.choice([1996, 2000, 2004])} and turned {r.randint(10, 25)} today.",
            f"The meeting was set for {r.choice(DAYS)} the {r.randint(2, 27)}th but was moved {r.randint(2, 12)} days earlier.",
        ]
    )
    ask = r.choice(
        [
            f"What is the date {r.randint(2, 40)} days from now?",
            "What was the date one week ago, in MM/DD/YYYY?",
            "What day of the week was it a month before?",
            "What is the date tomorrow?",
            f"How many days are left until {r.choice(DAYS)}?",
            "What date was it ten days later?",
        ]
    )
    return (
        base + " " + ask + (options(r, [f"{r.randint(1, 12):02}/{r.randint(1, 28):02}/{r.randint(1950, 2030)}" for _ in range(5)]))
    )


def boolean(r, depth=0):
    def build(d):
        if d == 0 or r.random() < 0.2:
            return r.choice(["True", "False"])
        k = r.randrange(4)
        return [
            "not " + build(d - 1),
            f"( {build(d - 1)} )",
            f"{build(d - 1)} and {build(d - 1)}",
            f"{build(d - 1)} or {build(d - 1)}",
        ][k]

    e = build(r.randint(3, 4))
    if r.random() < 0.3:
        e = e.replace("and", "&&").replace("or", "||").replace("not ", "!").replace("True", "true").replace("False", "false")
    return r.choice(["{} is", "Evaluate: {}", "What does {} evaluate to?", "Simplify {}", "Is this true or false: {}"]).format(e)


def arithmetic(r):
    def build(d):
        if d == 0:
            return str(r.randint(-9, 99))
        return f"({build(d - 1)} {r.choice('+-*')} {build(d - 1)})"

    e = build(r.choice([2, 2, 3]))
    return r.choice(["{} =", "Compute {}.", "what is {}", "Work out {}", "Calculate the value of {}"]).format(
        e[1:-1] if r.random() < 0.5 else e
    )


def schedule(r):
    n = r.randint(3, 5)
    who = pick(r, NAMES, n)
    lines = [
        f"{w} is {r.choice(['free', 'busy', 'in a meeting', 'available'])} from {a}:{r.choice(['00', '30'])} to {a + r.randint(1, 4)}:{r.choice(['00', '30'])}"
        for w in who
        for a in [r.randint(8, 14)]
    ]
    return (
        ". ".join(lines)
        + ". "
        + r.choice(
            [
                f"Find a {r.choice([30, 45, 60, 90])} minute slot when all can meet.",
                "When is the earliest time everyone can meet?",
                f"{who[0]} was seen by someone at the {r.choice(['market', 'gym', 'library'])}. Between what times could {who[0]} have gone to the museum?",
                "Who could have gone to the beach between 1pm and 2pm?",
            ]
        )
    )


def logic_grid(r):
    n = r.randint(3, 4)
    who, pets, cols = pick(r, NAMES, n), pick(r, ANIMALS, n), pick(r, COLOURS, n)
    clues = [
        f"{who[0]} does not own the {pets[1]}",
        f"the owner of the {pets[0]} lives in the {cols[1]} house",
        f"{who[1]} lives next to the {cols[0]} house",
        f"{who[2]} owns neither the {pets[0]} nor the {pets[1]}",
        f"the {cols[2]} house belongs to {r.choice(who)}",
        f"the {pets[2]} is not kept in the {cols[0]} house",
    ]
    r.shuffle(clues)
    return (
        f"{n} neighbours, {listing(who)}, each keep a different pet ({listing(pets)}) and live in houses of different colours ({listing(cols)}). "
        + ". ".join(c[0].upper() + c[1:] for c in clues[: r.randint(4, 6)])
        + ". "
        + r.choice([f"Who owns the {pets[0]}?", f"What colour is {who[0]}'s house?", "Match each person with a pet and a house."])
    )


def brackets(r):
    s, stack = [], []
    for _ in range(r.randint(5, 20)):
        if stack and r.random() < 0.4:
            s.append({"(": ")", "[": "]", "{": "}", "<": ">"}[stack.pop()])
        else:
            stack.append(r.choice("([{<"))
            s.append(stack[-1])
    return r.choice(
        [
            "Close the brackets so that the sequence is balanced: {}",
            "Complete the rest of this sequence so every parenthesis is closed properly. Input: {}",
            "Which closing brackets are missing? {}",
        ]
    ).format(" ".join(s))


def tracing(r):
    a, b, c = r.randint(2, 9), r.randint(2, 9), r.randint(1, 5)
    return r.choice(
        [
            f"x = {a}\nfor i in range({b}):\n    x = x * 2 - i\n    if x % 3 == 0:\n        x += {c}\nprint(x)",
            f"def f(n):\n    return {a} if n < {c} else f(n-1) + f(n-2)\nprint(f({b + 3}))",
            f"let s = 0;\nfor (let i = {a}; i > 0; i--) {{ s += i % {c + 1} ? i : -i; }}\nconsole.log(s);",
            f"a = [{a}, {b}, {c}]\nb = a\nb.append(sum(a))\nprint(len(a), a[-1] - {c})",
            f'int i = {a}, j = {b};\nwhile (i < j * {c + 1}) {{ i += j--; }}\nprintf("%d", i);',
        ]
    ) + r.choice(["\n\nWhat does this print?", "\nWhat is the output and why?", "\n\nTrace the code by hand and give the result."])


def word_problem(r):
    a, b, c, d = (number(r, 2, 60) for _ in range(4))
    n, m = pick(r, NAMES, 2)
    t = r.choice(THINGS)
    return r.choice(
        [
            f"{n} has {a} {t}s. {m} gives {n} {b} more and {n} loses {c}. How many does {n} have now?",
            f"A shop sells {t}s at {a} euros each, with {b} percent off for orders over {c}. What do {d} cost?",
            f"{n} reads {a} pages a day and {m} twice as many. After how many days have they read {c} pages more than {b} hundred together?",
            f"{n} is {a} years older than {m}. In {b} years {n} will be twice as old as {m}. How old are they?",
            f"A tank fills through one pipe in {a} hours and through another in {b} hours, while a leak empties it in {c} hours. How long until it is full?",
            f"Half of the {t}s in a box are broken, a third of the rest are {r.choice(COLOURS)}, and {a} remain. How many were in the box?",
            f"{n} drives {a} km at {b} km/h and comes back at {c} km/h. What is the average speed?",
            f"If {a} machines make {b} {t}s in {c} minutes, how many minutes do {d} machines need for a hundred?",
            f"A recipe for {a} people needs {b} grams of flour and {c} eggs. How much of each for {d} people?",
            f"{n} saves {a} dollars a week, spends a quarter of it every month and wants a bike for {b}00. How many weeks does that take?",
            f"My phone plan is {a} a month plus {b} cents a minute, {m}'s is {c} a month flat. From how many minutes on is {m}'s cheaper?",
            f"What is {a} percent of {b}0, and how much is left after another {c} percent is taken off?",
        ]
    )


def units(r):
    return (
        r.choice(
            [
                "A car uses {} litres per 100 km. How many miles per gallon is that?",
                "Convert {} mph to metres per second and say how far it goes in {} minutes.",
                "The runway is {} feet long. How many {} metre buses fit end to end?",
                "If a tap drips once every {} seconds and {} drips make a millilitre, how many litres is that a week?",
                "How many seconds are there in {} weeks and {} days?",
                "{} acres in square kilometres, times {}, is how many football pitches?",
            ]
        )
        .replace("{}", str(r.randint(2, 90)), 1)
        .replace("{}", str(r.randint(2, 40)))
    )


def arguments(r):
    a, b, c = pick(
        r,
        [
            "poets",
            "engineers",
            "sailors",
            "vegetarians",
            "owls",
            "cyclists",
            "dancers",
            "teachers",
            "chess players",
            "gardeners",
            "nurses",
        ],
        3,
    )
    return r.choice(
        [
            f"The council argues that since {a} rarely get ill and {a} drink tea, tea prevents illness. Which of the following, if true, most weakens the argument?",
            f"Every one of the {a} who came was early. None of the {b} was early. Which conclusion can properly be drawn about {c}?",
            f"If {a} are happy then {b} sing. {b.capitalize()} do not sing unless {c} listen. {c.capitalize()} never listen. What follows about {a}?",
            f"Critics say that banning {a} from the park will help {b}, because {c} left after a similar ban. Identify the flaw in this reasoning.",
            f"A study found that {a} live longer than {b}. The authors conclude that becoming one of the {a} adds years to life. What assumption does this depend on?",
        ]
    ) + options(r, [f"Some {a} are {c}", f"No {b} are {a}", f"All {c} are {b}", "None of the above"])


def multi_hop(r):
    return r.choice(
        [
            "How much older was the {0} when they took office than the {1} at the same point?",
            "If you add the year the {2} was finished to the number of letters in the name of its architect, what do you get?",
            "Which is taller: the {2}, or the tallest building in the city where the {0} was born?",
            "Who was head of state in the country where the {2} stands when the {0} died, and how long had they held that office?",
            "Of the countries that border the birthplace of the {1}, which one joined the United Nations last?",
            "How many years passed between the invention of the {3} and the death of the {0} who lived closest to its inventor?",
            "Name the river that runs through the capital of the country whose author wrote the novel on which the film by the {1} was based.",
        ]
    ).format(
        r.choice(
            [
                "third president of the United States",
                "first woman to win a Nobel prize",
                "author of War and Peace",
                "last emperor of Brazil",
                "composer of The Magic Flute",
            ]
        ),
        r.choice(
            [
                "second prime minister of India",
                "director of Seven Samurai",
                "founder of the Red Cross",
                "youngest chess world champion",
            ]
        ),
        r.choice(["Sydney Opera House", "Eiffel Tower", "Golden Gate Bridge", "Sagrada Familia", "Burj Khalifa"]),
        r.choice(["telephone", "zip fastener", "steam engine", "ballpoint pen"]),
    )


def grammar_order(r):
    words = [
        r.choice(["lovely", "terrible", "silly"]),
        r.choice(["small", "enormous", "tiny"]),
        r.choice(["ancient", "new"]),
        r.choice(COLOURS),
        r.choice(["Nigerian", "Polish", "Thai"]),
        r.choice(["wool", "iron", "glass"]),
    ][: r.randint(3, 6)]
    other = words[:]
    r.shuffle(other)
    t = r.choice(THINGS)
    return "Which sentence has the correct adjective order?" + f"\n(A) {' '.join(words)} {t}\n(B) {' '.join(other)} {t}"


def table_lookup(r):
    who = pick(r, NAMES, 4)
    rows = "\n".join(f"{w}, {r.randint(4, 12)}, {r.randint(40, 90)}, {r.randint(8, 20)}" for w in who)
    return f"Here is a table, first line is the header:\nname, age, height (cm), weight (kg)\n{rows}\n" + r.choice(
        [
            f"How many are older than {who[0]} and lighter than {who[1]}?",
            "What is the combined weight of the two tallest?",
            "We delete the youngest. What is the average height now?",
            "Which one is second by age when sorted by height first?",
        ]
    )


def plausible(r):
    who = r.choice(
        [
            "Lionel Messi",
            "LeBron James",
            "Serena Williams",
            "Wayne Gretzky",
            "Tom Brady",
            "Babe Ruth",
            "Roger Federer",
            "Simone Biles",
            "Kevin Durant",
            "Sidney Crosby",
            "Aaron Judge",
            "Marcus Rashford",
            "Patrick Mahomes",
            "Naomi Osaka",
            "Leon Draisaitl",
            "Jose Altuve",
            "Virgil van Dijk",
        ]
    )
    act = r.choice(
        [
            "took a penalty kick",
            "hit a three pointer",
            "served an ace",
            "scored in the third period",
            "threw a touchdown",
            "was out at second",
            "bowled a googly",
            "crossed the blue line",
            "got on the power play",
            "nutmegged the defender",
            "stole second base",
            "launched the desperation heave",
            "earned a corner kick",
            "walked to first",
            "went to the penalty box",
            "threw a stiff arm",
        ]
    )
    return r.choice(
        [
            "Is this plausible? {}.",
            'Tell me if the following is plausible: "{}."',
            'Plausible or not? "{}."',
            'Would a commentator say this sentence? "{}"',
            "Could the following sentence make sense: {}?",
            'Is "{}" something that could happen?',
            "Does this sentence sound plausible to you? {} in the final.",
        ]
    ).format(f"{who} {act}")


def svg(r):
    pts = " ".join(f"L {r.uniform(5, 90):.2f},{r.uniform(5, 90):.2f}" for _ in range(r.randint(2, 8)))
    return f'This SVG path element <path d="M {r.uniform(5, 90):.2f},{r.uniform(5, 90):.2f} {pts}"/> draws a' + options(
        r, ["triangle", "kite", "hexagon", "line", "pentagon"]
    )


def algorithm(r):
    return r.choice(
        [
            "Design an algorithm that {0} in {1}, and prove it correct.",
            "Given {2}, {0}. Aim for {1}.",
            "Write a function that, given {2}, {0}; explain why it is {1}.",
            "You are given {2}. Return the minimum number of moves so that one {0}. Constraints: n up to 10^5.",
            "Can one {0} in {1}? Give the algorithm or a lower bound.",
        ]
    ).format(
        r.choice(
            [
                "finds the longest stretch without repeats",
                "merges overlapping intervals online",
                "detects a cycle and returns its start",
                "counts the pairs whose sum is divisible by k",
                "finds the k-th smallest in two sorted lists",
                "schedules the jobs to minimise the total lateness",
                "partitions the array into two parts of equal sum",
                "finds the cheapest path with at most k free edges",
            ]
        ),
        r.choice(["O(n log n)", "linear time and constant memory", "a single pass", "O(n) expected time", "sublinear time"]),
        r.choice(
            [
                "an array of integers",
                "a stream of edges",
                "a directed graph with weights",
                "a string of lower case letters",
                "a grid with walls",
                "a binary tree",
            ]
        ),
    )


def spelling(r):
    """Problems with the letters of words."""
    words = pick(r, WORDS, 5)
    a, b = words[:2]
    shown = "".join(c if r.random() < 0.4 else "_" for c in a[1:])
    return r.choice(
        [
            f"Which of these words has the most vowels: {listing(words)}?",
            f"Can the letters of '{a}' be rearranged into '{''.join(pick(r, a, len(a)))}'? Check each letter.",
            f"Find an anagram of {''.join(pick(r, a, len(a))).upper()}.",
            f"I'm thinking of a word that fits {a[0]}{shown}. What could it be?",
            f"Change {a[:4]} into {b[:4]} one letter at a time so that every step is a word.",
            f"If A is worth 1, B is worth 2 and so on, what is {a} worth?",
            f"Which words can be made from the letters of '{a}', with at least {r.randint(3, 5)} letters each?",
            f"Remove every vowel from '{a} {b}' and say how many letters are left.",
            f"Is '{a}{a[::-1][1:]}' a palindrome? And '{b}{b}'?",
            f"Do '{a}' and '{b}' share more than {number(r, 1, 4)} letters? Which ones?",
            f"Sort the letters of '{a}' into alphabetical order.",
            f"A word has {len(a)} letters, starts with {a[0]}, ends with {a[-1]}, and its {ORDINALS[2]} letter is {a[2]}. Guess it.",
            f"The first letters of which of these spell a word: {listing(pick(r, THINGS, 4))}, or {listing(pick(r, ANIMALS, 3))}?",
        ]
    )


def constraint_plan(r):
    return r.choice(
        [
            "I have {a} hours, {b} errands across town ({c}, {d} and the bank, which closes at 4) and no car. Plan the order.",
            "Seat {a} guests at {b} tables so that nobody sits with their own partner and {c} never sits near {d}.",
            "We can spend {b}000 and need {a} laptops, desks for everyone and a projector. What should we buy and in what order?",
            "Pack for {a} days of hiking with at most {b} kg: tent 3 kg, food 700 g a day, water 2 kg, camera 1 kg. What stays at home?",
            "A van holds {b} crates; {a} stops need deliveries of different sizes and {c} must come before {d}. Find a route.",
            "Make a weekly training plan: {a} runs, {b} strength sessions, never two hard days in a row and Friday off.",
        ]
    ).format(a=r.randint(3, 12), b=r.randint(2, 40), c=r.choice(NAMES), d=r.choice(NAMES))


# Kinds whose answers do not improve with reasoning.
def sort_words(r):
    words = pick(r, THINGS + FRUITS + ANIMALS + INSTRUMENTS + COLOURS, r.randint(4, 14))
    return r.choice(
        [
            "Sort the following words alphabetically: List: {}",
            "Put these in alphabetical order: {}",
            "alphabetize {}",
            "Order these words from A to Z: {}",
        ]
    ).format(r.choice([" ", ", "]).join(words))


def sarcasm(r):
    a = r.choice(
        ["the food was cold", "he came two hours late", "the meeting could have been a mail", "they lost again", "the app crashed"]
    )
    return r.choice(
        [
            f"Which statement is sarcastic?\n(A) Great, {a}, what a treat\n(B) It is a pity that {a}",
            f"Is this meant ironically: oh wonderful, {a}?",
            f"Which of these is a humorous edit of the name '{r.choice(['iron maiden', 'star wars', 'toy story', 'blue planet'])}'?"
            + options(r, ["iron maisen", "iron maid in", "irov maiden"]),
        ]
    )


def judgement(r):
    n, m = pick(r, NAMES, 2)
    return (
        f"How would a typical person answer about causation? {n} forgot to lock the shed, although it was {m}'s job that day. A storm broke the door and the tools got wet. Did {n} cause the damage?"
        + options(r, ["Yes", "No"])
    )


def translation_error(r):
    return r.choice(
        [
            "Find the error in this translation from German: Source: Das Schloss liegt an der {0} und hat {1} Türme. Translation: The castle lies on the {2} and has {3} towers.",
            "Source: {0} ist eine Gemeinde mit {1} Einwohnern. Translation: {2} is a municipality with {3} inhabitants. Which kind of error is it?",
        ]
    ).format(r.choice(CITIES), r.randint(2, 900), r.choice(CITIES), r.randint(2, 900)) + options(
        r, ["Named entities", "Numerical values", "Negation", "Dropped content"]
    )


# The kinds below are held out from training.
def family(r):
    n = pick(r, NAMES, 5)
    return f"{n[0]} is the {r.choice(['mother', 'father'])} of {n[1]}. {n[1]} is {r.choice(['married to', 'the sister of', 'the brother of'])} {n[2]}, whose only son is {n[3]}. {n[4]} is {n[3]}'s daughter. How is {n[4]} related to {n[0]}?"


def sequence_next(r):
    a, d = r.randint(1, 9), r.randint(2, 5)
    kind = r.randrange(3)
    seq = [a * d**i for i in range(5)] if kind == 0 else [a + d * i * i for i in range(6)] if kind == 1 else [a]
    while kind == 2 and len(seq) < 6:
        seq.append(seq[-1] + len(seq) * d)
    return r.choice(
        [
            "What comes next: {}, ?",
            "Find the next term of {} and explain the pattern.",
            "{}, ... which number continues this series?",
        ]
    ).format(", ".join(map(str, seq)))


def river_crossing(r):
    a, b, c = pick(r, ANIMALS, 3)
    return f"A farmer must bring a {a}, a {b} and a {c} over a river in a boat that holds him and one of them. Left alone the {a} bothers the {b} and the {b} eats the {c}. How does he do it in the fewest trips?"


def cryptarithm(r):
    w = pick(r, "SEND MORE DOGS CATS BASE BALL FIVE FOUR NINE LATE MOON STAR".split(), 2)
    return r.choice(
        ["Each letter stands for a different digit: {} + {} = {}. Find the digits.", "Solve the cryptarithm {} + {} = {}."]
    ).format(*w, r.choice(["MONEY", "GAMES", "HOUSE"]))


def weighing(r):
    return r.choice(
        [
            "You have {} coins, one of which is lighter, and a balance scale. How few weighings find it?",
            "Among {} identical looking bottles one is poisoned and you have a handful of rats. How do you find it in one hour?",
            "With a 3 litre and a {} litre jug, measure exactly 4 litres.",
        ]
    ).format(r.randint(5, 40))


def clock_angle(r):
    return r.choice(
        [
            "What is the angle between the hands of a clock at {h}:{m}?",
            "A clock loses {m} minutes a day. If it is set right at {h} on Sunday, what does it show at noon on Thursday?",
            "How many times do the hands overlap between {h} o'clock and midnight?",
        ]
    ).format(h=r.randint(1, 11), m=r.randint(5, 55))


def cipher(r):
    w = r.choice(["HELLO", "PLANET", "ORANGE", "WINTER", "SECRET"])
    k = r.randint(1, 12)
    return r.choice(
        [
            "Decode this Caesar cipher: {}",
            "If every letter is moved by the same amount and the message reads {}, what is the plain text?",
            "In a certain code TABLE becomes {}. How is CHAIR written?",
        ]
    ).format("".join(chr((ord(c) - 65 + k) % 26 + 65) for c in w))


def seating(r):
    n = pick(r, NAMES, 6)
    return f"Six friends, {listing(n)}, sit at a round table. {n[0]} sits opposite {n[1]}, {n[2]} is two places left of {n[3]}, and {n[4]} refuses to be beside {n[5]}. Who sits to the right of {n[0]}?"


def game_move(r):
    return r.choice(
        [
            "In Nim with heaps of {a}, {b} and {c}, which move wins?",
            "Two players take 1 to {c} stones from a pile of {a}{b}; the last to take wins. Should you go first?",
            "White: king e{c}, rook a{c}. Black: king e8. What is the quickest mate?",
        ]
    ).format(a=r.randint(3, 9), b=r.randint(2, 9), c=r.randint(2, 6))


def letters(r):
    w = r.choice(["strawberry", "bookkeeper", "onomatopoeia", "mississippi", "antidisestablishment", "parallelogram"])
    return r.choice(
        [
            "How many times does the letter {l} occur in {w}?",
            "Write {w} backwards and take every second letter.",
            "Take the last letters of the words in '{w} {x} {y}' and join them.",
        ]
    ).format(l=r.choice(w), w=w, x=r.choice(ANIMALS), y=r.choice(THINGS))


KINDS = {  # labels
    truth_tellers: 0.97,
    walking: 0.97,
    swaps: 0.97,
    counting: 0.93,
    coloured: 0.93,
    dates: 0.92,
    boolean: 0.88,
    arithmetic: 0.95,
    schedule: 0.95,
    logic_grid: 0.98,
    brackets: 0.75,
    tracing: 0.95,
    word_problem: 0.97,
    units: 0.92,
    arguments: 0.7,
    multi_hop: 0.85,
    grammar_order: 0.6,
    table_lookup: 0.9,
    plausible: 0.85,
    svg: 0.8,
    algorithm: 0.95,
    constraint_plan: 0.95,
    spelling: 0.9,
    sort_words: 0.12,
    sarcasm: 0.15,
    judgement: 0.2,
    translation_error: 0.2,
}
HELD_OUT = [family, sequence_next, river_crossing, cryptarithm, weighing, clock_angle, cipher, seating, game_move, letters]


def draw(r: random.Random) -> tuple[str, float, str]:
    """A random prompt, its label, and the name of its kind."""
    kind = r.choice(list(KINDS))
    return kind(r), KINDS[kind], kind.__name__
