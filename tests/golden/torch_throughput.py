#!/usr/bin/python3
"""Times PyTorch on the models that `trivium bench` is compared with, and prints one JSON line.

Promises: tokens per second of AdamW steps (forward, loss, backward, clip, update) and the GFLOP/s of matrix
products, medians of 5. The models are those of samples/bench.
 - Without options: on the CPU, float32, two models and a 512 x 512 x 512 product. With anything else running,
   models this small become far slower on two threads than on one, so a small model is timed on OMP_NUM_THREADS
   (2 unless set) and on one, and `tokens_per_second` is the better of them.
 - With --cuda: on the GPU, with fused AdamW and scaled_dot_product_attention, in float32 (fp32), float32 with
   products in TF32 (tf32) and under autocast to bfloat16 (bf16), eagerly, or through torch.compile with --compile;
   copy_gbps is what a copy within the device's memory reads and writes. What does not fit in memory is null.
Needs: Linux; on the CPU torch 1.13 or newer over OpenBLAS (libopenblas0-pthread): the reference BLAS is slower and
would flatter whatever is compared, so the line names the library. With --cuda torch 2.0 or newer.

usage: torch_throughput.py [--model NAME[=B,B...]]... [--cuda [--compile] [--matmul MxNxK[ nt| tn],...]]
"""
import argparse
import contextlib
import json
import os
import statistics
import sys
import time
from pathlib import Path

# Read when torch is loaded. Without them the two thread pools fight for the cores.
os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import torch  # noqa: E402

import models  # noqa: E402

SETTINGS = {"lr": 6e-4, "weight_decay": 0.1, "beta1": 0.9, "beta2": 0.95, "eps": 1e-8, "grad_clip": 1.0}

SAMPLES = Path(__file__).resolve().parents[2] / "samples" / "bench"
SMALL = 10_000_000  # parameters of a model that may run faster on one thread than on two
DEFAULTS = {"n_inner": None, "layer_norm_epsilon": 1e-5}  # what a config.json may leave out


def read_sample(name):
    """The model's config, B and T of samples/bench/NAME.json."""
    sample = json.loads((SAMPLES / (name + ".json")).read_text(encoding="utf-8"))
    return {**DEFAULTS, **sample["model"]}, sample["train"]["batch_size"], sample["data"]["seq_len"]


def blas_in_use():
    """Path of the BLAS that this process has loaded, or None where it is not a library of its own."""
    with open("/proc/self/maps", encoding="utf-8") as maps:
        paths = {line.split()[-1] for line in maps if "blas" in line or "libmkl" in line}
    return min(paths, default=None)


def median_seconds(work, seconds, finish=lambda: None):
    """Median over 5 of the seconds that one work() takes; each of the 5 runs it for about that long. finish()
    waits for what work() only started."""
    def timed(count):
        start = time.perf_counter()
        for _ in range(count):
            work()
        finish()
        return (time.perf_counter() - start) / count

    timed(2)
    count = max(1, int(seconds / timed(1)))
    return statistics.median(timed(count) for _ in range(5))


def make_step(config, B, T, precision="fp32", compiled=False, **optimizer_options):
    """One training step as a function, and the number of its model's parameters."""
    torch.manual_seed(1)
    model = models.build(config)
    for parameter in model.parameters():
        if parameter.dim() >= 2:
            torch.nn.init.normal_(parameter, std=0.02)
    optimizer = models.adamw(model, SETTINGS, **optimizer_options)
    tokens = torch.randint(config["vocab_size"], (B, T + 1))
    loss_of = torch.compile(models.loss_of) if compiled else models.loss_of
    narrow = torch.autocast("cuda", torch.bfloat16) if precision == "bf16" else contextlib.nullcontext()

    def step():
        optimizer.zero_grad()
        with narrow:
            loss = loss_of(model, tokens[:, :-1], tokens[:, 1:])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), SETTINGS["grad_clip"])
        optimizer.step()

    return step, sum(p.numel() for p in model.parameters())


def time_model(name):
    config, B, T = read_sample(name)
    step, parameters = make_step(config, B, T, foreach=True)
    by_threads = {}
    all_threads = int(os.environ["OMP_NUM_THREADS"])
    for threads in sorted({1, all_threads} if parameters < SMALL else {all_threads}):
        torch.set_num_threads(threads)
        by_threads[threads] = round(B * T / median_seconds(step, 1.5), 1)
    return {"parameters": parameters, "batch_size": B, "seq_len": T,
            "tokens_per_second": max(by_threads.values()), "by_threads": by_threads}


def time_matmul(n):
    torch.manual_seed(1)
    a, b = torch.randn(n, n), torch.randn(n, n)
    return round(2 * n**3 / median_seconds(lambda: a @ b, 0.5) / 1e9, 1)


def fused_attention(q, k, v):
    """What models.causal_attention computes, in one kernel; the same shapes."""
    B, H, T, D = q.shape
    group = H // k.shape[1]
    if group > 1:
        k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
    out = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    return out.transpose(1, 2).reshape(B, T, H * D)


def cuda_models(wanted, precision, compiled):
    for item in wanted:
        name, _, batches = item.partition("=")
        config, B, T = read_sample(name)
        for B in [int(b) for b in batches.split(",")] if batches else [B]:
            row = {"model": name, "batch_size": B, "seq_len": T, "precision": precision, "compiled": compiled,
                   "tokens_per_second": None}
            try:
                step, row["parameters"] = make_step(config, B, T, precision, compiled, fused=True)
                row["tokens_per_second"] = round(B * T / median_seconds(step, 0.4, torch.cuda.synchronize), 1)
            except torch.cuda.OutOfMemoryError:
                pass
            step = None
            torch.cuda.empty_cache()
            yield row


def cuda_matmuls(shapes, precision):
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    for shape in shapes:
        size, _, form = shape.partition(" ")
        m, n, k = (int(x) for x in size.split("x"))
        a = torch.randn(k, m, dtype=dtype).t() if form == "tn" else torch.randn(m, k, dtype=dtype)
        b = torch.randn(n, k, dtype=dtype).t() if form == "nt" else torch.randn(k, n, dtype=dtype)
        c = torch.empty(m, n, dtype=dtype)
        seconds = median_seconds(lambda: torch.mm(a, b, out=c), 0.1, torch.cuda.synchronize)
        yield {"shape": shape, "precision": precision, "gflops": round(2e-9 * m * n * k / seconds, 1)}


def cuda_copy():
    source = torch.ones(1 << 28)  # 1 GiB, beyond any cache
    target = torch.empty_like(source)
    return round(2e-9 * source.nbytes / median_seconds(lambda: target.copy_(source), 0.1, torch.cuda.synchronize), 1)


def run_cuda(wanted, shapes, compiled):
    torch.set_default_device("cuda")
    models.causal_attention = fused_attention
    result = {"device": torch.cuda.get_device_name(), "torch": torch.__version__, "copy_gbps": cuda_copy(),
              "matmul": [], "models": []}
    # A compiled model takes half a minute to make, so only the precisions that people train in.
    for precision in ("fp32", "bf16") if compiled else ("fp32", "tf32", "bf16"):
        torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
        if not compiled:
            result["matmul"] += cuda_matmuls(shapes, precision)
        result["models"] += cuda_models(wanted, precision, compiled)
    print(json.dumps(result))


def run_cpu(names):
    result = {name: time_model(name) for name in names}
    result["matmul_512_gflops"] = time_matmul(512)
    result["torch"] = torch.__version__
    result["blas"] = blas_in_use()
    result["threads"] = {key: os.environ[key] for key in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    print(json.dumps(result))
    if result["blas"] is not None and "/blas/" in result["blas"]:
        print("torch runs over the reference BLAS (" + result["blas"] + "): its figures are too low to "
              "compare with; install libopenblas0-pthread", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cuda", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--model", action="append", metavar="NAME[=B,B...]")
    parser.add_argument("--matmul", default="4096x4096x4096")
    arguments = parser.parse_args()
    if arguments.cuda:
        run_cuda(arguments.model or ["gpt2_875k", "llama_260k", "gpt2_124m"], arguments.matmul.split(","),
                 arguments.compile)
    else:
        run_cpu(arguments.model or ["gpt2_875k", "llama_260k"])


if __name__ == "__main__":
    main()
