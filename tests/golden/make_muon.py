#!/usr/bin/python3
"""Writes muon.json: twenty steps of the models of make_golden.py with torch.optim.Muon on the hidden matrices.

Muon has each published matrix for itself, (out, in): q, k and v of GPT-2's c_attn apart, its Conv1D turned round. Embeddings, positions,
the head and vectors are AdamW's, with the settings of make_golden.py; both share the learning rate (adjust_lr_fn "match_rms_adamw", whose
factor is 0.2). torch.optim.Muon orthogonalises in bfloat16; here its own code does so in float64, because Tensor.bfloat16 is replaced by a
copy while it steps. `bfloat16` in the file is what the loss of the last step would have been without that.
Needs: numpy, torch with torch.optim.Muon (2.9 or newer).
"""
import torch

from make_golden import (CONFIGS, SETTINGS, batch_of, digits, initial_weights, learning_rate, make_tokens, model_from,
                         norm_of, write_json)
from models import adamw, loss_of

HIDDEN = ("c_attn", "c_proj", "c_fc", "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
MOMENTUM = 0.95


def is_hidden(name):
    return name.endswith(".weight") and name.split(".")[-2] in HIDDEN


def matrices_of(name, tensor):
    """The (out, in) matrices of a parameter, as views of it."""
    turned = tensor.T if name.split(".")[-2] in ("c_attn", "c_proj", "c_fc") else tensor
    return turned.chunk(3) if "c_attn" in name else [turned]


class Both:
    """Muon on copies of the hidden matrices, AdamW on the rest."""

    def __init__(self, model, exact):
        self.model, self.exact = model, exact
        self.hidden = [(name, p) for name, p in model.named_parameters() if is_hidden(name)]
        self.copies = [[torch.nn.Parameter(m.detach().clone()) for m in matrices_of(name, p)] for name, p in self.hidden]
        self.muon = torch.optim.Muon([m for copies in self.copies for m in copies], lr=SETTINGS["lr"],
                                     weight_decay=SETTINGS["weight_decay"], momentum=MOMENTUM, nesterov=True,
                                     adjust_lr_fn="match_rms_adamw")
        self.adamw = adamw(model, SETTINGS)
        hidden = {id(p) for _, p in self.hidden}
        for group in self.adamw.param_groups:
            group["params"] = [p for p in group["params"] if id(p) not in hidden]

    def step(self, lr):
        for optimizer in (self.muon, self.adamw):
            for group in optimizer.param_groups:
                group["lr"] = lr
        for (name, p), copies in zip(self.hidden, self.copies):
            for copy, grad in zip(copies, matrices_of(name, p.grad)):
                copy.grad = grad.clone()
        half = torch.Tensor.bfloat16
        try:
            if self.exact:
                torch.Tensor.bfloat16 = lambda tensor: tensor.clone()
            self.muon.step()
        finally:
            torch.Tensor.bfloat16 = half
        self.adamw.step()
        with torch.no_grad():
            for (name, p), copies in zip(self.hidden, self.copies):
                for copy, matrix in zip(copies, matrices_of(name, p)):
                    matrix.copy_(copy)


def train(config, weights, tokens, dtype, exact=True):
    model = model_from(config, weights, dtype)
    both = Both(model, exact)
    losses, norms = [], []
    for step in range(SETTINGS["steps"]):
        model.zero_grad()
        loss = loss_of(model, *batch_of(tokens, step))
        loss.backward()
        losses.append(loss.item())
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), SETTINGS["grad_clip"]).item())
        both.step(learning_rate(step))
    return losses, norms, model


def main():
    torch.set_num_threads(1)
    tokens = make_tokens("tokens.bin", SETTINGS["steps"] * 2 * SETTINGS["batch_size"] * SETTINGS["seq_len"] + 1)
    figures = {"made_with": "torch " + torch.__version__, "momentum": MOMENTUM, "rms": 0.2, "settings": SETTINGS}
    for seed, (name, config) in enumerate(CONFIGS.items(), start=1):
        weights = initial_weights(config, seed)
        losses, norms, model = train(config, weights, tokens, torch.float64)
        single, single_norms, _ = train(config, weights, tokens, torch.float32)
        half, _, _ = train(config, weights, tokens, torch.float64, exact=False)
        moved = {n: norm_of(p.detach().double() - weights[n].double()) for n, p in model.named_parameters() if is_hidden(n)}
        figures[name] = {
            "loss": digits(losses, 12), "grad_norm": digits(norms, 12), "moved": digits(moved, 9),
            "fp32_against_fp64": digits({
                "loss": max(abs(a / b - 1) for a, b in zip(single, losses)),
                "grad_norm": max(abs(a / b - 1) for a, b in zip(single_norms, norms))}, 2),
            "bfloat16": half[-1],
        }
        print(name, losses[0], losses[-1], figures[name]["fp32_against_fp64"], half[-1])
    write_json("muon.json", figures)


if __name__ == "__main__":
    main()
