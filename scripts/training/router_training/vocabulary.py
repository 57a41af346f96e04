"""Builds the tokenizer: MiniLM's English word pieces, and pieces and characters of other scripts from e5's vocabulary.

Text is first converted to lower case without accents, so that a decision does not depend on letter case. Chinese characters and
kana are split into single characters. Text that no piece covers becomes `[UNK]`, by which the gateway finds unreadable prompts.
"""

import json
import unicodedata
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from .pretrained import minilm_dir, read_e5

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
# The most pieces of several characters that are kept of a script, most frequent first, and the most single characters. Han and
# kana have no pieces of several characters, because they are split.
PIECES = {"LATIN": 4500, "CYRILLIC": 3000, "ARABIC": 1500, "HANGUL": 1800, "DEVANAGARI": 200, "GREEK": 200, "HEBREW": 200}
CHARACTERS = {"CJK": 4500, "HANGUL": 900, "HIRAGANA": 90, "KATAKANA": 90}
DEFAULT_CHARACTERS = 60


def normalizer() -> normalizers.Normalizer:
    """NFKC, lower case, without accents, and composed again, which Hangul needs."""
    return normalizers.Sequence(
        [
            normalizers.NFKC(),
            normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=False, lowercase=True),
            normalizers.NFD(),
            normalizers.StripAccents(),
            normalizers.NFC(),
        ]
    )


def script(text: str) -> str:
    """The script of a piece: the first word of the Unicode name of its first letter."""
    for char in text:
        if char.isalpha() or unicodedata.category(char).startswith("L"):
            return unicodedata.name(char, "OTHER").split()[0].split("-")[0]
    return "OTHER"


def extra_pieces(have: set[str], norm: normalizers.Normalizer) -> dict[str, int]:
    """The additional pieces, each with its row in e5's table. e5 marks a word's start by `▁`, WordPiece its rest by `##`."""
    pieces, scores, _ = read_e5()
    left_pieces, left_chars = dict(PIECES), {}
    chosen: dict[str, int] = {}
    for row in np.argsort(-scores, kind="stable"):
        raw = pieces[row]
        text = norm.normalize_str(raw.removeprefix("▁")).strip()
        if not text or " " in text or not all(c.isalpha() or unicodedata.category(c) == "Mc" for c in text):
            continue
        kind = script(text)
        if len(text) == 1:
            if kind in ("LATIN", "OTHER"):
                continue
            left = left_chars.setdefault(kind, CHARACTERS.get(kind, DEFAULT_CHARACTERS))
            names = [text] if kind in ("CJK", "HIRAGANA", "KATAKANA") else [text, "##" + text]
            if kind in ("HIRAGANA", "KATAKANA"):
                names.append("##" + text)  # kana can continue a word
            fresh = [n for n in names if n not in have and n not in chosen]
            if left > 0 and fresh:
                left_chars[kind] = left - 1
                chosen.update({n: int(row) for n in fresh})
            continue
        name = text if raw.startswith("▁") else "##" + text
        if kind in ("HIRAGANA", "KATAKANA"):
            names, budget = [text, "##" + text], "KANA"
            left_pieces.setdefault("KANA", 900)
            if any(script(c) == "CJK" for c in text):
                continue
        else:
            names, budget = [name], kind
        if left_pieces.get(budget, 0) <= 0:
            continue
        fresh = [n for n in names if n not in have and n not in chosen]
        if fresh and scores[row] != 0:
            left_pieces[budget] -= 1
            chosen.update({n: int(row) for n in fresh})
    return chosen


def build(out: Path) -> tuple[Tokenizer, np.ndarray]:
    """Writes `tokenizer.json` to `out`; returns the tokenizer and a start value for the embedding of each token."""
    from safetensors.numpy import load_file

    source = json.loads((minilm_dir() / "tokenizer.json").read_text())["model"]["vocab"]
    table = load_file(minilm_dir() / "model.safetensors")
    table = next(v for k, v in table.items() if k.endswith("embeddings.word_embeddings.weight"))
    english = [p for p, _ in sorted(source.items(), key=lambda kv: kv[1]) if not p.startswith("[")]
    norm = normalizer()
    extra = extra_pieces(set(english), norm)
    vocab = SPECIALS + english + list(extra)

    pieces, _, e5 = read_e5()
    row = {p: i for i, p in enumerate(pieces)}
    both = [(source[p], row["▁" + p]) for p in english if "▁" + p in row and len(p) > 2]
    x = np.stack([e5[b] for _, b in both]).astype(np.float64)
    y = np.stack([table[a] for a, _ in both]).astype(np.float64)
    ones = np.ones((len(x), 1))
    x1 = np.concatenate([x, ones], 1)
    bridge = np.linalg.solve(x1.T @ x1 + 0.05 * len(x) * np.diag(x.var(0).mean() * np.ones(x1.shape[1])), x1.T @ y)
    fit = x1 @ bridge
    gain = np.linalg.norm(y - y.mean(0), axis=1).mean() / np.linalg.norm(fit - fit.mean(0), axis=1).mean()
    start = np.zeros((len(vocab), table.shape[1]), np.float32)
    for i, piece in enumerate(vocab):
        if piece in source:
            start[i] = table[source[piece]]
        else:
            guess = np.append(e5[extra[piece]], 1.0) @ bridge
            start[i] = y.mean(0) + (guess - y.mean(0)) * min(gain, 1.6)
    print(
        f"vocabulary: {len(english)} English, {len(extra)} other, bridge learned from {len(both)} shared words, "
        f"residual {np.mean((fit - y) ** 2) / y.var():.2f}, gain {gain:.2f}"
    )

    tokenizer = Tokenizer(models.WordPiece({p: i for i, p in enumerate(vocab)}, unk_token="[UNK]", max_input_chars_per_word=64))
    tokenizer.normalizer = norm
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.add_special_tokens(SPECIALS)
    out.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(out / "tokenizer.json"), pretty=False)
    return tokenizer, start
