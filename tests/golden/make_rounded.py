#!/usr/bin/python3
"""Writes rounded.json: what the models of make_golden.py do when their matrices are held in narrow types.

Every matrix but GPT-2's position table is rounded as it would be stored (f16, bf16, and ggml's q8_0 and q4_0 in blocks of 32 along
the inputs; a matrix whose inputs are no multiple of 32 is bf16 there), then all is computed in float64: logits, the loss of the first
batch, and the norm of the gradients of the vectors (gains, biases), which a model of frozen matrices has. The rounding here is
written from ggml's description, in numpy.
Needs: numpy, torch 1.13 or newer, safetensors.
"""
import os

import numpy as np
import torch
from safetensors.torch import load_file

from make_golden import CONFIGS, HERE, batch_of, digits, model_from, write_json
from models import loss_of

LOGITS_AT = [[0, 0], [1, 17], [3, 63]]  # (sequence, position)


def to_half(x, kind):
    return torch.from_numpy(x).to(torch.float16 if kind == "f16" else torch.bfloat16).float().numpy()


def to_blocks(rows, kind):
    """rows (out, in) float32: 32 values share d, a half; q8_0 holds round(x / d), q4_0 a nibble less 8."""
    x = rows.reshape(-1, 32)
    if kind == "q8_0":
        d = (np.abs(x).max(axis=1) / np.float32(127)).astype(np.float32)
    else:
        at = np.abs(x).argmax(axis=1)
        d = (x[np.arange(len(x)), at] / np.float32(-8)).astype(np.float32)
    inverse = np.where(d == 0, np.float32(0), np.float32(1) / np.where(d == 0, np.float32(1), d)).astype(np.float32)
    scaled = (x * inverse[:, None]).astype(np.float32)
    if kind == "q8_0":
        q = np.trunc(scaled + np.copysign(np.float32(0.5), scaled))
    else:
        q = np.minimum(15, np.trunc(scaled + np.float32(8.5))) - 8
    return (q * d.astype(np.float16).astype(np.float32)[:, None]).astype(np.float32).reshape(rows.shape)


def rounded(name, weight, kind):
    if weight.dim() < 2 or name.endswith("wpe.weight"):
        return weight
    turned = any(part in name for part in ("c_attn", "c_proj", "c_fc"))  # GPT-2's lie (in, out)
    rows = np.ascontiguousarray(weight.numpy().T if turned else weight.numpy())
    blocks = kind.startswith("q") and rows.shape[1] % 32 == 0
    rows = to_blocks(rows, kind) if blocks else to_half(rows, "f16" if kind == "f16" else "bf16")
    return torch.from_numpy(np.ascontiguousarray(rows.T if turned else rows))


def figures(config, weights, tokens):
    model = model_from(config, weights, torch.float64)
    inputs, targets = batch_of(tokens, 0)
    loss = loss_of(model, inputs, targets)
    loss.backward()
    vectors = [p.grad.norm().item() ** 2 for p in model.parameters() if p.dim() == 1]
    logits = model(inputs).detach()
    return {"loss": loss.item(), "vector_grad_norm": sum(vectors) ** 0.5,
            "logits": [logits[b, t].tolist() for b, t in LOGITS_AT]}


def main():
    words = np.fromfile(os.path.join(HERE, "tokens.bin"), dtype="<u2")[512:]
    tokens = torch.from_numpy(words.astype(np.int64))
    models = {}
    for name, config in CONFIGS.items():
        weights = load_file(os.path.join(HERE, name, "model.safetensors"))
        models[name] = {
            kind: figures(config, {key: rounded(key, w, kind) for key, w in weights.items()}, tokens)
            for kind in ("f16", "bf16", "q8_0", "q4_0")
        }
    write_json("rounded.json", {"logits_at": LOGITS_AT, "models": digits(models, 9)})


if __name__ == "__main__":
    main()
