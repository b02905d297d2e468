#!/usr/bin/python3
"""Writes preferences.json: preference losses of a few pairs, with their gradients by the sums of log-probabilities, by autograd in float64.

The formulas are those of TRL 0.24 (DPOTrainer.dpo_loss, CPOTrainer.cpo_loss, ORPOTrainer.odds_ratio_loss, KTOTrainer.kto_loss), of pairs one by
one; where an NLL term stands beside one (rpo_alpha, CPO's cpo_alpha, ORPO's own), it is the chosen answer's mean over its tokens.
Needs: torch.
"""
import json
import os

import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)

# chosen, rejected, their references; tokens of each
PAIRS = [(-12.5, -14.25, -13.0, -13.5, 5, 7), (-40.0, -31.0, -38.5, -33.0, 17, 11), (-1.25, -9.0, -1.5, -8.0, 3, 3), (-0.02, -2.0, -0.5, -1.0, 1, 2),
         (-300.0, -250.0, -290.0, -262.0, 90, 120), (-7.0, -7.0, -7.0, -7.0, 4, 4)]
# name, beta, gamma, label smoothing, alpha of the NLL term
LOSSES = [("sigmoid", 0.1, 0, 0, 0), ("sigmoid", 0.5, 0, 0.1, 0), ("sigmoid", 0.1, 0, 0, 0.5), ("ipo", 0.1, 0, 0, 0), ("ipo", 0.7, 0, 0, 0.25), ("hinge", 0.1, 0, 0, 0),
          ("hinge", 0.9, 0, 0, 0), ("robust", 0.1, 0, 0.1, 0), ("robust", 0.4, 0, 0.3, 0), ("simpo", 2, 1, 0, 0), ("simpo", 2.5, 0.5, 0.1, 0), ("orpo", 0.1, 0, 0, 1),
          ("orpo", 0.5, 0, 0, 1), ("cpo", 0.1, 0, 0, 1), ("cpo", 0.2, 0, 0.05, 0.5)]


def loss_of(name, beta, gamma, e, alpha, c, r, ref_c, ref_r, n_c, n_r):
    ratios = (c - ref_c) - (r - ref_r)
    if name == "sigmoid":
        loss = -F.logsigmoid(beta * ratios) * (1 - e) - F.logsigmoid(-beta * ratios) * e
    elif name == "robust":
        loss = (-F.logsigmoid(beta * ratios) * (1 - e) + F.logsigmoid(-beta * ratios) * e) / (1 - 2 * e)
    elif name == "hinge":
        loss = torch.relu(1 - beta * ratios)
    elif name == "ipo":
        loss = ((c - ref_c) / n_c - (r - ref_r) / n_r - 1 / (2 * beta)) ** 2
    elif name == "simpo":
        logits = c / n_c - r / n_r - gamma / beta
        loss = -F.logsigmoid(beta * logits) * (1 - e) - F.logsigmoid(-beta * logits) * e
    elif name == "cpo":
        loss = -F.logsigmoid(beta * (c - r)) * (1 - e) - F.logsigmoid(-beta * (c - r)) * e
    elif name == "orpo":
        mc, mr = c / n_c, r / n_r
        log_odds = (mc - mr) - (torch.log1p(-torch.exp(mc)) - torch.log1p(-torch.exp(mr)))
        loss = -beta * F.logsigmoid(log_odds)
    return loss - alpha * c / n_c


def kto(beta, weight, desirable, lp, ref, z):
    v = torch.sigmoid(beta * ((lp - ref) - z)) if desirable else torch.sigmoid(beta * (z - (lp - ref)))
    return weight * (1 - v)


def kto_batch(beta, weights, lp, ref, labels, kl_lp, kl_ref):
    """KTOTrainer.kto_loss of a batch: the mean of the losses, and the point that they are measured from."""
    kl = (kl_lp - kl_ref).mean().detach().clamp(min=0)
    ratios = lp - ref
    chosen = weights[1] * (1 - torch.sigmoid(beta * (ratios[labels] - kl)))
    rejected = weights[0] * (1 - torch.sigmoid(beta * (kl - ratios[~labels])))
    return torch.cat((chosen, rejected), 0).mean(), kl


def kto_batches():
    """Batches drawn by seed; each as [beta, w of undesirable, w of desirable], rows [lp, ref, label, kl_lp, kl_ref], results."""
    generator = torch.Generator().manual_seed(7)
    batches = []
    for beta, weights, size, drift in [(0.1, (1, 1), 6, 1.5), (0.1, (1, 1.33), 5, -2.0), (0.5, (0.7, 1), 8, 0.3), (0.3, (1, 1), 3, 4.0)]:
        ref = -5 - 20 * torch.rand(size, generator=generator)
        lp = (ref + drift + torch.randn(size, generator=generator)).requires_grad_()
        kl_ref = -5 - 20 * torch.rand(size, generator=generator)
        kl_lp = kl_ref + drift + torch.randn(size, generator=generator)
        labels = torch.arange(size) % 3 != 1
        loss, kl = kto_batch(beta, weights, lp, ref, labels, kl_lp, kl_ref)
        rows = [[a.item(), b.item(), int(c), d.item(), e.item()] for a, b, c, d, e in zip(lp, ref, labels, kl_lp, kl_ref)]
        batches.append({"beta": beta, "weights": weights, "rows": rows, "loss": loss.item(), "kl": kl.item(), "slopes": slopes(loss, [lp])[0]})
    return batches


def slopes(loss, inputs):
    return [(g.item() if g.dim() == 0 else g.tolist()) if g is not None else 0.0 for g in torch.autograd.grad(loss, inputs, allow_unused=True)]


def main():
    cases = []
    for name, beta, gamma, e, alpha in LOSSES:
        for pair in PAIRS:
            c, r = (torch.tensor(x, requires_grad=True) for x in pair[:2])
            loss = loss_of(name, beta, gamma, e, alpha, c, r, *pair[2:])
            cases.append({"loss": name, "numbers": [beta, gamma, e, alpha, *pair], "result": [loss.item(), *slopes(loss, [c, r])]})
    for beta, weight, desirable, lp, ref, z in [(0.1, 1, 1, -12.0, -13.5, 0.4), (0.1, 1.5, 0, -12.0, -13.5, 0.4), (0.5, 1, 1, -30.0, -21.0, 0.0), (0.3, 0.7, 0, -5.0, -6.5, 2.0)]:
        x = torch.tensor(lp, requires_grad=True)
        loss = kto(beta, weight, desirable, x, ref, z)
        cases.append({"loss": "kto", "numbers": [beta, weight, desirable, 0, lp, 0, ref, z, 5, 0], "result": [loss.item(), *slopes(loss, [x]), 0.0]})
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "preferences.json"), "w", encoding="utf-8") as file:
        file.write('{"made_with": "torch %s", "cases": [\n' % torch.__version__)
        file.write(",\n".join(json.dumps(case) for case in cases))
        file.write('\n], "kto_batches": [\n')
        file.write(",\n".join(json.dumps(batch) for batch in kto_batches()))
        file.write("\n]}\n")


main()
