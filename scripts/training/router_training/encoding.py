"""How a text becomes token ids, in training, in export and in evaluation as in the gateway."""

from tokenizers import Tokenizer

CHARACTERS_PER_TOKEN = 8  # kept before tokenising, half at each end, so that a long text costs no more than a short one


def encode(tokenizer: Tokenizer, texts: list[str], longest: int) -> list[list[int]]:
    """Ids, the special ones included; of a text with more than `longest` the head and the tail."""
    end = CHARACTERS_PER_TOKEN * ((longest + 1) // 2)
    cut = [text if len(text) <= 2 * end else text[:end] + text[-end:] for text in texts]
    rows = [encoding.ids for encoding in tokenizer.encode_batch(cut)]
    half = longest // 2
    return [ids if len(ids) <= longest else ids[:half] + ids[-(longest - half) :] for ids in rows]
