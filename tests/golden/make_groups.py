#!/usr/bin/python3
"""Writes groups.json: advantages and losses of groups of answers, with gradients by the log-probabilities, by autograd in float64.

The formulas are those of TRL 0.24 (GRPOTrainer._generate_and_score_completions and _compute_loss, RLOOTrainer) for one process and one
micro-batch; reinforce++ is OpenRLHF's (its cumulated KL penalty and masked whitening).
Needs: torch.
"""
import json
import os

import torch

torch.set_default_dtype(torch.float64)
GROUPS, K, T, ROOM = 3, 4, 9, 12
EPS = {"dapo": (0.2, 0.28), "grpo": (0.2, 0.2), "bnpo": (0.1, 0.3), "dr_grpo": (0.2, 0.2), "cispo": (0, 1.1), "gspo": (3e-2, 4e-2)}


def advantages_of(kind, rewards, mask, old, ref, beta):
    grouped = rewards.view(-1, K)
    if kind == "rloo":
        r = (rewards - beta * ((old - ref) * mask).sum(-1)).view(-1, K)
        return ((r - (r.sum(1, keepdim=True) - r) / (K - 1)).view(-1, 1) * mask)
    if kind == "reinforce++":
        kl = (old - ref) * mask
        last = mask * (mask.cumsum(-1) == mask.sum(-1, keepdim=True))
        per_token = -beta * kl + last * rewards[:, None]
        a = torch.flip(torch.cumsum(torch.flip(per_token, [-1]), -1), [-1])
        mean = (a * mask).sum() / mask.sum()
        var = (((a - mean) ** 2) * mask).sum() / mask.sum()
        return (a - mean) * var.clamp(min=1e-8).rsqrt() * mask
    a = rewards - grouped.mean(1).repeat_interleave(K)
    if kind == "group":
        a = a / (grouped.std(1).repeat_interleave(K) + 1e-4)
    if kind == "batch":
        a = a / (rewards.std() + 1e-4)
    return a[:, None] * mask


def loss_of(kind, lp, old, ref, advantages, mask, beta):
    low, high = EPS[kind]
    log_ratio = lp - old
    if kind == "gspo":
        log_ratio = ((log_ratio * mask).sum(-1) / mask.sum(-1).clamp(min=1.0)).unsqueeze(-1)
    coef_1 = torch.exp(log_ratio)
    if kind == "cispo":
        per_token = -torch.clamp(coef_1, max=high).detach() * advantages * lp
    else:
        coef_2 = torch.clamp(coef_1, 1 - low, 1 + high)
        per_token = -torch.min(coef_1 * advantages, coef_2 * advantages)
    if beta:
        per_token = per_token + beta * (torch.exp(ref - lp) - (ref - lp) - 1)
    if kind in ("grpo", "gspo"):
        return ((per_token * mask).sum(-1) / mask.sum(-1).clamp(min=1.0)).mean()
    if kind == "bnpo":
        return (per_token * mask).sum() / mask.sum().clamp(min=1.0)
    if kind == "dr_grpo":
        return (per_token * mask).sum() / (per_token.size(0) * ROOM)
    return (per_token * mask).sum() / mask.sum()


def flat(x):
    return [round(v, 12) for v in x.reshape(-1).tolist()]


def main():
    g = torch.Generator().manual_seed(11)
    n = GROUPS * K
    lengths = torch.randint(1, T + 1, (n,), generator=g)
    mask = (torch.arange(T)[None] < lengths[:, None]).double()
    old = (-3 * torch.rand(n, T, generator=g) - 0.1).float().double()
    new = (old + 0.6 * (torch.rand(n, T, generator=g) - 0.5)).float().double()
    ref = (old + 0.8 * (torch.rand(n, T, generator=g) - 0.5)).float().double()
    rewards = torch.randint(0, 5, (n,), generator=g).double() / 4
    rewards[K:2 * K] = 0.3
    out = {"made_with": "torch " + torch.__version__, "groups": GROUPS, "answers": K, "tokens": T, "room": ROOM, "lengths": lengths.tolist(),
           "old": flat(old), "new": flat(new), "ref": flat(ref), "rewards": flat(rewards), "advantages": [], "losses": []}
    for kind in ("group", "none", "batch", "rloo", "reinforce++"):
        for beta in (0, 0.05):
            out["advantages"].append({"kind": kind, "beta": beta, "values": flat(advantages_of(kind, rewards, mask, old, ref, beta))})
    base = (torch.rand(n, 1, generator=g) * 4 - 2).float().double() * mask
    out["given"] = flat(base)
    for kind, (low, high) in EPS.items():
        for beta in (0, 0.04):
            lp = new.clone().requires_grad_()
            loss = loss_of(kind, lp, old, ref, base, mask, beta)
            loss.backward()
            out["losses"].append({"kind": kind, "clip": [low, high], "beta": beta, "loss": loss.item(), "gradient": flat(lp.grad)})
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "groups.json")
    with open(path, "w", encoding="utf-8") as file:
        file.write("{" + ",\n".join(json.dumps(key) + ": " + json.dumps(value) for key, value in out.items()) + "}\n")


main()
