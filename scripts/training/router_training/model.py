"""The router model: ModernBERT with mean pooling and two heads, for reasoning and subject. And the model of its early exit."""

import json
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import gelu, relu
from transformers import ModernBertConfig, ModernBertModel
from transformers.models.modernbert.modeling_modernbert import ModernBertPredictionHead, ModernBertPreTrainedModel

if not torch.cuda.is_available():
    # A CUDA build of torch on a machine without the driver library crashes when transformers asks this.
    torch.cuda.is_current_stream_capturing = lambda: False

LABELS = ["direct", "reasoning"]
EXIT_CHANNELS, EXIT_HIDDEN = 128, 256
SUBJECTS = [
    "biology",
    "business",
    "chemistry",
    "computer science",
    "economics",
    "engineering",
    "health",
    "history",
    "law",
    "math",
    "other",
    "philosophy",
    "physics",
    "psychology",
]


class RouterModel(ModernBertPreTrainedModel):
    """The layout of `ModernBertForSequenceClassification`, so that a plain checkpoint loads, plus a subject head.

    `config.domain_labels` (a list, empty for none) sizes the second head. `config.classifier_pooling` is `mean` or `cls`.
    """

    config_class = ModernBertConfig

    def __init__(self, config):
        super().__init__(config)
        self.model = ModernBertModel(config)
        self.head = ModernBertPredictionHead(config)
        self.drop = nn.Dropout(config.classifier_dropout)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        domains = getattr(config, "domain_labels", None) or []
        self.domain_classifier = nn.Linear(config.hidden_size, len(domains)) if domains else None
        self.post_init()

    def pool(self, hidden, attention_mask):
        """A vector for each text, without its padding."""
        if self.config.classifier_pooling == "cls":
            return hidden[:, 0]
        mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
        return (hidden * mask).sum(1) / mask.sum(1)

    def forward(self, input_ids, attention_mask):
        """The logits of both heads. The second is None in a model without subjects."""
        hidden = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        pooled = self.drop(self.head(self.pool(hidden, attention_mask)))
        domain = self.domain_classifier(pooled) if self.domain_classifier is not None else None
        return self.classifier(pooled), domain


class Exit(nn.Module):
    """Computes the logit of reasoning and the logits of the subjects from token embeddings (batch, tokens, size) and their mask."""

    def __init__(self, size: int, subjects: int):
        super().__init__()
        self.words = nn.ModuleList(
            nn.Linear(size, EXIT_CHANNELS, bias=i == 1) for i in range(3)
        )  # of the token before, of the token itself, and of the token after
        self.norm = nn.BatchNorm1d(size * 2 + EXIT_CHANNELS * 2)
        self.dense = nn.Linear(size * 2 + EXIT_CHANNELS * 2, EXIT_HIDDEN)
        self.out = nn.Linear(EXIT_HIDDEN, 1 + subjects)
        self.drop = nn.Dropout(0.2)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """A row for each text: reasoning, then the subjects. Padding has no influence."""
        there, count = mask.unsqueeze(-1), mask.sum(1, keepdim=True)
        x = x * there
        before, here, behind = (words(x) for words in self.words)
        none = torch.zeros_like(before[:, :1])
        pairs = relu(torch.cat([none, before[:, :-1]], 1) + here + torch.cat([behind[:, 1:], none], 1)) * there
        highest = x.masked_fill(there == 0, -1e9).max(1).values
        pooled = torch.cat([x.sum(1) / count, highest, pairs.sum(1) / count, pairs.max(1).values], 1)
        return self.out(self.drop(gelu(self.dense(self.drop(self.norm(pooled))))))


def config(vocab_size: int, **overrides) -> ModernBertConfig:
    """The configuration of the shipped model, small enough for one core. `overrides` replace values of it."""
    values = {
        "vocab_size": vocab_size,
        "hidden_size": 384,
        "intermediate_size": 448,
        "num_hidden_layers": 5,
        "num_attention_heads": 12,
        "max_position_embeddings": 1024,
        "local_attention": 64,
        "global_attn_every_n_layers": 3,
        "attn_implementation": "sdpa",
        "pad_token_id": 0,
        "cls_token_id": 2,
        "sep_token_id": 3,
        "bos_token_id": 2,
        "eos_token_id": 3,
        "classifier_pooling": "mean",
        "classifier_dropout": 0.1,
        "num_labels": 2,
        "id2label": dict(enumerate(LABELS)),
        "label2id": {label: i for i, label in enumerate(LABELS)},
    }
    values.update(overrides)
    made = ModernBertConfig(**values)
    made.domain_labels = overrides.get("domain_labels", SUBJECTS)
    return made


def load(folder: str | Path) -> RouterModel:
    """Loads a checkpoint directory or hub id. A head that the checkpoint lacks is an error, not a random head."""
    model, report = RouterModel.from_pretrained(str(folder), output_loading_info=True, attn_implementation="eager")
    missing = [k for k in report["missing_keys"] if not k.endswith(".bias")]
    if missing:
        raise SystemExit(f"{folder}: the checkpoint lacks {', '.join(sorted(missing))}")
    return model.eval()


def write_config(folder: Path, cfg: ModernBertConfig, reasoning: list[str], extra: dict | None = None) -> None:
    """Writes `config.json` of a classifier directory: the values of transformers, and those of the gateway in `thinkgate`."""
    values = json.loads(cfg.to_json_string(use_diff=False)) if not isinstance(cfg, dict) else dict(cfg)
    values = {k: v for k, v in values.items() if v is not None and k not in ("dtype", "_name_or_path", "attn_implementation")}
    values["thinkgate"] = {"reasoning_labels": reasoning, "domain_labels": values.pop("domain_labels", []) or [], **(extra or {})}
    (folder / "config.json").write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n")
