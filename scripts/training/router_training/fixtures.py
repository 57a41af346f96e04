"""Trains the tiny models of the gateway's tests, and records PyTorch's logits for comparison.

    python3 -m router_training.fixtures tests/fixtures

`tiny` has the two heads of the real model; `subjects` is a classifier of the 14 subjects, whose label decides. Both are
trained for a minute on the sentences below, which is enough to separate hard prompts from easy ones.
"""

import json
import logging
import random
import sys
import tempfile
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from . import export
from . import model as router_model

SUBJECTS = {
    "math": [
        "the square root of 2 is irrational",
        "an integral of x squared",
        "the prime numbers",
        "a quadratic equation",
        "a matrix",
    ],
    "physics": ["kinetic energy", "the speed of light", "a pendulum", "gravity on the moon", "an electric field"],
    "chemistry": ["the formula of table salt", "an acid and a base", "the mole", "oxidation of iron", "a covalent bond"],
    "engineering": ["a steel beam under load", "a heat exchanger", "a three phase motor", "a low pass filter", "fluid in a pipe"],
    "computer science": ["a hash table", "a mutex", "binary search", "a compiler", "the halting problem"],
    "biology": ["a cell membrane", "photosynthesis", "the role of DNA", "natural selection", "a protein"],
    "health": ["a balanced diet", "high blood pressure", "a vaccine", "first aid for burns", "sleep and mood"],
    "law": ["a contract", "the right to remain silent", "negligence", "a patent", "habeas corpus"],
    "history": ["the French Revolution", "the Roman Empire", "the Silk Road", "the Cold War", "the printing press"],
    "philosophy": ["the categorical imperative", "free will", "stoicism", "the cave of Plato", "utilitarianism"],
    "psychology": ["classical conditioning", "working memory", "attachment theory", "cognitive bias", "the placebo effect"],
    "economics": ["inflation", "supply and demand", "a monopoly", "the interest rate", "comparative advantage"],
    "business": ["a marketing plan", "a balance sheet", "customer loyalty", "a supply chain", "a cash flow statement"],
    "other": ["the weather", "opening hours", "a parcel that came late", "a birthday card", "my password"],
}
DEFINE = ["What is {}?", "Define {}.", "Explain {} in one sentence.", "tell me about {}", "Who first described {}?"]
HARD = [
    "Prove that {}.",
    "Prove by induction that the claim about {} holds for every n.",
    "Derive the equation for {} step by step.",
    "Find every integer n for which {} works and justify each case.",
    "Given {}, work out which of the five statements must be true.",
    "A train leaves at {a}:15 and travels {b} km at {c} km/h. When does it arrive?",
    "Tom has {a} apples, buys {b} more and gives away {c}. How many are left?",
    "If {a} workers build a wall in {b} days, how long do {c} workers need?",
    "How many ways can {a} people sit around a table of {b} if two refuse to sit together?",
    "Three boxes are labelled wrongly; you may open one. Reason out which to open to know all of them.",
    "Compute the sum of {a} and {b} times {c}, then divide by {a}.",
    "Debug this: {} fails only under load after {a} minutes; find the root cause and justify it.",
    "请证明{}。",
    "小明有{a}个苹果，又买了{b}个，送给别人{c}个，还剩多少个？",
    "Solve for x: {a}x + {b} = {c}.",
    "What is the probability that {a} of {b} dice show the same number?",
]
EASY = [
    "what time do you open",
    "what time do you open tomorrow?",
    "hi",
    "hello there!",
    "thanks, bye",
    "good morning",
    "ok",
    "tell me a joke",
    "translate good morning into French",
    "Translate '{}' into Spanish.",
    "where is my order {a}?",
    "my parcel {b} came late",
    "reset my password please",
    "Write a short birthday wish for my friend.",
    "Summarise this in one line: {}.",
    "Fix the spelling: i has {a} cat",
    "What is the capital of France?",
    "你好",
    "今天天气怎么样？",
    "rewrite this politely: send me {}",
    "play some music",
    "set a timer for {a} minutes",
    "what is your name",
    "🙂",
    "thank you so much",
    "how do I cancel my order?",
]


def draw(rng: random.Random, templates: list[str]) -> tuple[str, str]:
    """A random sentence and its subject."""
    subject = rng.choice(list(SUBJECTS))
    text = rng.choice(templates)
    bare = "{}" not in text
    text = text.replace("{}", rng.choice(SUBJECTS[subject]))
    for slot in "abc":
        text = text.replace("{" + slot + "}", str(rng.randint(2, 900)))
    text = rng.choice([str, str, str.lower, lambda t: t.rstrip(".?!"), lambda t: "hey, can you help me with this: " + t])(text)
    if bare:
        subject = "math" if templates is HARD else "other"
    return text, subject


def tokenizer(rng: random.Random) -> Tokenizer:
    """A byte-level BPE tokenizer with 640 pieces. It covers any text."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=640,
        special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator([draw(rng, t)[0] for t in (HARD, EASY, DEFINE) for _ in range(1500)], trainer)
    made.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return made


def train(tok: Tokenizer, rng: random.Random, subjects_only: bool):
    """Trains a model with two layers of size 32, for 500 steps."""
    torch.manual_seed(7)
    extra = (
        {
            "num_labels": 14,
            "id2label": dict(enumerate(router_model.SUBJECTS)),
            "domain_labels": [],
            "label2id": {s: i for i, s in enumerate(router_model.SUBJECTS)},
        }
        if subjects_only
        else {}
    )
    cfg = router_model.config(
        tok.get_vocab_size(),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        local_attention=32,
        global_attn_every_n_layers=2,
        attn_implementation="eager",
        **extra,
    )
    model = router_model.RouterModel(cfg).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.01)
    for step in range(500):
        drawn = [(*draw(rng, t), int(t is HARD)) for t in (HARD, HARD, EASY, DEFINE) for _ in range(12)]
        encoded = [tok.encode(text).ids[:96] for text, _, _ in drawn]
        ids = torch.zeros(len(drawn), max(map(len, encoded)), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, e in enumerate(encoded):
            ids[row, : len(e)], mask[row, : len(e)] = torch.tensor(e), 1
        subject = torch.tensor([router_model.SUBJECTS.index(s) for _, s, _ in drawn])
        logits, domain = model(ids, mask)
        loss = torch.nn.functional.cross_entropy(logits, subject if subjects_only else torch.tensor([h for _, _, h in drawn]))
        if domain is not None:
            loss = loss + torch.nn.functional.cross_entropy(domain, subject)
        for group in optimizer.param_groups:
            group["lr"] = 4e-3 * min(1, (step + 1) / 30) * (1 - step / 500)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if step % 100 == 99:
            print(f"{'subjects' if subjects_only else 'tiny'} step {step + 1} loss {loss.item():.4f}", flush=True)
    return model.eval()


TEXTS = [
    "what time do you open",
    "hi",
    "Prove that the square root of 2 is irrational.",
    "Prove that there are infinitely many primes.",
    "A train leaves at 9:15 and travels 210 km at 84 km/h. When does it arrive?",
    "What is the formula of table salt?",
    "Define kinetic energy.",
    "Explain a mutex in one sentence.",
    "请证明根号2是无理数。",
    "你好",
    "今天天气怎么样？",
    "🙂🙂🎉",
    "family: 👩‍👩‍👧‍👦 ok",
    "def f(xs):\n    return sorted(xs)[::-1]\n\nWhat does f([3, 1, 2]) return?",
    "SELECT name FROM users WHERE id = 7;",
    "напиши короткое письмо",
    "كم الساعة الآن؟",
    "オープンは何時ですか",
    "x",
    "  leading and trailing spaces  ",
    "line one\r\nline two\ttab",
    "Tell me about the French Revolution. " * 30,
]


def main() -> None:
    """Command line: trains, exports and records."""
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    out = Path(sys.argv[1])
    rng = random.Random(11)
    tok = tokenizer(rng)
    records = []
    for name, subjects_only in (("tiny", False), ("subjects", True)):
        model = train(tok, rng, subjects_only)
        with tempfile.TemporaryDirectory() as scratch:
            model.save_pretrained(scratch)
            tok.save(f"{scratch}/tokenizer.json")
            labels = ["math", "physics", "chemistry", "engineering", "computer science", "economics"] if subjects_only else None
            export.export(scratch, out / "models" / name, TEXTS, False, labels)
            model = router_model.load(scratch)
        for text in TEXTS:
            ids = export.encode(tok, [text], 512)[0]
            with torch.no_grad():
                logits, domain = model(torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.long))
            records.append(
                {
                    "model": name,
                    "text": text,
                    "input_ids": ids,
                    "logits": logits[0].tolist(),
                    "domain_logits": None if domain is None else domain[0].tolist(),
                }
            )
            if len(text) < 90:
                p = logits[0].softmax(-1)
                print(f"  {name:8} {p[1].item() if not subjects_only else router_model.SUBJECTS[int(p.argmax())]!s:>22}  {text!r}")
    (out / "logits.json").write_text(json.dumps(records, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    main()
