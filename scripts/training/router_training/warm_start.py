"""Initialises a ModernBERT with MiniLM's weights, so that distillation needs fewer steps.

A BERT layer (norm after the residual, biases, learned positions, GELU) differs from a ModernBERT layer (norm before, no biases,
rotary positions, GeGLU), but most weights can be reused: attention, the most active feed-forward neurons as the value half of
GeGLU, and the first layer norms. Biases and the constant gate of GELU need a constant input. So the dimension of the residual
stream that varies least gets a constant, and the weights that read it act as biases.
"""

import torch
from transformers import BertModel

from .pretrained import minilm_dir

LAYERS = (0, 1, 2, 3, 5)  # the teacher's layer that each layer of the student starts from
TARGETS = (1, 2, 3, 4, 6)  # the teacher's hidden state, after so many layers, that each layer should reproduce


def teacher() -> BertModel:
    """Loads all-MiniLM-L6-v2."""
    return BertModel.from_pretrained(str(minilm_dir()), attn_implementation="sdpa", add_pooling_layer=False).eval()


@torch.no_grad()
def statistics(bert: BertModel, ids, mask):
    """The mean activity of each feed-forward neuron on a sample of text, by layer; and the hidden states."""
    active, hooks = [], []
    for layer in bert.encoder.layer:
        hooks.append(layer.intermediate.register_forward_hook(lambda _m, _i, out: active.append(out[mask.bool()].abs().mean(0))))
    states = bert(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
    for hook in hooks:
        hook.remove()
    flat = [s[mask.bool()] for s in states]
    return active, flat


@torch.no_grad()
def start(model, bert: BertModel, tokens: torch.Tensor, ids, own, mask) -> None:
    """Initialises the encoder of a `RouterModel`.

    `tokens` are start values of its token embeddings. `ids` and `own` are a text sample in the teacher's and the student's tokens.
    """
    active, states = statistics(bert, ids, mask)
    quiet = int(torch.stack([s.std(0) for s in states]).mean(0).argmin())
    embeddings, encoder = bert.embeddings, model.model
    table = tokens + embeddings.token_type_embeddings.weight[0] + embeddings.position_embeddings.weight[:96].mean(0)
    table = table - table.mean(1, keepdim=True)
    width = table.shape[1]
    used = own[mask.bool()]
    scale = table[used].std(1).mean()
    table[:, quiet] = 3.0 * scale  # a constant as large as the largest of the other values
    encoder.embeddings.tok_embeddings.weight.copy_(table)
    norm = encoder.embeddings.norm
    norm.weight.copy_(embeddings.LayerNorm.weight)
    norm.weight[quiet] = 1.0
    constant = torch.nn.functional.layer_norm(table[used], (width,))[:, quiet].mean()
    for mine, source, layer in zip(encoder.layers, LAYERS, range(len(LAYERS)), strict=True):
        theirs = bert.encoder.layer[source]
        att, spread = theirs.attention.self, states[source].std(1).mean()
        qkv = torch.cat([att.query.weight, att.key.weight, att.value.weight])
        bias = torch.cat([att.query.bias, att.key.bias, att.value.bias])
        level = constant if layer == 0 else 1.0  # the value of the constant dimension after the norm
        qkv[:, quiet] = bias / level
        mine.attn.Wqkv.weight.copy_(qkv)
        out = theirs.attention.output.dense.weight.clone()
        out[quiet] = 0
        mine.attn.Wo.weight.copy_(out)
        if layer > 0:
            mine.attn_norm.weight.fill_(float(spread))
            mine.attn_norm.weight[quiet] = float(spread) / float(constant)
        mine.mlp_norm.weight.copy_(theirs.attention.output.LayerNorm.weight)
        mine.mlp_norm.weight[quiet] = 1.0 / float(constant)
        first, second = theirs.intermediate.dense, theirs.output.dense
        keep = (active[source] * second.weight.norm(dim=0)).topk(mine.mlp.Wo.weight.shape[1]).indices
        value = first.weight[keep].clone()
        value[:, quiet] = first.bias[keep]
        gate = torch.randn_like(value) * 0.02
        gate[:, quiet] = 1.0
        mine.mlp.Wi.weight.copy_(torch.cat([value, gate]))
        second = second.weight[:, keep].clone()
        second[quiet] = 0
        mine.mlp.Wo.weight.copy_(second)
    encoder.final_norm.weight.fill_(1.0)
