"""Writes scores.json: what the golden models' bodies give under a score head, and the losses of preferences.

Promises: everything is computed in float64, each sequence alone and without padding, from the formulas of the
papers and not from trivium's kernels. Needs: torch 1.13 or newer. Run it in this folder's repository with
`python3 tests/golden/make_scores.py`.
"""
import json
import os

import numpy as np
import torch
import torch.nn.functional as F

from models import build

HERE = os.path.dirname(os.path.abspath(__file__))
MODELS = ["gpt2_100k", "llama_100k"]
STRIDE, LENGTHS = 40, [33, 40, 21, 17, 5, 28]  # sequence i is tokens[40 i : 40 i + LENGTHS[i]]
CENTER = 0.01
PAIRS = [((0, 1), 0.0, False), ((2, 3), 0.5, False), ((4, 5), 0.0, True)]  # members, margin, tie
LISTS = [((0, 1, 2), (0, 1, 2)), ((3, 4, 5), (0, 1, 1))]  # members, ranks


def read_weights(path):
    with open(path, "rb") as file:
        data = file.read()
    length = int.from_bytes(data[:8], "little")
    header, start = json.loads(data[8:8 + length]), 8 + length
    header.pop("__metadata__", None)
    weights = {}
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        values = np.frombuffer(data[start + first:start + last], dtype="<f4").reshape(entry["shape"])
        weights[name] = torch.from_numpy(values.astype(np.float64))
    return weights


def load(name):
    with open(os.path.join(HERE, name, "config.json")) as file:
        config = json.load(file)
    model = build(config).double()
    model.load_state_dict(read_weights(os.path.join(HERE, name, "model.safetensors")), strict=False)
    channels = config.get("n_embd") or config["hidden_size"]
    weight = torch.sin(torch.arange(1, channels + 1, dtype=torch.float64)) / 8
    weight = torch.nn.Parameter(weight.float().double())  # (C), as float32 holds it
    norm = model.transformer["ln_f"] if hasattr(model, "transformer") else model.model["norm"]
    return model, norm, weight


def score(model, norm, weight, tokens):
    """The final hidden state of the last token, times the weight."""
    kept = []
    hook = norm.register_forward_hook(lambda module, inputs, output: kept.append(output))
    model(tokens[None])
    hook.remove()
    return kept[0][0, -1] @ weight


def pair_loss(r, pair):
    (chosen, rejected), margin, tie = pair
    center = CENTER * (r[chosen] + r[rejected]) ** 2
    if tie:
        x = r[chosen] - r[rejected]
        return center - (F.logsigmoid(x) + F.logsigmoid(-x)) / 2
    return center - F.logsigmoid(r[chosen] - r[rejected] - margin)


def kwise_loss(r, group):
    members, ranks = group
    terms = [CENTER * (r[a] + r[b]) ** 2 - F.logsigmoid(r[a] - r[b])
             for a, i in zip(members, ranks) for b, j in zip(members, ranks) if i < j]
    return torch.stack(terms).mean()


def listwise_loss(r, group):
    members, ranks = group
    terms = []
    for a, i in zip(members, ranks):
        below = [r[b] for b, j in zip(members, ranks) if j > i]
        if below:
            terms.append(torch.logsumexp(torch.stack([r[a]] + below), 0) - r[a])
    return torch.stack(terms).sum()


def figures(name, tokens):
    model, norm, weight = load(name)
    sequences = [tokens[STRIDE * i:STRIDE * i + length] for i, length in enumerate(LENGTHS)]
    result = {}
    for key, loss, groups in [("pairs", pair_loss, PAIRS), ("kwise", kwise_loss, LISTS), ("listwise", listwise_loss, LISTS)]:
        model.zero_grad()
        weight.grad = None
        r = [score(model, norm, weight, sequence) for sequence in sequences]
        mean = torch.stack([loss(r, group) for group in groups]).mean()
        mean.backward()
        grads = [p.grad for p in [*model.parameters(), weight] if p.grad is not None]
        result[key] = {"loss": mean.item(), "grad_norm": torch.sqrt(sum((g ** 2).sum() for g in grads)).item()}
        result["scores"] = [value.item() for value in r]
    return result


def main():
    tokens = np.fromfile(os.path.join(HERE, "tokens.bin"), dtype="<u2")[512:].astype(np.int64)
    result = {name: figures(name, torch.from_numpy(tokens)) for name in MODELS}
    with open(os.path.join(HERE, "scores.json"), "w") as file:
        json.dump(result, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
