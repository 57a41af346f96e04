"""What deliberate and direct prompts are both written about, so that the topic alone does not decide.

A field: plain topics; pairs to choose between; things that went wrong, with a circumstance; projects with limits.
Entries are separated by `|`; a pair has ` / ` between its sides.
"""

FIELDS = {
    "software": dict(
        topics="a mutex|a race condition|garbage collection|a B-tree index|eventual consistency|a message queue|TLS handshakes|a reverse proxy|dependency injection|the CAP theorem|a foreign key|continuous integration|a load balancer|memory paging|an API gateway|a webhook|OAuth|feature flags|a hash map|unit testing|DNS|a virtual machine|idempotency|backpressure|semantic versioning|a container image",
        pairs="Postgres / MongoDB|Kafka / RabbitMQ|a monolith / microservices|REST / gRPC|React / server-rendered pages|Kubernetes / plain VMs|optimistic / pessimistic locking|a rewrite in Rust / tuning the Java service|polling / websockets|sharding by customer / by region|a managed queue / our own|monorepo / one repo per team",
        wrong="our service deadlocks under load|the p99 latency doubled|the nightly job started to run for six hours|users get logged out at random|memory grows until the pod is killed|the cache hit rate fell from 95 to 60 percent|two replicas return different totals|the build passes locally and fails in CI|connections pile up in CLOSE_WAIT|one shard gets most of the writes|the queue never drains on Mondays|checkout fails for some Safari users only",
        when="after we upgraded the driver|only when two workers write at once|since the move to the new region|but only for tenants with many rows|every day at about 3 am|after the connection pool was raised to 200|although CPU stays at 30 percent|and restarting one node fixes it for an hour",
        projects="migrate 4 TB of orders to a new database without downtime|add multi-tenancy to an app that assumed one customer|design rate limiting across 12 edge locations|move 300 cron jobs to a scheduler|build offline sync for a field app|design an audit log that cannot be altered|cut the cloud bill by a third|split the billing module out of the monolith|design a notification system for 50 million devices",
        limits="with three engineers and two months|with no more than five minutes of downtime|without breaking the mobile clients in the field|on a budget of 2000 a month|while keeping p99 under 80 ms|under GDPR deletion rules|while two of the teams refuse to change their API"),
    "data": dict(
        topics="a p-value|gradient descent|overfitting|a confusion matrix|a data warehouse|an embedding|cross validation|a time series|feature scaling|a star schema|precision and recall|A/B testing|transfer learning|a random forest|k-means|attention in transformers|a data lake|reinforcement learning",
        pairs="a random forest / a small neural net|fine-tuning / retrieval|batch / streaming features|precision / recall as our target|Snowflake / BigQuery|a difference-in-differences / a randomised test|one global model / one per country",
        wrong="validation accuracy is 97 percent but production is near random|the A/B test shows a lift that disappears in each segment|churn predictions got worse|the dashboard and the finance report disagree by 4 percent|the loss suddenly becomes NaN|conversion rose while revenue fell|the forecast misses every holiday",
        when="after we added three new features|although nothing in the pipeline was changed|since the tracking was moved to the server|for customers who joined in March|when we retrain on more data|only on weekends",
        projects="design an experiment to tell whether the new onboarding helps|build demand forecasts for 2000 products|set up fraud detection with 0.1 percent positives|estimate the effect of a price change that was not randomised|evaluate a chatbot without labelled answers|choose metrics for a recommender",
        limits="with only six weeks of data|when labels arrive a month late|with a sample of 400 users|without any personal data|when legal forbids a control group"),
    "business": dict(
        topics="EBITDA|a SWOT analysis|working capital|churn|a value proposition|franchising|a term sheet|gross margin|a cap table|customer lifetime value|net promoter score|an invoice|a purchase order|lean manufacturing|a KPI|break-even|venture debt|onboarding",
        pairs="raising a seed round / staying bootstrapped|leasing / buying the machines|hiring two juniors / one senior|a subscription / a one-off price|expanding to Canada / to Germany first|cutting prices / adding features|an in-house team / an agency|keeping the old brand / renaming",
        wrong="sales dropped 18 percent in one quarter|three of our best people resigned in a month|the warehouse ships late although volume is flat|our largest customer wants to leave|support tickets tripled|margins shrink while revenue grows|the new store sells half of what we planned",
        when="after a competitor opened across the street|although marketing spend is unchanged|since we moved to the new ERP|but only in the northern region|right after the reorganisation|while the market grew by ten percent",
        projects="enter a market with two strong incumbents|turn around a restaurant that loses 9000 a month|negotiate with a supplier who is our only source|plan succession in a family firm|launch a product with 20000 in total|decide whether to accept an acquisition offer of 4 million|reorganise a support team that covers three time zones",
        limits="with cash for seven months|without laying anyone off|when the board is split|and the lease ends in autumn|while the founder keeps a veto|with a team of six"),
    "medicine": dict(
        topics="hypertension|a stroke|type 2 diabetes|an MRI scan|antibiotic resistance|anaemia|asthma|dehydration|the placebo effect|a vaccine|cholesterol|sleep apnoea|triage|a beta blocker|the immune system|melatonin",
        pairs="surgery / physiotherapy for a torn meniscus at 55|a statin / diet changes for a borderline case|screening everyone / only high-risk groups|an SSRI / therapy first",
        wrong="a 45-year-old has fatigue, weight gain and cold hands|a patient's potassium keeps rising|a child has fever for six days and a rash on the palms|a runner faints at the end of races|an elderly man became confused overnight|a woman has joint pain, mouth ulcers and sensitivity to light",
        when="after starting a new blood pressure drug|with normal thyroid tests|two weeks after a trip to Ghana|although all cultures are negative|since a hip operation",
        projects="plan vaccination for a district of 80000 people with two fridges|design a trial for a rare disease|reduce falls on a geriatric ward|set up triage for a small clinic in a heat wave|decide who gets the last four ICU beds",
        limits="with half the usual nurses|when the cold chain breaks twice a week|under an ethics board that rejects placebo|with 60 patients at most"),
    "science": dict(
        topics="entropy|photosynthesis|plate tectonics|black holes|CRISPR|the greenhouse effect|osmosis|radioactive decay|superconductivity|mitochondria|a catalyst|natural selection|dark matter|the Doppler effect|pH|an enzyme|tides|the water cycle|mitosis|a supernova",
        pairs="the impact / the volcanism hypothesis for the extinction|dark matter / modified gravity|mass spectrometry / NMR for this mixture|lab / field experiments on pollinators",
        wrong="the yield of our reaction fell from 80 to 30 percent|the control plants grew better than the treated ones|the detector shows counts with the source removed|bee colonies collapse in one valley|the western blot has a second band|a lake turned green within a week|our replicated result has the opposite sign",
        when="when we scaled up tenfold|after a new batch of reagent|only in the morning runs|despite identical temperature|while the neighbouring site is unaffected",
        projects="design an experiment that separates temperature from light|estimate how many microplastic particles reach the bay a year|test whether birds navigate by smell|date a sediment core without carbon|measure g with household things to one percent",
        limits="with 500 euros|without harming animals|with only twelve samples|in one growing season"),
    "engineering": dict(
        topics="torque|a heat pump|a transistor|fatigue in metals|a PID controller|a circuit breaker|reinforced concrete|regenerative braking|a servo|Ohm's law|a bearing|3D printing|an inverter|hydraulics|a truss|aerodynamic drag",
        pairs="aluminium / steel for the frame|a stepper / a servo motor|lithium iron phosphate / NMC cells|welding / bolting the joint|a heat pump / district heating|a timber / concrete structure",
        wrong="the pump cavitates|the bridge cables vibrate|the motor trips its breaker|printed parts crack along the layers|the drone drifts to the left|the solar inverter shuts down at noon|the gearbox whines|the boiler loses pressure every two days",
        when="only at about 1200 rpm|when the wind is from the east|after the bearings were replaced|in cold weather although the load is small|once the line voltage is above 245 V|since the second pump was added in parallel",
        projects="design a rainwater system for a school of 400|choose insulation and heating for a 1930s house|design a footbridge for a 22 m span|power a remote weather station through the winter|cut the vibration of a washing machine|reduce scrap on a moulding line from 8 to 3 percent",
        limits="under 15000 euros|with parts from one supplier|without stopping production|within 40 kg|given frost and salt"),
    "public affairs": dict(
        topics="habeas corpus|proportional representation|inflation|a tariff|eminent domain|the central bank|a referendum|due process|carbon pricing|GDP|antitrust law|a trade deficit|copyright|a non-compete clause|universal basic income|the separation of powers",
        pairs="a carbon tax / tradable permits|rent control / building subsidies|a congestion charge / free public transport|first past the post / ranked choice|raising the retirement age / raising contributions",
        wrong="rents rose 30 percent|voter turnout collapsed in two districts|youth unemployment doubled|hospital waiting times grew|the new bus lanes made traffic worse|fish stocks fell|burglaries went up by a quarter",
        when="although 5000 flats were built|after the reform of 2019|while neighbouring cities saw none of it|despite record spending|in the year of the flood",
        projects="close a coal plant that employs a third of the town|allocate a flood protection budget among four villages|draft a water sharing agreement between two countries|redesign a school catchment map|plan evacuation for a coastal town of 30000",
        limits="with an election in eight months|when the unions oppose it|for 3 million in total|without new taxes|when two of the villages distrust each other"),
    "history": dict(
        topics="the Treaty of Versailles|feudalism|the Silk Road|the Meiji restoration|the Magna Carta|the Black Death|the Bauhaus|the Berlin Wall|the printing press|the Suez crisis|the Enlightenment|the Punic wars|the Marshall Plan|the Aztecs",
        pairs="economic / religious causes of the Thirty Years War|alliance systems / individual decisions in July 1914|coercion / consent in the growth of the Inca state",
        wrong="two chronicles give different dates for the same siege|the letter praises a king who was dead by then|the coin hoard holds pieces from three centuries|the census shows fewer people after a peaceful decade|the map omits a city that surely existed",
        when="although both authors claim to have been there|according to the parish records|while tax receipts rose|in a copy made 200 years later",
        projects="judge whether the Western Roman Empire fell or was transformed|assess how far railways caused the rise of nationalism|evaluate whether the embargo could have worked|compare why one revolution turned violent and another did not|date an undated manuscript from its contents",
        limits="using only the sources listed|against the strongest counterargument|given that most records burned|in a debate where the other side speaks first"),
    "daily life": dict(
        topics="sourdough|a mortgage|compost|meal prep|a tax refund|travel insurance|jet lag|a budget|houseplants|a road trip|stain removal|interval training|public speaking|a carbon monoxide alarm|a used car|a garden pond|a wedding toast|espresso|the school run",
        pairs="renting / buying given that we may move in four years|the job in Lyon / the one in Dublin|paying off the loan / investing|a heat pump / a new gas boiler|adopting a dog now / next year|the train / driving for a family of five",
        wrong="my bread collapses in the oven|the power bill doubled|my tomato leaves curl and yellow|the car pulls right when braking|my teenager stopped talking at dinner|the upstairs radiator stays cold|the cat drinks far more than before|damp appears on one wall",
        when="only in winter|since the neighbours renovated|although I follow the recipe|after the new tyres|even though the others are fine|while we were away",
        projects="plan nine days in Japan for two adults, a toddler and a wheelchair user|split rent fairly among four rooms of different sizes|organise a wedding for 90 people|plan meals for a diabetic, a vegan and a child who hates vegetables|get out of 14000 of debt|care for my mother from 400 km away|renovate a kitchen while living in the flat",
        limits="for under 2500|with one day of leave a month|when two of the guests do not speak|without a car|and it must be done by June|with three cards at different rates"),
    "education and work": dict(
        topics="active recall|a syllabus|plagiarism|a thesis statement|scaffolding|a cover letter|stand-up meetings|remote work|a performance review|burnout|Bloom's taxonomy|a rubric|phonics|a standing desk|mentoring|a probation period",
        pairs="the PhD / the industry offer|phonics / whole language|a four-day week / flexible hours|promoting from inside / hiring outside",
        wrong="half of the class fails the same exam question|a strong engineer delivers nothing any more|attendance fell in the morning course|two teams blame each other for every delay|students copy from each other|nobody speaks up in retrospectives",
        when="although homework is perfect|since the new manager came|after we went remote|but only in the spring term|despite two workshops",
        projects="redesign a first-year course that 40 percent fail|mediate between two colleagues who each have a point|plan a year of learning to become a data engineer|write a fair grading policy for group work|choose between three candidates with different strengths",
        limits="with six hours a week|without blaming anyone|with the same staff|under union rules|before the term starts"),
    "strategy and risk": dict(
        topics="a Nash equilibrium|sunk cost|a black swan|hedging|a bluff|Pareto efficiency|insurance|the prisoner's dilemma|opportunity cost|scenario planning|a stop-loss|due diligence",
        pairs="attacking now / waiting a turn|a public / a private offer|a fixed fee / a share of the profit|disclosing the flaw now / after the fix|insuring / self-insuring the fleet",
        wrong="our rival matches every price cut within a day|the auction keeps ending far above the estimate|the rumour spread although nobody was told|the safety margin was used up twice this year|each partner waits for the other to invest",
        when="even when it loses money|since the second bidder arrived|although the contract forbids it|with one month to go",
        projects="design an auction for 12 taxi licences|plan the defence of a small island in a board game with three rivals|decide how much to bid when the others know more|share a cost of 90000 among three villages by use and by means|prepare for a cyber incident in a hospital",
        limits="when one side can walk away|under complete secrecy|if trust is already damaged|with two weeks' notice|knowing that one of the reports is false"),
}


def split(field: str, key: str) -> list[str]:
    """The entries of one list."""
    return FIELDS[field][key].split("|")
