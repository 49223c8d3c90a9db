"""Golden traces: decodes of public reference implementations, replayed against the presets."""

from __future__ import annotations

from dlmkit.testing.golden.comparison import first_difference
from dlmkit.testing.golden.mapping import SamplerMap, load_sampler_map
from dlmkit.testing.golden.replay import Networks, Replay, replay
from dlmkit.testing.golden.report import Report, run_cases
from dlmkit.testing.golden.traces import GoldenCase, read_cases

__all__ = [
    "GoldenCase",
    "Networks",
    "Replay",
    "Report",
    "SamplerMap",
    "first_difference",
    "load_sampler_map",
    "read_cases",
    "replay",
    "run_cases",
]
