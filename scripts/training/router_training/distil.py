"""Distils MiniLM's hidden states into the model, before it learns the task.

Each layer of the student has a linear map onto a hidden state of the teacher, which is discarded afterwards. The mean of the last
layer must also have the direction of the teacher's sentence embedding.
"""

import math
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import cosine_similarity

from . import warm_start
from .pretrained import minilm_dir


def batches(encoded: list[list[int]], tokens: int, longest: int, generator: torch.Generator):
    """Endless random batches of about `tokens` tokens, of text windows of similar length."""
    while True:
        order = torch.randperm(len(encoded), generator=generator).tolist()
        for at in range(0, len(order), 4096):
            windows = []
            for i in order[at : at + 4096]:
                ids = encoded[i]
                if len(ids) > longest:
                    first = int(torch.randint(0, len(ids) - longest + 1, (1,), generator=generator))
                    ids = ids[first : first + longest]
                windows.append(ids)
            windows.sort(key=len)
            groups, group = [], []
            for ids in windows:
                if group and len(ids) * (len(group) + 1) > tokens:
                    groups.append(group)
                    group = []
                group.append(ids)
            groups.append(group)
            for g in torch.randperm(len(groups), generator=generator).tolist():
                rows = groups[g]
                ids = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
                mask = torch.zeros_like(ids)
                for r, row in enumerate(rows):
                    ids[r, : len(row)] = torch.tensor(row)
                    mask[r, : len(row)] = 1
                yield ids, mask


def run(model, tokenizer, start_table, texts: list[str], out: Path, steps: int, seed: int = 1, device: str = "cpu") -> None:
    """Starts from MiniLM's weights and trains `steps` batches, or continues from the checkpoint `out` where there is one."""
    from tokenizers import Tokenizer

    teacher_tokenizer = Tokenizer.from_file(str(minilm_dir() / "tokenizer.json"))
    teacher_tokenizer.no_truncation()
    teacher_tokenizer.no_padding()
    vocab = tokenizer.get_vocab()
    name = {i: p for p, i in teacher_tokenizer.get_vocab().items()}
    to_student = torch.tensor([vocab.get(name[i], 1) for i in range(len(name))])
    encoded = [e.ids[:512] for e in teacher_tokenizer.encode_batch([t[:4000] for t in texts])]
    encoded = [e for e in encoded if len(e) > 3 and e.count(100) <= len(e) // 20]
    print(f"distillation: {len(encoded)} texts the teacher can read", flush=True)

    generator = torch.Generator().manual_seed(seed)
    stream = batches(encoded, 2560, 96, generator)
    teacher = warm_start.teacher().to(device)
    width = model.config.hidden_size
    maps = nn.ModuleList([nn.Linear(width, width) for _ in warm_start.TARGETS])
    sentence = nn.Linear(width, width)
    for linear in [*maps, sentence]:
        nn.init.eye_(linear.weight)
        nn.init.zeros_(linear.bias)
    ids, mask = next(stream)
    warm_start.start(model, teacher.cpu(), torch.tensor(start_table), ids, to_student[ids], mask)
    teacher.to(device)
    model.to(device).train()
    seen: list[torch.Tensor] = []
    hooks = [
        layer.register_forward_hook(lambda _m, _i, o: seen.append(o[0] if isinstance(o, tuple) else o))
        for layer in model.model.layers
    ]
    parameters = [*model.model.parameters(), *maps.parameters(), *sentence.parameters()]
    for linear in [*maps, sentence]:
        linear.to(device)
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    step, saved = 0, time.monotonic()
    if out.exists():
        state = torch.load(out, map_location=device)
        model.load_state_dict(state["model"])
        maps.load_state_dict(state["maps"])
        sentence.load_state_dict(state["sentence"])
        optimizer.load_state_dict(state["optimizer"])
        step = state["step"]
        for _ in range(step if step < steps else 0):
            next(stream)
    while step < steps:
        ids, mask = next(stream)
        ids, mask = ids.to(device), mask.to(device)
        with torch.no_grad():
            wanted = teacher(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
        seen.clear()
        last = model.model(input_ids=to_student.to(device)[ids], attention_mask=mask).last_hidden_state
        real = mask.bool()
        layers = []
        for linear, target, mine in zip(maps, warm_start.TARGETS, seen, strict=True):
            goal = wanted[target][real]
            layers.append((linear(mine[real]) - goal).pow(2).mean() / goal.var())
        m = mask.unsqueeze(-1).float()
        pooled = sentence((last * m).sum(1) / m.sum(1))
        goal = (wanted[-1] * m).sum(1) / m.sum(1)
        angle = 1 - cosine_similarity(pooled, goal).mean()
        loss = sum(layers) / len(layers) + 2 * angle
        rate = min(1, (step + 1) / 60) * (0.5 * (1 + math.cos(math.pi * step / steps)) * 0.97 + 0.03)
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * rate
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        if step % 20 == 0 or step < 4:
            each = " ".join(f"{v.item():.3f}" for v in layers)
            print(f"distil {step}/{steps}  layers {each}  1-cos {angle.item():.4f}", flush=True)
        if time.monotonic() - saved > 120 or step == steps:
            saved = time.monotonic()
            out.parent.mkdir(parents=True, exist_ok=True)
            torch.save(
                {
                    "model": model.state_dict(),
                    "maps": maps.state_dict(),
                    "sentence": sentence.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "step": step,
                },
                out.with_suffix(".tmp"),
            )
            out.with_suffix(".tmp").replace(out)
    for hook in hooks:
        hook.remove()
