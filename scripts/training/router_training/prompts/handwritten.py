"""Prompts for training that were written by hand. None of them is in `tests/fixtures/everyday.jsonl`.

Some were written after an early model's errors on that file and are close to its prompts, so it is not a clean test of a model
that was trained on these; the model card says which numbers are. `voices.txt` has more, in many voices (terse, rambling, formal,
as a second language), written without knowledge of any model's errors.

`{long}` becomes a passage, a log or a piece of code, so that length does not decide.
"""

import random
from pathlib import Path

from .deliberate import read

DELIBERATE = r"""We doubled the replicas and throughput did not move at all. Where is the bottleneck likely to be, and how would you prove it?
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
Why does the number go down after the second restart?\n{long}
The greenhouse heater runs all night, yet the seedlings near the door freeze. The thermostat hangs in the middle. What is happening?
We hired twice as many support agents, and the waiting time went up. How is that possible?
Which of my three side projects should I drop if I only have ten hours a week from now on? One earns, one teaches me things, one is for a friend.
Our webhook receiver gets the same event up to four times since the vendor moved data centres. Redesign it so that it does not matter.
The union offers 2% now and 4% next year, or 3.5% now. Inflation may stay high. Which should we prefer?
A translation agency wants to replace half of its freelancers with machine output. Think through the consequences for quality, price and people.
The council wants to know whether the new roundabout made the crossing safer. Crashes went from 9 to 5 a year. What can we say?
My landlord kept the deposit because of scratches that were there before. I have photos but no protocol. How strong is my position?
We measure developers by closed tickets. What behaviour will that produce, and what would be better?
Three of our nodes disagree on who is leader after every network hiccup. Walk through what might be going on.
A museum has one guard at night and four rooms worth protecting. Where should she stand, and when?
How do I teach fractions to a child who is quick but hates to be wrong?
Choose a database for a medical device that must work offline for weeks and merge later without losing anything.
The dog limps only in the morning and after long naps. It is worse in wet weather. What might it be and when do I go to the vet?
Should a newspaper publish a leaked recording that is true, private and of public interest?
We need to halve the size of our mobile app without dropping a feature anyone uses. Where would you look?
The choir has 12 sopranos, 3 tenors and a concert in June. Pick a kind of programme and justify it.
Why would a company that is growing at 40% a year run out of money?
Someone edits our wiki pages at night under an account of a person on parental leave. How do we investigate this without accusing anyone?
In what order should I learn statistics, SQL and Python if I want to become an analyst within nine months with a full-time job?
A pharmacist sees three prescriptions from three doctors for the same patient that do not go together. What should she consider?
If all the taxis in a city became driverless overnight, which businesses would suffer that nobody thinks of?
Make the weekly plan of a bakery with two people work if one of them cannot lift and the other cannot work before six.
The p-value is 0.03 but we looked at eleven outcomes. What now?
We can insure the shipment for 2% of its value or not at all. It was lost twice in 150 trips. Decide.
My thesis needs one more experiment, my funding ends in March and my adviser is on sabbatical. What is the best way through?
A file of 40 GB must get to 600 shops each night over poor lines. How would you build that?
Is it a good idea to tell users why their content was removed? Think of abuse, fairness and cost.
The second violin always comes in early, says the conductor; he says the first is late. How can we find out?
How would you set up a two-sided market for used lab equipment so that the first hundred deals happen?
Two maps of the same coast disagree by 300 m. One is from 1902, the other from 1951. Which one is wrong, or neither?
There is a trade-off between onboarding speed and fraud. Where should a small bank put the line?
We planted the same seed in four beds and only bed three failed. What would you test first?
Suggest a pricing scheme for a tool that some use daily and others twice a year.
My mother has early dementia and wants to keep cooking on gas. What would you weigh?
Our search got faster and people click less. What hypotheses do you have?
Given four tasks with 3, 5, 2 and 4 days, of which the third needs the first and the fourth needs the second, what is the earliest finish with two people?
Come up with a way for 30 people to agree on a restaurant within five minutes.
Does the alibi hold? He bought petrol at 22:10, forty kilometres away, and the alarm went off at 22:30.
Should I put my savings into my brother's café? It loses less each month and he is very good at it.
How can we tell whether our mentoring programme works if only motivated people sign up?
Migrate or stay? The vendor doubles the price in July, the alternative lacks single sign-on until autumn.
What would an attacker do with read access to our build logs?
The hospital's readmissions fell after it began to call patients at home. The neighbouring hospital's fell too. What did the calls do?
Draft rules for a shared workshop in which tools break and nobody says who did it.
We have budget for either sensors on all pumps or a technician for a year. Which gives more?
A city wants fewer cars and the shops want more visitors. Find a policy that both can live with.
Why do prices in our two shops drift apart although both use the same list?
Which of two job candidates would you invite, if one has the perfect CV and vague answers and the other the reverse?
I have four hours in Vienna between trains with a suitcase and a toddler. What is realistic?
Figure out how the thief could have known the code if only three people had it and none of them told.
Work backwards: the exhibition opens on 4 May; prints take ten days, framing six, and the curator is away the last week of April.
Should the captain have turned back at noon? The forecast was uncertain, fuel was at 60%, and two guests were seasick.
Our emails land in spam at one provider only. SPF and DKIM pass. Where is the problem likely to be?
Explain the apparent contradiction: the fund beat its benchmark in every year and still returned less over ten years.
What strategy would you use to learn Hungarian to B1 in eighteen months, given thirty minutes a day and a Hungarian mother-in-law?
You get two minutes with the minister. Which single argument for the reading programme do you make, and why that one?
Critically assess the idea of paying people to give blood.
Is there a smarter way to run our fire drill? Last time it took eleven minutes and two people stayed inside.
Compare the risks of a late launch with those of a launch with known bugs for a payroll system.
Identify the confounders in a study that finds that people with dogs live longer.
How could both witnesses be telling the truth?
The app is slow. The database team says it's the app, the app team says it's the database. Settle it.
Make sense of this: water use in the building rose by half in a month in which half the flats stood empty.
帮我分析一下：用户数增长了，但收入连续三个月下降，可能的原因有哪些，怎么验证？
请比较自研和采购两种方案的优缺点，并针对一个十人团队给出建议。
为什么我的程序在本地运行正常，部署到服务器后偶尔超时？请一步步排查。
制定一个三个月内从零开始准备半程马拉松的计划，我每周只有四天时间，膝盖有旧伤。
¿Cómo reorganizarías un almacén con dos muelles si los camiones llegan todos a la misma hora?
Unsere Heizung taktet ständig, obwohl der Kessel neu ist. Woran kann das liegen, und in welcher Reihenfolge prüfe ich es?
Comment une petite librairie peut-elle tenir face à la vente en ligne sans baisser ses prix ?
Почему продажи выросли, а прибыль упала? Назови гипотезы и как их проверить.
売上は増えているのに利益が減っています。原因の仮説を立て、検証方法を考えてください。
두 공급업체 중 하나를 골라야 합니다. 하나는 싸지만 자주 늦고 다른 하나는 비쌉니다. 어떻게 결정해야 할까요?
لماذا ترتفع فاتورة الكهرباء رغم أن البيت فارغ؟ حلل الأسباب المحتملة بالترتيب.
{long}\nSomething does not add up here. What?
Here are my notes.\n{long}\nTurn them into a plan that survives contact with reality, and say what could go wrong.
{long}\n\nWhat would you change first and what would you measure to see if it helped?""".split("\n")

DIRECT = r"""what's the best emoji for a launch announcement
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
Quel est le synonyme de « rapide » ?
What is a Gantt chart? One sentence will do.
Explain photosynthesis in one paragraph.
Explain quantum entanglement in one paragraph for a curious teenager.
In a short paragraph, what is monetary policy?
Briefly explain the difference between a virus and a bacterium.
What's the difference between a lease and a licence, in two lines?
Give me a plain-language definition of anaphylaxis.
Define entropy in thermodynamics.
What is a semaphore in operating systems? Keep it brief.
What does a compiler do?
What is Kubernetes in one sentence?
Explain what an API is to my mum.
What does 'load-bearing' mean?
What is meant by 'trade-off' in economics? A sentence.
What is 'strategy' as opposed to 'tactics'? One line each.
Quick definition: hypothesis testing.
Describe the role of a project manager in two or three sentences.
What's the normal resting heart rate of an adult?
What's the adult dose of paracetamol on the package?
What colour is the flag of Estonia?
How do you spell 'bureaucracy'?
Who sings 'Jolene'?
Which planet has the most moons?
What is the longest river in South America?
When do the clocks go back?
Is a tomato a fruit?
Who is the patron of the arts in ancient Rome whose name became a word?
What does 'carpe diem' mean?
Write a haiku on fog.
Write a short thank-you message to the volunteers.
Write a product description for a bamboo toothbrush, 40 words.
Write a job ad headline for a night nurse.
Write an apology for a late delivery in two sentences.
Draft a reminder that the dentist appointment is tomorrow.
Compose a toast of three sentences for a retirement.
Give me a slogan for a bicycle repair shop.
Name five board games for two.
List four types of clouds.
List the seven wonders of the ancient world.
List common interview questions for a barista.
Suggest three titles for this paragraph.\n{long}
{long}\nWhich words are misspelt?
{long}\n\nGive me the three most important points.
Translate the next lines to German and keep the line breaks.\n{long}
{long}\nReturn the names as a JSON array.
Make this text half as long.\n{long}
Rewrite this as if it were from the 19th century: I missed the train again.
Change 'you' to 'we' everywhere: You should check your bag before you leave.
Turn into bullet points: we need milk, then eggs, and bread if there is any.
Convert to title case: the old man and the sea
Capitalise the first letter of each word: quarterly report for the south
Sort alphabetically: mango, apple, cherry, banana
Remove the duplicates: red, blue, red, green, blue
Put commas where they belong: However I did not see him that day
Answer with yes or no: is water wet?
Say it in Latin: knowledge is power
What's the Italian for 'receipt'?
How do you say 'cheers' in Japanese?
Is this sentence correct: 'He don't know'?
What's the past participle of 'to swim'?
hello from Bern!
good night, talk tomorrow
ok got it, thank you
you made my day
nope
what can you do?
are you a robot
tell me a riddle
tell me a dad joke about elevators
cheer me up
let's play a word game, you start
my name is Ines
I'd like to speak to a human
How do I delete my account?
where can I download my invoice
the promo code doesn't work
do you ship to Malta?
is the museum open on Mondays
can I bring my dog
my luggage didn't arrive, flight 455
I forgot my username
how long is the warranty
what's the wifi password policy, where do I find it
please cancel my booking for the 14th
Extract the email addresses: write to ana@x.org or to the desk at desk@y.com
Which of these are verbs: run, table, sing, blue
Count to ten in French.
What time is it in Tokyo when it says JST?
Name the author: Crime and Punishment
What is the recipe for pancakes?
How long do I boil an egg?
What's the internal temperature of cooked chicken?
Suggest a side dish for salmon.
How do I remove red wine from a shirt?
What plants grow in shade?
什么是人工智能？用一句话回答。
把这句话改成书面语：我们明天去看看吧。
帮我起一个公众号的名字，主题是读书。
上海的区号是多少？
写一条朋友圈文案，主题是秋天的第一杯奶茶。
¿Quién escribió Rayuela?
Was bedeutet "Feierabend"?
Écris une phrase avec le mot « lumière ».
Кто написал «Мастера и Маргариту»?
「ありがとう」を英語で何と言いますか。
부산의 인구는 얼마인가요?
ما معنى كلمة "صبر"؟""".split("\n")

PASSAGES = [
    "2024-03-02 10:11:04 INFO worker 3 started\n2024-03-02 10:11:09 WARN queue depth 412\n2024-03-02 10:11:10 ERROR lease expired, retrying (attempt 3 of 5)\n2024-03-02 10:11:40 INFO worker 3 started",
    "def total(items):\n    s = 0\n    for i in range(len(items)):\n        if items[i].active:\n            s += items[i].price * items[i].count\n        else:\n            items.remove(items[i])\n    return s",
    "The council met on 4 May to hear both parties. Mrs Adeyemi said that the fence had stood since 1987; Mr Lund said that his survey of 2011 puts the line 40 cm further east. Neither had the original deed.",
    "Jan 120, Feb 133, Mar 151, Apr 149, May 170, Jun 188\nreturns: 4, 5, 9, 14, 20, 31",
    "lock.acquire()\nif key not in cache:\n    lock.release()\n    value = load(key)\n    lock.acquire()\n    cache[key] = value\nlock.release()\nreturn cache[key]",
    "Dear team, as some of you know the heating in the west wing has been out since Monday. The contractor came twice and replaced the valve, but the pressure falls each night. We expect a decision by Thursday. Until then please work from the east wing. Best, Ines",
    "upstream api { server 10.0.0.4:8080 max_fails=3; server 10.0.0.5:8080; }\nproxy_read_timeout 30s;\nkeepalive_timeout 75s;\nclient_max_body_size 1m;",
    "Lena grew up in Bergen, moved to Lyon in 1999 and opened a bakery with her brother Tom. In 2008 they sold it to a chain. She now teaches; he went back to Norway.",
    "Revenue grew 12% while headcount grew 31%. Support costs doubled. Management attributes this to 'one-time onboarding effects', as it did in each of the last three years.",
    "CREATE TABLE orders (id serial, customer int, total numeric, created timestamp);\nSELECT customer, sum(total) FROM orders JOIN addresses USING (customer) GROUP BY customer;",
    "The old mill at the edge of town has stood empty for years. Children say that a light burns there at night. Last week the roof fell in, and nobody was surprised.",
]


VOICES = read(Path(__file__).with_name("voices.txt"))


def voice(r: random.Random) -> tuple[str, float]:
    """A random prompt of `voices.txt` and its label."""
    thinks = r.random() < 0.5
    return r.choice(VOICES["reasoning" if thinks else "direct"]), 0.95 if thinks else 0.04


def draw(r: random.Random) -> tuple[str, float]:
    """A random prompt and its label."""
    thinks = r.random() < 0.45
    text = r.choice(DELIBERATE if thinks else DIRECT).replace("\\n", "\n").replace("{long}", r.choice(PASSAGES))
    return text, 0.95 if thinks else 0.04
