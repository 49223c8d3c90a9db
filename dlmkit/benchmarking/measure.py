"""Decode a fixed set of prompts several times and account for the time."""

from __future__ import annotations

from statistics import fmean, median
from time import perf_counter
from typing import TYPE_CHECKING, Any

import attrs
import torch

from dlmkit.benchmarking.timing import TimedNetwork, wait_for
from dlmkit.generation import Runner
from dlmkit.host.hardware import describe_hardware, describe_versions, peak_memory_mb

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["PROMPTS", "Measurement", "Sample", "measure"]

PROMPTS = (
    "Tom has 12 apples. He buys 7 more and gives 5 to Anna. How many apples does Tom have now?",
    "reverse: 3 1 4 1 5",
    "sort: 9 2 7 4",
    "A box holds 6 pens. How many pens do 4 boxes hold?",
)
"""What is decoded: a batch takes as many as it has rows, from the start again if need be."""


@attrs.frozen(kw_only=True)
class Sample:
    """One repeat: seconds of the whole, seconds of each forward pass by network, what came out.

    `nfe` counts executed passes by network, `tokens` those kept in the texts of all rows.
    """

    wall: float
    forwards: Mapping[str, Sequence[float]]
    tokens: int
    nfe: Mapping[str, int]
    fed_positions: int

    @property
    def in_forwards(self) -> float:
        """Seconds spent in forward passes."""
        return sum(sum(each) for each in self.forwards.values())

    @property
    def passes(self) -> int:
        """Forward passes of all networks."""
        return sum(self.nfe.values())


@attrs.frozen(kw_only=True)
class Measurement:
    """All repeats of one pipeline on one machine; `engines` are those of its networks."""

    pipeline: str
    spec_id: str
    batch_size: int
    samples: Sequence[Sample]
    peak_memory_mb: float
    engines: Mapping[str, str]

    def as_json(self) -> dict[str, Any]:
        """Medians over the repeats; times in milliseconds for each forward pass."""
        first = self.samples[0]
        return {
            "forward_ms": {name: self._forward_ms(name) for name in first.forwards},
            "decision_ms": self._median(
                lambda each: 1000 * (each.wall - each.in_forwards) / each.passes
            ),
            "overhead": self._median(lambda each: each.wall / each.in_forwards - 1),
            "tokens_per_second": self._median(lambda each: each.tokens / each.wall),
            "nfe": dict(first.nfe),
            "fed_positions": first.fed_positions,
            "peak_memory_mb": round(self.peak_memory_mb, 1),
            "hardware": describe_hardware(),
            "versions": describe_versions(),
            "engines": dict(self.engines),
            "tokens": first.tokens,
            "seconds": self._median(lambda each: each.wall),
            "pipeline": self.pipeline,
            "spec_id": self.spec_id,
            "batch_size": self.batch_size,
            "repeats": len(self.samples),
        }

    def _forward_ms(self, name: str) -> float | None:
        """The mean pass of a network, as a median over repeats; None where it never ran."""
        if not self.samples[0].forwards[name]:
            return None
        return self._median(lambda each: 1000 * fmean(each.forwards[name]))

    def _median(self, quantity: Callable[[Sample], float]) -> float:
        return round(median(quantity(each) for each in self.samples), 4)


def measure(
    runner: Runner,
    *,
    repeats: int,
    warmup: int,
    batch_size: int = 1,
    seed: int = 0,
    advance: Callable[[], None] = lambda: None,
) -> Measurement:
    """Decode the prompts `warmup` times unmeasured, then `repeats` times.

    `advance` is called after each decode.

    Raises:
        RequestError: the prompts do not fit the model.
    """
    device = runner.home.network.info.device
    prompts = runner.encode([PROMPTS[row % len(PROMPTS)] for row in range(batch_size)])
    for _ in range(warmup):
        _sample(runner, prompts, seed)
        advance()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    samples = []
    for _ in range(repeats):
        samples.append(_sample(runner, prompts, seed))
        advance()
    return Measurement(
        pipeline=runner.document.name,
        spec_id=runner.document.spec_id,
        batch_size=batch_size,
        samples=samples,
        peak_memory_mb=peak_memory_mb(device),
        engines={name: model.network.info.engine for name, model in runner.models.items()},
    )


def _sample(runner: Runner, prompts: Sequence[Sequence[int]], seed: int) -> Sample:
    networks = {name: TimedNetwork(model.network) for name, model in runner.models.items()}
    models = {
        name: attrs.evolve(model, network=networks[name]) for name, model in runner.models.items()
    }
    decode = Runner(runner.document, models).start(prompts, seed=seed)
    wait_for(runner.home.network.info.device)
    started = perf_counter()
    for _ in decode:
        pass
    wait_for(runner.home.network.info.device)
    wall = perf_counter() - started
    counts = decode.context.counts()
    return Sample(
        wall=wall,
        forwards={name: network.seconds for name, network in networks.items()},
        tokens=sum(each.tokens for each in decode.results()),
        nfe={name: count.forwards for name, count in counts.items()},
        fed_positions=sum(count.fed_positions for count in counts.values()),
    )
