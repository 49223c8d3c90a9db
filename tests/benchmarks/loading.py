"""Measure what loading a checkpoint costs: time, and peak resident memory against its weights.

Usage: python tests/benchmarks/loading.py [--megabytes 400]

Writes a synthetic LLaDA checkpoint, loads it in a child process for each combination of stored
and computed number format, and prints one JSON object.  Exits with 1 if a load needs more than
1.15 times the memory of its weights.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file

from dlmkit.engines.torch_engine import TorchEngine
from dlmkit.models.config import Config
from dlmkit.models.decoder import Decoder
from dlmkit.models.loading import load_model
from dlmkit_strategies.families import FAMILIES, Llada

BAR = 1.15
CASES = (("float32", "float32"), ("bfloat16", "bfloat16"), ("bfloat16", "float32"))
HIDDEN = 1024


def config_of(megabytes: int, stored: str) -> dict[str, object]:
    """Size a network so that its weights take about `megabytes` as stored."""
    width = getattr(torch, stored).itemsize
    rows, ffn = 8192, 3 * HIDDEN
    layer_bytes = width * HIDDEN * (4 * HIDDEN + 3 * ffn)
    layers = max(1, round((megabytes * 2**20 - 2 * width * rows * HIDDEN) / layer_bytes))
    return {
        "architectures": ["LLaDAModelLM"],
        "d_model": HIDDEN,
        "embedding_size": rows,
        "max_sequence_length": 1024,
        "mlp_hidden_size": ffn,
        "n_heads": 16,
        "n_layers": layers,
        "rope_theta": 500000.0,
        "torch_dtype": stored,
        "vocab_size": rows,
        "weight_tying": False,
    }


def write(folder: Path, megabytes: int, stored: str) -> None:
    """Write the checkpoint in four shards."""
    fields = config_of(megabytes, stored)
    family = Llada()
    names = family.names(arch := family.arch(Config(fields)))
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in Decoder(arch).named_parameters()}
    (folder / "config.json").write_text(json.dumps(fields))
    weight_map: dict[str, str] = {}
    for shard in range(4):
        file = f"model-{shard + 1:05}-of-00004.safetensors"
        part = {
            names.to_source(name): torch.full(shapes[name], 0.01, dtype=getattr(torch, stored))
            for name in list(shapes)[shard::4]
        }
        save_file(part, folder / file)
        weight_map |= dict.fromkeys(part, file)
    index = json.dumps({"weight_map": weight_map})
    (folder / "model.safetensors.index.json").write_text(index)


def peak_bytes() -> int:
    """Peak resident size of this process since `reset_peak`."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def reset_peak() -> None:
    """Forget the peak so far (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def measure(folder: str, dtype: str) -> dict[str, float]:
    """Load in this process, touch every weight, and compare the peak with the weights."""
    import time

    torch.ones(8, 8) @ torch.ones(8, 8)
    reset_peak()
    before = peak_bytes()
    start = time.perf_counter()
    model = load_model(folder, engine=TorchEngine(), families=FAMILIES, device="cpu", dtype=dtype)
    loaded = time.perf_counter()
    weights = list(model.network.decoder.parameters())  # type: ignore[attr-defined]
    for value in weights:
        value.view(-1)[:: 4096 // value.element_size()].sum()
    size = sum(value.numel() * value.element_size() for value in weights)
    return {
        "weights_mb": round(size / 2**20, 1),
        "peak_over_weights": round((peak_bytes() - before) / size, 3),
        "load_seconds": round(loaded - start, 3),
        "touch_seconds": round(time.perf_counter() - loaded, 3),
    }


def main() -> int:
    """Run every case in its own process and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=400)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measure(*arguments.child)))
        return 0
    results = []
    for stored, dtype in CASES:
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder), arguments.megabytes, stored)
            child = [sys.executable, __file__, "--child", folder, dtype]
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            text = subprocess.run(
                child, check=True, capture_output=True, text=True, env=environment
            ).stdout
        results.append({"stored": stored, "computed": dtype, **json.loads(text)})
    passed = all(each["peak_over_weights"] <= BAR for each in results)
    print(json.dumps({"bar": BAR, "passed": passed, "cases": results}, indent=2))
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
