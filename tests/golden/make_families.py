#!/usr/bin/python3
"""Writes the reference figures of the families since Llama, from the transformers package itself.

For each of FAMILIES a directory NAME/ with a small model of random weights, and NAME.json with what transformers
makes of it in float64: losses and gradient norms of the twenty steps of make_golden.py, and logits of a padded
batch. For each of ROTARY the logits of the model `qwen2_25k` under other rotary positions (rotary.json).
Promises: the same weights on every run. README.md says what each key is.
Needs: numpy, torch 2, transformers 5.
"""
import json
import os
import warnings

import numpy as np
import torch
import transformers
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification
from transformers import Gemma3TextConfig, MistralConfig, Qwen2Config, Qwen3Config

from make_golden import HERE, SETTINGS, VOCABULARY, batch_of, digits, learning_rate, write_json, write_safetensors

warnings.filterwarnings("ignore")
transformers.logging.set_verbosity_error()

# Odd sizes: heads that do not fill the channels, an MLP of no power of two, windows shorter than the text.
SHARED = {
    "vocab_size": VOCABULARY, "num_hidden_layers": 2, "max_position_embeddings": 96, "bos_token_id": 0,
    "eos_token_id": 0, "pad_token_id": None, "attention_dropout": 0.0,
}
FAMILIES = {
    "mistral_25k": MistralConfig(
        **SHARED, hidden_size=28, num_attention_heads=4, num_key_value_heads=2, head_dim=6,
        intermediate_size=45, sliding_window=9, rms_norm_eps=1e-5, tie_word_embeddings=False),
    "qwen2_25k": Qwen2Config(
        **SHARED, hidden_size=36, num_attention_heads=6, num_key_value_heads=3, intermediate_size=50,
        rope_parameters={"rope_type": "default", "rope_theta": 50000.0}, tie_word_embeddings=True),
    "qwen2_window_25k": Qwen2Config(
        **{**SHARED, "num_hidden_layers": 3}, hidden_size=24, num_attention_heads=2, num_key_value_heads=1,
        intermediate_size=33, use_sliding_window=True, sliding_window=5, max_window_layers=1,
        tie_word_embeddings=True),
    "qwen3_25k": Qwen3Config(
        **SHARED, hidden_size=24, num_attention_heads=4, num_key_value_heads=2, head_dim=10,
        intermediate_size=41, tie_word_embeddings=False),
    "gemma3_25k": Gemma3TextConfig(
        **{**SHARED, "num_hidden_layers": 3}, hidden_size=28, num_attention_heads=4, num_key_value_heads=2,
        head_dim=10, intermediate_size=43, query_pre_attn_scalar=13, sliding_window=7,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"]),
}
# Positions far beyond the original length.
ROTARY = {
    "linear": {"rope_type": "linear", "factor": 3.0},
    "llama3": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
               "original_max_position_embeddings": 24},
    "yarn": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 20},
    "yarn_exact": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 20, "truncate": False,
                   "beta_fast": 4.0, "beta_slow": 0.5, "attention_factor": 1.3},
}
# The same families under a score head, smaller still.
SCORES = ("mistral_25k", "qwen2_25k", "qwen3_25k", "gemma3_25k")
SCORE_SIZES = {"vocab_size": 61, "hidden_size": 12, "intermediate_size": 17, "num_attention_heads": 2,
               "num_key_value_heads": 1, "pad_token_id": 60, "tie_word_embeddings": False, "num_labels": 1}
LENGTHS = [80, 33, 7]  # of the sequences of the padded batch
LOGITS_AT = [[0, 0], [0, 8], [0, 41], [0, 79], [1, 5], [1, 32], [2, 6]]  # (sequence, position)


def keep_doubles(model):
    """transformers computes norms in float32, whatever the model is in; the figures are to be of float64."""
    for module in model.modules():
        kind = type(module).__name__
        if not kind.endswith("RMSNorm"):
            continue
        eps = module.eps if hasattr(module, "eps") else module.variance_epsilon
        offset = 1.0 if kind.startswith("Gemma") else 0.0

        def forward(x, module=module, eps=eps, offset=offset):
            return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * (offset + module.weight)

        module.forward = forward


def open_model(config, weights, kind=AutoModelForCausalLM):
    model = kind.from_config(config, attn_implementation="sdpa", dtype=torch.float32)
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}, (missing, unexpected)
    model.tie_weights()
    model = model.double().eval()
    keep_doubles(model)
    return model


def draw_weights(config, seed, kind=AutoModelForCausalLM):
    """name -> float32. Gains and biases are drawn too: at their first values a forgotten one would not show."""
    random = np.random.RandomState(seed)
    from_zero = isinstance(config, Gemma3TextConfig)
    weights = {}
    for name, parameter in kind.from_config(config).named_parameters():
        noise = random.standard_normal(tuple(parameter.shape))
        if parameter.dim() >= 2:
            value = 0.1 * noise
        elif name.endswith("bias"):
            value = 0.3 * noise
        else:
            value = (0.0 if from_zero else 1.0) + 0.2 * noise
        weights[name] = torch.from_numpy(value.astype(np.float32))
    return weights


def read_tokens():
    words = np.fromfile(os.path.join(HERE, "tokens.bin"), dtype="<u2")[512:]
    return torch.from_numpy(words.astype(np.int64))


def padded_logits(model, tokens):
    """(rows, V) of LOGITS_AT, from one batch padded on the right."""
    longest = max(LENGTHS)
    ids, mask = torch.zeros(len(LENGTHS), longest, dtype=torch.long), torch.zeros(len(LENGTHS), longest)
    for i, length in enumerate(LENGTHS):
        ids[i, :length] = tokens[1000 * i : 1000 * i + length]
        mask[i, :length] = 1
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=mask.long()).logits
        # With a cache, token by token, transformers says the same.
        cached, cache = [], None
        for t in range(longest):
            step = model(input_ids=ids[:1, t : t + 1], past_key_values=cache, use_cache=True)
            cache = step.past_key_values
            cached.append(step.logits[0, 0])
    assert (torch.stack(cached) - logits[0]).abs().max() < 1e-9
    return digits([logits[b, t].tolist() for b, t in LOGITS_AT], 8)


def train(model, tokens):
    groups = [{"params": [p for p in model.parameters() if p.dim() >= 2], "weight_decay": SETTINGS["weight_decay"]},
              {"params": [p for p in model.parameters() if p.dim() < 2], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=0.0, betas=(SETTINGS["beta1"], SETTINGS["beta2"]), eps=SETTINGS["eps"])
    losses, norms = [], []
    for step in range(SETTINGS["steps"]):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step)
        optimizer.zero_grad()
        ids, targets = batch_of(tokens, step)
        logits = model(input_ids=ids).logits
        loss = torch.nn.functional.cross_entropy(logits.reshape(-1, VOCABULARY), targets.reshape(-1))
        loss.backward()
        losses.append(loss.item())
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), SETTINGS["grad_clip"]).item())
        optimizer.step()
    return losses, norms


def check_older_models(tokens):
    """transformers itself gives the figures that make_golden.py's models gave."""
    for name in ("gpt2_100k", "llama_100k"):
        with open(os.path.join(HERE, name + ".json"), encoding="utf-8") as file:
            figures = json.load(file)
        model = AutoModelForCausalLM.from_pretrained(
            os.path.join(HERE, name), attn_implementation="sdpa", dtype=torch.float32).double().eval()
        keep_doubles(model)
        losses, norms = train(model, tokens)
        loss_off = max(abs(a - b) / b for a, b in zip(losses, figures["loss"]))
        norm_off = max(abs(a - b) / b for a, b in zip(norms, figures["grad_norm"]))
        print(f"{name}: transformers is off by {loss_off:.2g} of a loss, {norm_off:.2g} of a norm")


def make_scores(tokens):
    """Scores of two padded sequences under each family's model for sequence classification."""
    models = []
    for seed, name in enumerate(SCORES):
        given = FAMILIES[name].to_dict()
        for key in ("id2label", "label2id", "architectures"):
            given.pop(key, None)
        config = type(FAMILIES[name])(**{**given, **SCORE_SIZES})
        weights = draw_weights(config, 200 + seed, AutoModelForSequenceClassification)
        model = open_model(config, weights, AutoModelForSequenceClassification)
        config.architectures, config.dtype = [type(model).__name__], "float32"
        folder = "score_" + name.split("_")[0]
        os.makedirs(os.path.join(HERE, folder), exist_ok=True)
        write_json(folder + "/config.json", config.to_diff_dict())
        write_safetensors(folder + "/model.safetensors", weights)
        ids = torch.full((2, 30), 60)
        ids[0], ids[1, :11] = tokens[:30] % 60, tokens[500:511] % 60
        with torch.no_grad():
            scores = model(input_ids=ids, attention_mask=(ids != 60).long()).logits[:, 0]
        models.append({"name": folder, "tokens": ids.tolist(), "lengths": [30, 11],
                       "scores": digits(scores.tolist(), 10)})
    write_json("family_scores.json", {"models": models})


def main():
    tokens = read_tokens()
    check_older_models(tokens)
    drawn = {}
    for seed, (name, config) in enumerate(FAMILIES.items()):
        weights = drawn[name] = draw_weights(config, 100 + seed)
        model = open_model(config, weights)
        os.makedirs(os.path.join(HERE, name), exist_ok=True)
        config.architectures = [type(model).__name__]
        config.dtype = "float32"
        write_json(name + "/config.json", config.to_diff_dict())
        write_safetensors(name + "/model.safetensors", weights)
        figures = {"settings": SETTINGS, "transformers": transformers.__version__, "torch": torch.__version__,
                   "parameters": sum(w.numel() for w in weights.values()), "lengths": LENGTHS,
                   "logits_at": LOGITS_AT, "logits": padded_logits(model, tokens)}
        losses, norms = train(model, tokens)
        write_json(name + ".json", {**figures, "loss": digits(losses, 12), "grad_norm": digits(norms, 12)})
        print(f"{name}: {figures['parameters']} parameters, loss {losses[0]:.4f} to {losses[-1]:.4f}")
    make_scores(tokens)
    variants = []
    for kind, rope in ROTARY.items():
        config = Qwen2Config(**{**FAMILIES["qwen2_25k"].to_dict(), "rope_parameters": {**rope, "rope_theta": 50000.0}})
        model = open_model(config, drawn["qwen2_25k"])
        variants.append({"name": kind, "rope_parameters": {**rope, "rope_theta": 50000.0},
                         "logits": padded_logits(model, tokens)})
    write_json("rotary.json", {"model": "qwen2_25k", "lengths": LENGTHS, "logits_at": LOGITS_AT, "variants": variants})


if __name__ == "__main__":
    main()
