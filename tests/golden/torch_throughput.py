#!/usr/bin/python3
"""Times PyTorch on the models that `trivium bench` is compared with, and prints one JSON line.

Promises: tokens per second of AdamW steps in float32 (forward, loss, backward, clip, update) and the GFLOP/s
of a 512 x 512 x 512 product, medians of 5. With anything else running, models this small become far slower on
two threads than on one, so a model is timed on OMP_NUM_THREADS (2 unless set) and on one, and
`tokens_per_second` is the better of them.
Needs: Linux, torch 1.13 or newer over OpenBLAS (libopenblas0-pthread): the reference BLAS is slower and would
flatter whatever is compared, so the line names the library.
"""
import json
import os
import statistics
import sys
import time

# Read when torch is loaded. Without them the two thread pools fight for the cores.
os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import torch  # noqa: E402

from models import adamw, build, loss_of  # noqa: E402

SETTINGS = {"lr": 6e-4, "weight_decay": 0.1, "beta1": 0.9, "beta2": 0.95, "eps": 1e-8, "grad_clip": 1.0}

MODELS = {
    "gpt2_875k": {
        "batch_size": 16, "seq_len": 128,
        "config": {"architectures": ["GPT2LMHeadModel"], "n_layer": 4, "n_embd": 128, "n_head": 4,
                   "n_inner": None, "n_positions": 128, "vocab_size": 512, "layer_norm_epsilon": 1e-5},
    },
    "llama_260k": {
        "batch_size": 8, "seq_len": 128,
        "config": {"architectures": ["LlamaForCausalLM"], "num_hidden_layers": 5, "hidden_size": 64,
                   "num_attention_heads": 8, "num_key_value_heads": 4, "intermediate_size": 172,
                   "vocab_size": 512, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
                   "tie_word_embeddings": True},
    },
}


def blas_in_use():
    """Path of the BLAS that this process has loaded, or None where it is not a library of its own."""
    with open("/proc/self/maps", encoding="utf-8") as maps:
        paths = {line.split()[-1] for line in maps if "blas" in line or "libmkl" in line}
    return min(paths, default=None)


def median_seconds(work, seconds):
    """Median over 5 of the seconds that one work() takes; each of the 5 runs it for at least that long."""
    work()
    work()
    times = []
    for _ in range(5):
        count, start = 0, time.perf_counter()
        while count == 0 or time.perf_counter() - start < seconds:
            work()
            count += 1
        times.append((time.perf_counter() - start) / count)
    return statistics.median(times)


def time_model(spec):
    torch.manual_seed(1)
    B, T = spec["batch_size"], spec["seq_len"]
    model = build(spec["config"])
    for parameter in model.parameters():
        if parameter.dim() >= 2:
            torch.nn.init.normal_(parameter, std=0.02)
    optimizer = adamw(model, SETTINGS, foreach=True)
    tokens = torch.randint(spec["config"]["vocab_size"], (B, T + 1))

    def step():
        optimizer.zero_grad()
        loss_of(model, tokens[:, :-1], tokens[:, 1:]).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), SETTINGS["grad_clip"])
        optimizer.step()

    by_threads = {}
    for threads in sorted({1, int(os.environ["OMP_NUM_THREADS"])}):
        torch.set_num_threads(threads)
        by_threads[threads] = round(B * T / median_seconds(step, 1.5), 1)
    return {"parameters": sum(p.numel() for p in model.parameters()), "batch_size": B, "seq_len": T,
            "tokens_per_second": max(by_threads.values()), "by_threads": by_threads}


def time_matmul(n):
    torch.manual_seed(1)
    a, b = torch.randn(n, n), torch.randn(n, n)
    return round(2 * n**3 / median_seconds(lambda: a @ b, 0.5) / 1e9, 1)


def main():
    result = {name: time_model(spec) for name, spec in MODELS.items()}
    result["matmul_512_gflops"] = time_matmul(512)
    result["torch"] = torch.__version__
    result["blas"] = blas_in_use()
    result["threads"] = {key: os.environ[key] for key in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    print(json.dumps(result))
    if result["blas"] is not None and "/blas/" in result["blas"]:
        print("torch runs over the reference BLAS (" + result["blas"] + "): its figures are too low to "
              "compare with; install libopenblas0-pthread", file=sys.stderr)


if __name__ == "__main__":
    main()
