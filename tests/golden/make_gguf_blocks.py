#!/usr/bin/env python3
"""Blocks of GGUF's element types and what the package gguf makes of them: gguf_blocks.json.

Needs the Python package gguf (with numpy). usage: make_gguf_blocks.py > gguf_blocks.json

For each type the bytes of blocks, random but for their scales (small halves, so that nothing is infinite), and the
floats that they stand for; for Q8_0 also floats and the bytes that they become.
"""
import json

import numpy
from gguf import GGMLQuantizationType as Type
from gguf import quants

random = numpy.random.default_rng(20240711)
# Where the halves of a block lie.
HALVES = {"Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q4_0": [0], "Q8_0": [0], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}
BYTES = {"Q4_0": 18, "Q4_1": 20, "Q5_0": 22, "Q5_1": 24, "Q8_0": 34, "Q4_K": 144, "Q5_K": 176, "Q6_K": 210}

result = {}
for name, size in BYTES.items():
    blocks = random.integers(0, 256, (2, size), dtype=numpy.uint8)
    for at in HALVES[name]:
        halves = random.normal(0, 0.01, 2).astype(numpy.float16)
        blocks[:, at : at + 2] = halves.view(numpy.uint8).reshape(2, 2)
    values = quants.dequantize(blocks, Type[name])
    result[name] = {"bytes": blocks.tobytes().hex(), "values": values.astype(numpy.float32).tobytes().hex()}
floats = random.normal(0, 0.05, (1, 64)).astype(numpy.float32)
floats[0, :32] *= 1e-3
result["encode Q8_0"] = {
    "values": floats.tobytes().hex(),
    "bytes": quants.quantize(floats, Type.Q8_0).tobytes().hex(),
}
print(json.dumps(result, indent=1))
