"""A small registry whose names do not change when the built-in strategies do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import attrs
import pluggy
import pytest

from dlmkit.bounds import at_least, at_most
from dlmkit.combinators import COMBINATORS
from dlmkit.component import option
from dlmkit.need import Need
from dlmkit.plugins import Plugins
from dlmkit.roles import (
    Blocks,
    CachePolicy,
    ConfidenceScorer,
    EarlyExit,
    Procedure,
    Reviser,
    TokenSampler,
    TransferRule,
)
from dlmkit.schedules import Cosine, Exponential, Linear, Piecewise, Schedule
from dlmkit.spec.checks import CHECKS


@attrs.frozen(kw_only=True)
class Span:
    """A record option."""

    low: int = option(0, doc="first")
    high: int = option(doc="last")


@attrs.frozen(kw_only=True)
class Denoise(Procedure):
    """Fill masks."""

    name = "denoise"

    model: str = option("main", doc="the model")
    blocks: Blocks | None = option(None, doc="the blocks")
    cache: CachePolicy | None = option(None, doc="the cache")
    sample: TokenSampler = option(doc="the sampler")
    confidence: ConfidenceScorer = option(doc="the scorer")
    transfer: TransferRule = option(doc="the rule")
    exit: tuple[EarlyExit, ...] = option((), doc="the exits")
    revise: tuple[Reviser, ...] = option((), doc="the revisers")
    max_steps: int | None = option(None, doc="a cap")

    def home(self) -> str:
        return self.model

    def steps(self, context, canvas):
        yield


@attrs.frozen
class Fixed(Blocks):
    """Blocks of one length."""

    name = "fixed"
    length: int = option(32, doc="tokens", check=at_least(1))

    def current(self, canvas): ...

    def planned_width(self, gen_length):
        return self.length

    def length_problem(self, gen_length):
        return (
            f"{gen_length} is not a multiple of {self.length}" if gen_length % self.length else None
        )


@attrs.frozen
class Greedy(TokenSampler):
    """The best token."""

    name = "greedy"

    def propose(self, prediction, view): ...


@attrs.frozen
class Probability(ConfidenceScorer):
    """Probability."""

    name = "probability"
    space = "probability"

    def score(self, tokens_BP, prediction, view): ...


@attrs.frozen
class Entropy(ConfidenceScorer):
    """Entropy."""

    name = "entropy"
    space = "nats"

    def score(self, tokens_BP, prediction, view): ...


@attrs.frozen
class Threshold(TransferRule):
    """All above a threshold."""

    name = "threshold"
    reads = frozenset({"probability"})
    threshold: float | Schedule = option(
        0.9, doc="smallest probability", check=[at_least(0), at_most(1)]
    )

    def select(self, confidence_BP, view): ...


@attrs.frozen
class Quota(TransferRule):
    """A fixed number."""

    name = "quota"
    steps: int = option(doc="steps in a block", check=at_least(1), key="steps_per_block")

    def select(self, confidence_BP, view): ...

    def steps_per_block(self, width):
        return self.steps


@attrs.frozen
class Prophet(EarlyExit):
    """Leave early."""

    name = "prophet"
    need = Need(top=2)
    gaps: tuple[float, ...] = option((7.5,), doc="gaps in logits")
    scope: Literal["block", "canvas"] = option("block", doc="what is left")
    span: Span | None = option(None, doc="a record")
    log: Path | None = option(None, doc="a path")
    strict: bool = option(False, doc="a flag")

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        if options["strict"] and options["scope"] == "canvas":
            yield "scope", "a strict exit leaves blocks only", "write `scope: block`"

    def decide(self, prediction, confidence_BP, view): ...


@attrs.frozen
class Remask(Reviser):
    """Take tokens back."""

    name = "remask"
    reopens = True

    def revise(self, prediction, view): ...


@attrs.frozen
class Stale(CachePolicy):
    """Computes the block and keeps the rest."""

    name = "stale"

    def plan(self, view): ...

    def provides(self):
        return "block"

    def freezes(self):
        return "blocks"

    def exact(self):
        return False


@attrs.frozen
class Frozen(Stale):
    """Computes some masks."""

    name = "frozen"
    requires = frozenset({"fixed-steps"})

    def provides(self):
        return "some"

    def freezes(self):
        return "tokens"


@attrs.frozen
class Everywhere(EarlyExit):
    """Looks at the whole answer, and at earlier steps."""

    name = "everywhere"
    span = "region"
    history = True

    def decide(self, prediction, confidence_BP, view): ...


@attrs.frozen
class Doubt(Reviser):
    """Rates decided tokens."""

    name = "doubt"
    need = Need(current=True)

    def revise(self, prediction, view): ...


CLASSES = (
    Denoise,
    Doubt,
    Entropy,
    Everywhere,
    Fixed,
    Frozen,
    Greedy,
    Probability,
    Prophet,
    Quota,
    Remask,
    Stale,
    Threshold,
)
SCHEDULES = (Linear, Cosine, Exponential, Piecewise)


@pytest.fixture
def plugins() -> Plugins:
    """The small registry with the core's combinators, schedules and checks."""
    made = Plugins(pluggy.PluginManager("dlmkit"))
    for cls in (*CLASSES, *COMBINATORS, *SCHEDULES):
        made.registry.add(cls, "dlmkit")
    made.checks += CHECKS
    return made


GOOD = """\
dlmkit: pipeline/1
name: good
gen_length: 64
pipeline:
  blocks: {use: fixed, length: 32}
  sample: greedy
  confidence: probability
  transfer: {use: threshold, threshold: 0.9}
"""


@pytest.fixture
def good() -> str:
    """A document without problems; tests replace parts of it."""
    return GOOD
