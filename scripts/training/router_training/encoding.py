"""Encodes texts as token ids, as the gateway does."""

from tokenizers import Tokenizer

CHARACTERS_PER_TOKEN = (
    8  # of a text's beginning and end; what is between is cut before tokenising, so that a long text costs no more
)


def encode(tokenizer: Tokenizer, texts: list[str], longest: int) -> list[list[int]]:
    """The token ids of each text, with special tokens. A text of more than `longest` tokens keeps its head and its tail."""
    end = CHARACTERS_PER_TOKEN * ((longest + 1) // 2)
    cut = [text if len(text) <= 2 * end else text[:end] + text[-end:] for text in texts]
    rows = [encoding.ids for encoding in tokenizer.encode_batch(cut)]
    half = longest // 2
    return [ids if len(ids) <= longest else ids[:half] + ids[-(longest - half) :] for ids in rows]
