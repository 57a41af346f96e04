"""Prompts that ask for deliberation, and direct prompts about the very same things.

Deliberate: find the cause, weigh options, plan under limits, judge evidence, think ahead. Direct: define, explain in
brief, rewrite, translate, extract, list, greet. Wording, length and politeness vary in both, so that none of them decides.
"""

import random

from .puzzles import CITIES, DAYS, NAMES
from .topics import FIELDS, split

CAUSE = [
    "{W} {when}. What is the root cause?", "{W} {when}. Figure out why.", "Help me debug this: {w} {when}. What should I look at first, and what would each finding tell me?", "{W} {when}. List the plausible explanations, rank them, and say which test would separate them.",
    "We see that {w} {when}. Two people on the team blame different things. How would you decide who is right?", "why would it be that {w} {when}", "{W} {when}. We already ruled out the obvious. What else could explain it, and how would you check?", "Do a root cause analysis: {w} {when}.",
    "I can't make sense of this. {W} {when}. Nothing in the records stands out. Walk through what could be going on.", "{W} {when}. Before we spend money, work out the most likely cause and what evidence would change your mind.", "{W}, {when}. Diagnose.", "Given that {w} {when}, which hypotheses fit all of it and which can we drop?",
    "{W} {when}. Someone proposes to simply undo the last change. Would that fix the cause or hide it?", "Act as an investigator. {W} {when}. Reconstruct what happened.", "What is the likeliest reason {w} {when}, and what would you try before {n} days are over?"]
WEIGH = [
    "{A} or {B}? Weigh the trade-offs for our case ({limit}) and recommend one.", "Should we go with {a} or {b} {limit}? Justify your choice.", "Compare {a} and {b} for someone who must {project}; which would you pick and what would make you change your mind?", "We must choose between {a} and {b} {limit}. Consider cost, risk and what happens in {n} years.",
    "Make the strongest case for {a}, then for {b}, then decide. Context: we want to {project}.", "{A} vs {b}: under which conditions does each win? We are {limit}.", "Our team is split over {a} and {b}. Help us decide: {limit}.", "Is {a} really better than {b} if {w}?", "help me decide: {a} or {b}. {limit}. I keep going back and forth",
    "I lean towards {a} because everyone does it. Argue against me, honestly, and tell me if {b} is wiser {limit}.", "Evaluate {a} against {b} on at least four criteria, weight them, and see how sensitive the result is."]
PLAN = [
    "How would you {project} {limit}?", "We have to {project} {limit}. Draw up a plan with the order of steps, the risks and a fallback.", "Plan this for me: {project}, {limit}.", "{Project} {limit}. What would you do first, and what would you refuse to do?", "I need to {project} {limit}. Which constraints conflict, and how do you resolve them?",
    "Propose a strategy to {project} {limit}, and explain why the two obvious alternatives are worse.", "Design an approach to {project}. Assume {limit}. Discuss failure modes.", "what's the best way to {project} {limit}?", "Someone wants to {project} in {n} weeks, {limit}. Is it feasible? Show what would have to be true.",
    "You are in charge: {project} {limit}. Lay out your reasoning and decide.", "Suppose we {project} {limit} and it fails. Think backwards: what went wrong, and how do we prevent it?", "Outline how to {project} so that it still works if {w}."]
JUDGE = [
    "A report says that {w} {when}, and concludes that it is because of {t}. Does the evidence support that? What else could it be?", "Is it fair to conclude from the fact that {w} {when} that we should {project}?", "Someone claims {t} is the reason {w}. How strong is this argument and what data would settle it?", "Critique this plan: to {project} {limit}, we will first do nothing for {n} months. Where does it break?",
    "Three experts disagree on whether to {project}. One cites cost, one cites risk, one says {limit} makes it impossible. Whose reasoning is soundest?", "What are the second-order effects if we {project}?", "Estimate, with your assumptions spelled out, what it takes to {project} {limit}.", "Reconcile these two findings: {w} {when}; yet a survey says the opposite.",
    "What would have to be true for it to make sense to {project} {limit}? Test each assumption.", "If {w}, and at the same time we must {project}, which comes first and why?", "Find the weakest link in this reasoning: {w} {when}, so {t} must be at fault, so we should {project}.", "Two goals conflict: {project}, and do it {limit}. How far can both be met?"]
SHORT = [  # as brief as a definition, but there is something to decide
    "{A} or {b}?", "Should we {project} if {w}?", "Should {actor} {project} {limit}?", "Is the case for {a} stronger than for {b}? Weigh it.", "Develop a strategy to {project}.", "How should {actor} respond when {w}?", "Is it wise to {project} {limit}?", "{actor_}: {w}. What now?", "Which carries more risk, {a} or {b}, and why?", "As {actor}, would you choose {a} or {b}, given {limit}?",
    "{W}. One report says it is temporary, the other says it is structural. Which do you trust?", "What would convince you that {w} {when}?", "Would you {project} {limit}? Why or why not?", "{actor_} must {project}. What are the options, and which is best?", "Develop a plan for {actor} to {project}.", "How would {actor} know whether {a} works better than {b}?", "Who is more likely to be right about why {w}: the people on site or {actor}?",
    "What should {actor} do first: {project}, or find out why {w}?", "Create a roadmap to {project} for {actor}.", "How can {actor} {project} {limit}?", "Which evidence would decide between {a} and {b}?", "What is the risk if {actor} decides to {project} {limit}?", "Is {t} really to blame when {w}?", "Assess whether to {project} {limit}.", "Devise a test that shows why {w} {when}.", "How should guidelines treat the fact that {w}?", "Should {actor} choose {a} when {w}?", "Work out what {actor} should do if {w} {when}.", "Prioritise: {w}; {w2}; and we must {project}."]
ACTORS = "a small firm|the city council|a new manager|the central bank|a school|a startup with nine months of cash|the hospital board|a family of four|the ministry|an NGO|the regulator|a solo developer|the CFO|a farmer|the union|a judge|the on-call engineer|a research group|a mid-sized exporter|the editor|a coach|my sister|our team|the museum|the port authority".split("|")

DEFINE = [
    "What is {t}?", "what does {t} mean", "Define {t}.", "Explain {t} in one paragraph.", "Explain {t} like I'm five.", "Give me a two-sentence summary of {t}.", "Briefly, what is {t}?", "In simple terms, what is {t}?", "tell me about {t}", "Describe {t} for a glossary entry.", "What's a good analogy for {t}?", "Can you give a quick definition of {t}?", "Who came up with the idea of {t}?",
    "Name three examples of {t}.", "List five facts about {t}.", "Where does the term for {t} come from?", "Write a short introduction to {t} for a newsletter.", "Give me a flashcard on {t}.", "What is {t} used for?", "eli5 {t}", "I keep hearing about {t}, what is it?", "Explain how {t} works in a few sentences.", "Explain {t} step by step for a beginner, in short.", "What's the difference between {t} and {t2}? One line each.", "Summarise the main idea behind {t}."]
REWRITE = [
    "Rewrite this so it sounds more polite: {S}", "Fix the grammar: {s_bad}", "Translate into {lang}: {S}", "Shorten this to one line: {S}", "Turn this into a friendly email: {S}", "Make this sound more formal. \"{S}\"", "Paraphrase: {S}", "Proofread the following message.\n\n{S} Please let me know by {day}.", "Change this to the past tense: {S}", "Turn these notes into a paragraph: {w}; {when}; {limit}.",
    "Write a subject line for this mail: {S} We are looking into it.", "Rewrite for a ten-year-old: {S}", "Put this into bullet points: {S} We will {project}. Deadline {day}.", "Convert this sentence to a tweet: {S}"]
EXTRACT = [
    "Extract the names and dates from: {name} told {name2} on {day} that {w}.", "Give me JSON with who, when and what: \"On {day} {name} wrote: {S}\"", "What is the order number in this message? 'Hi, my order {num} from {city} came late, {name}'", "Is this review positive or negative: \"{w}, really disappointing\"", "Classify this ticket as bug, billing or other: {S}", "Summarise in one sentence: {S} {name} said the team will {project} {limit}.",
    "Pull every city out of this text: {name} flew from {city} to {city2} because {w}.", "Which day is mentioned here? The meeting about {t} was moved to {day}.", "List the action items: {name} will {project}; {name2} will write to the client by {day}.", "Tag the topic of this headline: '{W} {when}'", "What language is this: '{S}'"]
LIGHT = [
    "Write a one-line description of {actor}.", "What does {actor} do, in a sentence?", "Write a short greeting from {actor}.", "Translate into {lang}: {actor_} wants to {project}.", "Summarise: {actor_} decided to {project} {limit}.", "Give me a title for a story about {actor} and {t}.", "What should I call the folder for {t}?", "Should I write {t} with a capital letter?", "Is {t} a noun?", "Which word is better in this sentence, 'who' or 'whom': {actor_}, ___ we met on {day}?",
    "Suggest a title for a talk about {t}.", "Write a catchy slogan about {t}.", "Write a haiku about {t}.", "Give me a fun fact on {t}.", "Write a short apology to a customer because {w}.", "Draft a two-line status update: {w}, we are on it.", "Recommend a beginner's book on {t}.", "What questions might I be asked about {t} in an interview? Just list them.", "Write a thank-you note to {name} for explaining {t}.", "Make a quiz question about {t}.", "How do you pronounce the words in '{t}'?",
    "Thanks, that helps with {t}!", "My colleague {name} loves {t}, what small gift fits?", "Make an out-of-office message until {day}.", "Reply to {name} that we got the message about {t}.", "I just read about {t}. Cool stuff!", "Write a limerick on {t}.", "Write a role-play greeting from a shopkeeper who sells {t}.", "Who do I call if {w}?", "Tell me a story about {name} and {t}.", "Give me some keywords for {t}.", "Write a LinkedIn post announcing that we will {project}."]
DOMAIN_OF = {"software": "computer science", "data": "computer science", "business": "business", "medicine": "health", "engineering": "engineering", "history": "history"}


def fill(r: random.Random, template: str, field: str) -> str:
    """The template with every slot filled from the field."""
    choose = lambda key: r.choice(split(field, key))  # noqa: E731
    a, b = r.choice([p.split(" / ") for p in FIELDS[field]["pairs"].split("|")])
    wrong, project, topic = choose("wrong"), choose("projects"), choose("topics")
    actor = r.choice(ACTORS)
    sentence = f"{wrong} {choose('when')}."
    sentence = sentence[0].upper() + sentence[1:]
    slots = {
        "actor": actor, "actor_": actor[0].upper() + actor[1:], "w2": choose("wrong"), "a": a, "b": b, "A": a[0].upper() + a[1:], "B": b[0].upper() + b[1:], "w": wrong, "W": wrong[0].upper() + wrong[1:], "when": choose("when"), "t": topic, "t2": choose("topics"), "project": project,
        "Project": project[0].upper() + project[1:], "limit": choose("limits"), "n": str(r.randint(2, 9)), "S": sentence, "s_bad": sentence.lower().replace(" is ", " are ").replace("the ", "teh ", 1), "day": r.choice(DAYS),
        "name": r.choice(NAMES), "name2": r.choice(NAMES), "num": str(r.randint(1000, 99999)), "city": r.choice(CITIES), "city2": r.choice(CITIES), "lang": r.choice(["Spanish", "French", "German", "Japanese", "Arabic", "Chinese"])}
    for key in sorted(slots, key=len, reverse=True):
        template = template.replace("{" + key + "}", slots[key])
    return template


BRIEF = ["Answer briefly.", "Keep it short.", "One sentence please.", "No explanation needed."]
LONG = ["Think it through.", "Be thorough.", "Explain your reasoning.", "Take into account costs and people."]


def draw(r: random.Random) -> tuple[str, float, str | None]:
    """A prompt, its label, and its MMLU-Pro subject where one is plain."""
    field = r.choice(list(FIELDS))
    if r.random() < 0.5:
        text, label = fill(r, r.choice(r.choice([CAUSE, CAUSE, WEIGH, PLAN, PLAN, JUDGE, SHORT, SHORT, SHORT])), field), 0.95
        if r.random() < 0.25:  # more of the situation
            text = fill(r, r.choice(["{S} ", "Background: {w} {when}. ", "We are a team that wants to {project}. ", "Context: {limit}. "]), field) + text
        if r.random() < 0.12:
            text += " " + r.choice(LONG)
        elif r.random() < 0.06:
            text, label = text + " " + r.choice(BRIEF), 0.75
    else:
        text, label = fill(r, r.choice(r.choice([DEFINE, DEFINE, REWRITE, EXTRACT, LIGHT])), field), 0.04
        if r.random() < 0.1:
            text = fill(r, r.choice(["{S} ", "Hi, I'm {name}. ", "For a class on {t}: "]), field) + text
        if r.random() < 0.12:
            text += " " + r.choice(BRIEF)
        elif r.random() < 0.05:
            text, label = text + " " + r.choice(LONG), 0.2
    return text, label, DOMAIN_OF.get(field)
