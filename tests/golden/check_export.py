#!/usr/bin/python3
"""Opens directories that trivium wrote in transformers and compares logits with the figures of make_families.py.

Usage: check_export.py FOLDER, where FOLDER/NAME is `trivium export --model tests/golden/NAME --format hf --out
FOLDER/NAME` for any of the NAMEs of make_families.py, or rotary_VARIANT of `qwen2_25k` under the positions of
rotary.json. Prints the largest difference of each; exit code 1 where one is
over 1e-6, or where transformers misses or does not know a tensor.
Needs: numpy, torch 2, transformers 5.
"""
import json
import os
import sys

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from make_families import FAMILIES, HERE, keep_doubles, padded_logits, read_tokens

transformers.logging.set_verbosity_error()


def figures_of(name):
    with open(os.path.join(HERE, name + ".json"), encoding="utf-8") as file:
        return json.load(file)


def open_exported(folder, kind):
    model, info = kind.from_pretrained(folder, attn_implementation="sdpa", dtype=torch.float32,
                                       output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"], info
    model = model.double().eval()
    keep_doubles(model)
    return model


def main():
    tokens, worst = read_tokens(), 0.0
    for name in sorted(os.listdir(sys.argv[1])):
        folder = os.path.join(sys.argv[1], name)
        if name in FAMILIES:
            found = torch.tensor(padded_logits(open_exported(folder, AutoModelForCausalLM), tokens))
            expected = torch.tensor(figures_of(name)["logits"])
        elif name.startswith("rotary_"):
            figure = next(v for v in figures_of("rotary")["variants"] if v["name"] == name[len("rotary_"):])
            found = torch.tensor(padded_logits(open_exported(folder, AutoModelForCausalLM), tokens))
            expected = torch.tensor(figure["logits"])
        else:
            figure = next(m for m in figures_of("family_scores")["models"] if m["name"] == name)
            ids = torch.tensor(figure["tokens"])
            model = open_exported(folder, AutoModelForSequenceClassification)
            with torch.no_grad():
                found = model(input_ids=ids, attention_mask=(ids != 60).long()).logits[:, 0]
            expected = torch.tensor(figure["scores"])
        off = (found - expected).abs().max().item()
        worst = max(worst, off)
        print(f"{name}: off by {off:.2g}")
    sys.exit(0 if worst <= 1e-6 else 1)


if __name__ == "__main__":
    main()
