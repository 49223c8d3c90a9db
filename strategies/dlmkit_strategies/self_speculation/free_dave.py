"""FreeDave: a pipeline checks several of its own next steps in one pass.

Legend: B rows, N canvas positions, X states.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

import attrs

from dlmkit.accounts.records import StepRecord
from dlmkit.bounds import at_least
from dlmkit.canvas import Canvas
from dlmkit.component import option
from dlmkit.context import Context
from dlmkit.denoise import Denoise
from dlmkit.guarantee import Guarantee
from dlmkit.loop.memory import parts
from dlmkit.roles import CachePolicy, Procedure, Strategy
from dlmkit_strategies.self_speculation.play import Play

__all__ = ["FreeDave", "WideFreeDave"]

_ALONE = ("inputs", "guide", "revise", "length", "stop")
"""Slots of a pipeline whose steps cannot be taken on a draft."""


@attrs.frozen(kw_only=True)
class FreeDave(Procedure):
    """Guess the pipeline's next steps from its last prediction, and check them all in one pass.

    Each draft goes one step further on the prediction in hand; the first is right by
    construction.  One pass over all of them, as rows that share the stored keys and values, tells
    what each leads to, so the drafts stand up to the first that the pipeline would not have come
    to; the prediction of the last one that stands is the next in hand.  A step that completes a
    block is right by construction too; the published code looks at it unless it is a single token.
    With `exact` agreement the text is that of the pipeline alone, under the same cache; `subset`
    also accepts drafts that reveal less than the pipeline would have.
    Source: FreeDave (arXiv:2510.00294), d; FreeDave++ with a threshold as the transfer rule.
    """

    name = "free-dave"
    ahead: ClassVar[int] = 0
    layout: ClassVar[Literal["rows", "columns"]] = "rows"

    pipeline: Denoise = option(doc="the pipeline whose steps are drafted and checked")
    drafts: int = option(4, doc="steps that are drafted at once", check=at_least(1))
    agreement: Literal["exact", "subset"] = option(
        "exact", doc="when a draft is one that the pipeline would have come to"
    )
    unseen: Literal["any", "single"] = option(
        "any", doc="last steps of a block that need no look: all, or those of a single token"
    )

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        """Refuse pipelines with steps that cannot be taken on a draft."""
        pipeline = options["pipeline"]
        for slot in _ALONE:
            if getattr(pipeline, slot):
                yield "pipeline", f"has `{slot}`, which drafted steps cannot follow", "leave it out"
        if pipeline.cache is not None and "layer-steps" in pipeline.cache.requires:
            message = f"has cache {pipeline.cache.name!r}, whose layers go on from a single draft"
            yield "pipeline", message, "use another cache, such as dual"
        for part in parts(pipeline):
            if isinstance(part, Strategy) and not isinstance(part, CachePolicy) and part.state:
                message = f"has {part.role} {part.name!r}, which remembers earlier steps"
                yield "pipeline", message, "use one that looks at the present step only"

    def home(self) -> str:
        """The pipeline's model."""
        return self.pipeline.model

    def guarantees(self) -> Sequence[Guarantee]:
        """The text of static decoding: with exact agreement, and where nothing is drawn."""
        drawn = [each for each in parts(self) if isinstance(each, Strategy) and each.stochastic]
        missing = [f"{part.role} {part.name!r} draws" for part in drawn]
        if self.agreement != "exact":
            missing.append("agreement 'subset' keeps drafts that reveal less than a step would")
        kept = "a draft is kept only where the pipeline's own step leads"
        return [
            Guarantee(
                id="lossless",
                claim="the text is that of its pipeline alone, under the same cache",
                holds=not missing,
                reason="; ".join(missing) or kept,
                invariant=3,
            )
        ]

    def steps(self, context: Context, canvas: Canvas) -> Iterator[StepRecord]:
        """Decode the canvas in place; yield one record after each forward pass."""
        play = Play.begin(self, context, canvas)
        while play.goes_on():
            yield play.round()


@attrs.frozen(kw_only=True)
class WideFreeDave(FreeDave):
    """FreeDave whose drafts go on beyond the block, or stand side by side in one row.

    With blocks `ahead`, drafts go on into the next blocks, one position at a time where the
    transfer rule does not fix its steps, and the step after a state that completes the block is
    decided by what was read there.  With the layout `columns` the states stand side by side in
    one row, as tree attention lays them out; they decide what rows decide.
    Source: FreeDave (arXiv:2510.00294), eager acceptance and tree attention.
    """

    name = "free-dave-wide"

    ahead: int = option(  # type: ignore[misc] # fixed in the narrow form
        0, doc="further blocks whose steps are drafted too", check=at_least(0)
    )
    layout: Literal["rows", "columns"] = option(  # type: ignore[misc] # fixed in the narrow form
        "rows", doc="whether a state is a row of the pass or part of one"
    )

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        """Refuse also what a cache would have to do while states are looked at."""
        yield from super().check_options(options)
        yield from _misplaced(options["pipeline"], options["ahead"], options["layout"])


def _misplaced(pipeline: Denoise, ahead: int, layout: str) -> Iterator[tuple[str, str, str]]:
    """What a look at other blocks, or at several states in one row, asks of the cache."""
    cache = pipeline.cache
    if ahead and pipeline.blocks is None:
        yield "ahead", "counts blocks, and the pipeline has none", "set blocks in the pipeline"
    if ahead and cache is not None and not cache.exact():
        message = f"drafts into blocks for which cache {cache.name!r} is rebuilt first"
        yield "ahead", message, "leave it out, or use an exact cache such as block-causal"
    if layout == "columns" and (cache is None or not cache.confined()):
        what = "without a cache" if cache is None else f"with cache {cache.name!r}"
        message = f"puts states side by side that share the rest of the text, which {what} changes"
        yield "layout", message, "use `dual` or, on such models, `block-causal`; or `layout: rows`"
