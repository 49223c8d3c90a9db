"""Overhead of the decode loop: wall time over the time in forward passes, minus one.

Bar: at most 5 % with the built-in verifier, 128 new tokens, batch 1, PyTorch on the CPU, two
threads.  Prints the report of `dlmkit bench` as JSON; exits with 1 above the bar.

    python tests/benchmarks/overhead.py
"""

from __future__ import annotations

import json
import sys

import click
import torch

from dlmkit.benchmarking.measure import measure
from dlmkit.generation import Runner
from dlmkit.spec import load_spec

BAR = 0.05


@click.command()
@click.option("--model", default="builtin/verifier", show_default=True)
@click.option("--threads", default=2, show_default=True)
@click.option("--repeats", default=7, show_default=True)
def main(model: str, threads: int, repeats: int) -> None:
    """Measure, report, and compare with the bar."""
    torch.set_num_threads(threads)
    changes = ["gen_length=128", f"models.main={json.dumps(model)}", "models.main.device=cpu"]
    measured = measure(Runner.load(load_spec("llada", changes)), repeats=repeats, warmup=2)
    report = measured.as_json() | {"bar": BAR}
    print(json.dumps(report, indent=2))
    sys.exit(report["overhead"] > BAR)


if __name__ == "__main__":
    main()
