#!/usr/bin/python3
"""Writes this folder's reference figures: two small models, a token shard, and what PyTorch makes of them.

Promises: the same weights, tokens, gradients and float64 figures on every run (numpy's frozen RandomState
draws everything; figures are rounded). The float32 figures differ in their last digits with another BLAS.
README.md says what each file is.
Needs: numpy, torch 1.13 or newer.
"""
import json
import math
import os
import struct

import numpy as np
import torch

from models import adamw, build, loss_of

HERE = os.path.dirname(os.path.abspath(__file__))
VOCABULARY = 307  # odd, and above 255, so that neither vectors of four nor bytes happen to fit

SETTINGS = {
    "batch_size": 4, "seq_len": 64, "steps": 20, "grad_accum": 1, "shuffle": False, "schedule": "cosine",
    "warmup_steps": 5, "lr": 1e-3, "min_lr": 1e-4, "weight_decay": 0.1, "beta1": 0.9, "beta2": 0.95,
    "eps": 1e-8, "grad_clip": 1.0,
}

# Adam cancels a constant factor on the gradient, and the first run is clipped at every step: with the limit
# at 2 some steps are clipped and some are not.
VARIANTS = [{"grad_clip": 2.0}, {"grad_accum": 2}]

CONFIGS = {
    "gpt2_100k": {
        "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "activation_function": "gelu_new",
        "attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0, "bos_token_id": 0, "eos_token_id": 0,
        "initializer_range": 0.02, "layer_norm_epsilon": 1e-5, "n_embd": 64, "n_head": 4, "n_inner": None,
        "n_layer": 2, "n_positions": 128, "n_ctx": 128, "scale_attn_weights": True,
        "tie_word_embeddings": True, "torch_dtype": "float32", "vocab_size": VOCABULARY,
    },
    "llama_100k": {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "attention_bias": False,
        "attention_dropout": 0.0, "bos_token_id": 0, "eos_token_id": 0, "hidden_act": "silu",
        "hidden_size": 64, "initializer_range": 0.02, "intermediate_size": 156,
        "max_position_embeddings": 128, "mlp_bias": False, "num_attention_heads": 8,
        "num_hidden_layers": 2, "num_key_value_heads": 2, "rms_norm_eps": 1e-5,
        "rope_scaling": None, "rope_theta": 10000.0, "tie_word_embeddings": False, "torch_dtype": "float32",
        "vocab_size": VOCABULARY,
    },
}


def write_json(path, value):
    with open(os.path.join(HERE, path), "w", encoding="utf-8") as file:
        json.dump(value, file, indent=1)
        file.write("\n")


def write_safetensors(path, tensors):
    """name -> tensor, written as F32 in the order of the names."""
    header, blobs, at = {"__metadata__": {"format": "pt"}}, [], 0
    for name in sorted(tensors):
        blob = tensors[name].detach().numpy().astype("<f4").tobytes()
        shape = list(tensors[name].shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + len(blob)]}
        blobs.append(blob)
        at += len(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(HERE, path), "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def make_tokens(path, count):
    """A first-order Markov chain over Zipf-distributed ids; 19 in 20 tokens follow it, others are uniform."""
    random = np.random.RandomState(20240520)
    zipf = 1.0 / np.arange(1, VOCABULARY + 1)
    likely = random.permutation(VOCABULARY)  # which id has which Zipf rank
    next_ids = likely[random.choice(VOCABULARY, size=(VOCABULARY, 4), p=zipf / zipf.sum())]
    tokens = np.empty(count, dtype="<u2")
    now = 0
    for i in range(count):
        if random.random_sample() < 0.95:
            now = next_ids[now, random.choice(4, p=[0.5, 0.25, 0.15, 0.1])]
        else:
            now = random.randint(VOCABULARY)
        tokens[i] = now
    header = np.zeros(256, dtype="<i4")
    header[:3] = 20240520, 1, count
    with open(os.path.join(HERE, path), "wb") as file:
        file.write(header.tobytes() + tokens.tobytes())
    return torch.from_numpy(tokens.astype(np.int64))


def initial_weights(config, seed):
    """name -> float32 tensor. Biases and gains are drawn too: at 0 and 1 a forgotten one would not show."""
    random = np.random.RandomState(seed)
    weights = {}
    for name, parameter in build(config).named_parameters():
        noise = random.standard_normal(tuple(parameter.shape))
        if parameter.dim() >= 2:
            value = 0.08 * noise
        elif name.endswith("bias"):
            value = 0.1 * noise
        else:
            value = 1.0 + 0.2 * noise
        weights[name] = torch.from_numpy(value.astype(np.float32))
    return weights


def model_from(config, weights, dtype):
    model = build(config)
    model.load_state_dict(weights)
    return model.to(dtype)


def batch_of(tokens, i):
    """Batch i: tokens [i*B*T, (i+1)*B*T], its targets shifted by one; both (B, T)."""
    B, T = SETTINGS["batch_size"], SETTINGS["seq_len"]
    window = tokens[i * B * T : (i + 1) * B * T + 1]
    return window[:-1].view(B, T), window[1:].view(B, T)


def learning_rate(step):
    warmup, steps = SETTINGS["warmup_steps"], SETTINGS["steps"]
    if step < warmup:
        return SETTINGS["lr"] * (step + 1) / warmup
    p = (step - warmup) / (steps - warmup)
    return SETTINGS["min_lr"] + (SETTINGS["lr"] - SETTINGS["min_lr"]) * (1 + math.cos(math.pi * p)) / 2


def norm_of(tensor):
    return tensor.double().norm().item()


def first_gradients(config, weights, tokens):
    """name -> float64 gradient of the first batch's loss"""
    model = model_from(config, weights, torch.float64)
    loss_of(model, *batch_of(tokens, 0)).backward()
    # A key bias adds the same to every score of a row, so its gradient is 0; rounding leaves 1e-18 of it,
    # which differs from one BLAS to the next.
    return {name: p.grad.masked_fill(p.grad.abs() < 1e-15, 0) for name, p in model.named_parameters()}


def train(config, weights, tokens, dtype, changes):
    """The run of SETTINGS with these changes: (losses, gradient norms before clipping, model afterwards)."""
    settings = {**SETTINGS, **changes}
    accum = settings["grad_accum"]
    model = model_from(config, weights, dtype)
    optimizer = adamw(model, settings)
    losses, norms = [], []
    for step in range(settings["steps"]):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step)
        optimizer.zero_grad()
        total = 0.0
        for micro in range(accum):
            loss = loss_of(model, *batch_of(tokens, step * accum + micro)) / accum
            loss.backward()
            total += loss.item()
        losses.append(total)
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), settings["grad_clip"]).item())
        optimizer.step()
    return losses, norms, model


def parts_of(name, tensor):
    """The query, key and value thirds of GPT-2's c_attn.bias apart: README.md says why."""
    if name.endswith("c_attn.bias"):
        return {name + "[" + part + "]": third for part, third in zip("qkv", tensor.chunk(3))}
    return {name: tensor}


def norms_after(model, weights):
    """part -> {"l2": norm of the parameter, "moved": norm of its change from the initial value}"""
    table = {}
    for name, parameter in model.named_parameters():
        after = parts_of(name, parameter.detach().double())
        before = parts_of(name, weights[name].double())
        for part in after:
            # float32 moves a key bias by the rounding of a gradient that is 0: nothing to compare with.
            if not part.endswith("c_attn.bias[k]"):
                table[part] = {"l2": norm_of(after[part]), "moved": norm_of(after[part] - before[part])}
    return table


def digits(value, n):
    """value with every float in it rounded to n significant digits"""
    if isinstance(value, dict):
        return {key: digits(x, n) for key, x in value.items()}
    if isinstance(value, list):
        return [digits(x, n) for x in value]
    return float("%.*g" % (n, value)) if isinstance(value, float) else value


def worst(a, b):
    """largest |a - b| / |b| over two lists"""
    return max(abs(x - y) / abs(y) for x, y in zip(a, b))


def make_model(name, config, seed, tokens):
    weights = initial_weights(config, seed)
    os.makedirs(os.path.join(HERE, name), exist_ok=True)
    write_json(name + "/config.json", config)
    write_safetensors(name + "/model.safetensors", weights)

    grads = first_gradients(config, weights, tokens)
    write_safetensors(name + "_grads.safetensors", grads)
    with torch.no_grad():
        logits = model_from(config, weights, torch.float64)(batch_of(tokens, 0)[0][:1])[0, -4:]  # (4, V)

    loss64, norm64, model64 = train(config, weights, tokens, torch.float64, {})
    loss32, norm32, model32 = train(config, weights, tokens, torch.float32, {})
    after64, after32 = norms_after(model64, weights), norms_after(model32, weights)
    variants = []
    for changes in VARIANTS:
        losses, norms, _ = train(config, weights, tokens, torch.float64, changes)
        variants.append({"settings": changes, "loss": digits(losses, 12), "grad_norm": digits(norms, 12)})

    write_json(name + ".json", {
        "made_with": "torch " + torch.__version__ + ", numpy " + np.__version__,
        "model": name, "shard": "tokens.bin", "settings": SETTINGS,
        "parameters": sum(t.numel() for t in weights.values()),
        "lr": digits([learning_rate(step) for step in range(SETTINGS["steps"])], 12),
        "loss": digits(loss64, 12), "grad_norm": digits(norm64, 12),
        "loss_fp32": digits(loss32, 9), "grad_norm_fp32": digits(norm32, 9),
        "fp32_against_fp64": digits({
            "loss": worst(loss32, loss64), "grad_norm": worst(norm32, norm64),
            "l2": worst([after32[p]["l2"] for p in after64], [after64[p]["l2"] for p in after64]),
            "moved": worst([after32[p]["moved"] for p in after64], [after64[p]["moved"] for p in after64]),
        }, 2),
        "variants": variants,
        "grad_l2": digits({part: norm_of(piece) for tensor, grad in grads.items()
                           for part, piece in parts_of(tensor, grad).items()}, 9),
        "after": digits(after64, 9),
        "logits_at": list(range(SETTINGS["seq_len"] - 4, SETTINGS["seq_len"])),
        "logits": digits(logits.tolist(), 9),
    })
    print("%s: %d parameters, loss %.4f to %.4f, gradient norm %.3f to %.3f, float32 within %.1e and %.1e" % (
        name, sum(t.numel() for t in weights.values()), loss64[0], loss64[-1], max(norm64), min(norm64),
        worst(loss32, loss64), worst(norm32, norm64)))


def main():
    torch.set_num_threads(1)
    longest = max(changes.get("grad_accum", 1) for changes in VARIANTS)
    per_step = longest * SETTINGS["batch_size"] * SETTINGS["seq_len"]
    tokens = make_tokens("tokens.bin", SETTINGS["steps"] * per_step + 1)
    for seed, (name, config) in enumerate(CONFIGS.items(), start=1):
        make_model(name, config, seed, tokens)


if __name__ == "__main__":
    main()
