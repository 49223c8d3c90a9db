"""The pipeline of one network: the slots that make up an unmasking method.

What is optional is identity when absent.  `dlmkit.loop.run` runs it step by step.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from dlmkit.accounts.records import StepRecord
from dlmkit.bounds import at_least
from dlmkit.canvas import Canvas
from dlmkit.component import option
from dlmkit.context import Context
from dlmkit.loop.decision import Decision
from dlmkit.loop.forecast import Forecast
from dlmkit.loop.memory import parts
from dlmkit.loop.run import Run
from dlmkit.loop.tracking import Tracker
from dlmkit.need import Need
from dlmkit.network import NetworkInfo
from dlmkit.roles import (
    Blocks,
    CachePolicy,
    CommitGuard,
    ConfidenceScorer,
    EarlyExit,
    Guide,
    InputTransform,
    LengthController,
    LogitsTransform,
    Observer,
    Procedure,
    Reviser,
    StopRule,
    Strategy,
    TokenSampler,
    TransferRule,
)

__all__ = ["Denoise"]


@attrs.frozen(kw_only=True)
class Denoise(Procedure):
    """Fill the masks of a canvas step by step with one network.

    Source: the sampler skeleton shared by LLaDA (arXiv:2502.09992) and its successors.
    """

    name = "denoise"

    model: str = option("main", doc="name of the network in `models`")
    blocks: Blocks | None = option(None, doc="the span decoded now; absent: the whole region")
    inputs: tuple[InputTransform, ...] = option((), doc="changes to what the network is fed")
    cache: CachePolicy | None = option(None, doc="what is recomputed; absent: everything")
    guide: Guide | None = option(None, doc="guidance by further inputs; absent: none")
    logits: tuple[LogitsTransform, ...] = option((), doc="edits of the distribution, in order")
    sample: TokenSampler = option(doc="proposes a token for each position")
    confidence: ConfidenceScorer = option(doc="rates the proposals")
    exit: tuple[EarlyExit, ...] = option((), doc="ends a block or a row early")
    transfer: TransferRule = option(doc="chooses which proposals become tokens")
    guard: tuple[CommitGuard, ...] = option((), doc="changes the choice, in order")
    revise: tuple[Reviser, ...] = option((), doc="takes back or replaces earlier tokens")
    length: LengthController | None = option(None, doc="changes how long rows are; absent: nothing")
    stop: tuple[StopRule, ...] = option((), doc="ends rows that need no more steps")
    observe: tuple[Observer, ...] = option((), doc="sees every record")
    max_steps: int | None = option(
        None,
        doc="steps after which every further step commits its whole block and revises nothing; "
        "absent: no limit",
        check=at_least(1),
    )

    def home(self) -> str:
        """The only model there is."""
        return self.model

    def steps(self, context: Context, canvas: Canvas) -> Iterator[StepRecord]:
        """Decode the canvas in place; yield one record after each forward pass."""
        for record in Run.begin(self, context, canvas).records():
            for observer in self.observe:
                observer.step(record)
            yield record

    def reads_region(self) -> bool:
        """Whether a strategy reads the whole region instead of the current block."""
        return any(strategy.span == "region" for strategy in self._strategies())

    def tracker(
        self, canvas: Canvas, info: NetworkInfo, seed: int, *, region: bool | None = None
    ) -> Tracker:
        """What follows the rows of a canvas; `region` asks for windows over the whole region.

        Without it, windows are as wide as `reads_region` says.
        """
        region = self.reads_region() if region is None else region
        return Tracker(
            canvas, info, seed, self.blocks, self.transfer, region, reopens=bool(self.revise)
        )

    def forecast(self) -> Forecast:
        """The stages from a canvas to a prediction."""
        return Forecast(
            inputs=self.inputs,
            cache=self.cache,
            guide=self.guide,
            logits=self.logits,
            need=Need.union(strategy.needs() for strategy in self._strategies()),
        )

    def decision(self) -> Decision:
        """The stages from rated proposals to a changed canvas."""
        return Decision(
            transfer=self.transfer,
            exit=self.exit,
            guard=self.guard,
            revise=self.revise,
            length=self.length,
            stop=self.stop,
            max_steps=self.max_steps,
        )

    def _strategies(self) -> list[Strategy]:
        return [part for part in parts(self) if isinstance(part, Strategy)]
