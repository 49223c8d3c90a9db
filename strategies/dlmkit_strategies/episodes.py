"""Episodes: outer procedures that run a whole pipeline several times on one batch.

Every pass of every run is recorded and counted.

Legend: B rows, N canvas positions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import attrs
import torch

from dlmkit.accounts.records import StepRecord
from dlmkit.bounds import at_least
from dlmkit.canvas import Canvas
from dlmkit.component import option
from dlmkit.context import Context
from dlmkit.layout import Layout
from dlmkit.noise import Noise
from dlmkit.roles import Procedure, Splitter
from dlmkit_strategies.episode_runs import Episode

__all__ = ["BestOf", "RemaskFragments"]


@attrs.frozen(kw_only=True)
class BestOf(Procedure):
    """Decode each row n times with different random numbers, and keep the best text.

    `confidence` is the mean confidence with which a text's tokens were committed, in the unit of
    the pipeline; `reread` the mean log-probability in nats of its tokens in one more pass over the
    finished text.  Ties go to the earlier run; the first one is what the pipeline gives alone.
    Source: best-of-n sampling.
    """

    name = "best-of"
    repeats = True

    pipeline: Procedure = option(doc="decodes each candidate")
    n: int = option(4, doc="candidates", check=at_least(1))
    score: Literal["confidence", "reread"] = option(
        "confidence", doc="what the best one is best in"
    )

    def home(self) -> str:
        """The pipeline's."""
        return self.pipeline.home()

    def steps(self, context: Context, canvas: Canvas) -> Iterator[StepRecord]:
        """Decode the canvas in place; yield one record after each forward pass."""
        start, finished, scores = canvas.snapshot(), [], []
        episode = Episode(context, canvas, self.home())
        for number in range(self.n):
            yield from episode.run(self.pipeline, number)
            if self.score == "reread":
                yield from episode.reread()
            finished.append(canvas.snapshot())
            scores.append(episode.reread_B if self.score == "reread" else episode.confidence_B)
            canvas.become(start.snapshot())
        best_B = torch.stack(scores).argmax(dim=0)
        canvas.become(Canvas.chosen(finished, best_B))
        yield from episode.close()


@attrs.frozen(kw_only=True)
class RemaskFragments(Procedure):
    """Decode, then redo one fragment of each row after the other.

    Each round draws a fragment uniformly, puts a uniformly drawn number of masks in its place, and
    runs the pipeline again; all other tokens stay, unless the pipeline revises them.  With `keep:
    best` a row goes back to its text before the round unless the new one has a larger mean
    log-probability in one more pass over it.
    Source: GenMol (arXiv:2501.06158), fragment remasking.
    """

    name = "remask-fragments"

    pipeline: Procedure = option(doc="decodes the text, and each fragment again")
    split: Splitter = option(doc="cuts the decoded text into fragments")
    rounds: int = option(4, doc="rounds after the first decode", check=at_least(0))
    fewest: int = option(5, doc="fewest masks in place of a fragment", check=at_least(1))
    most: int = option(15, doc="most masks in place of a fragment", check=at_least(1))
    keep: Literal["last", "best"] = option("last", doc="whether a worse text is taken back")

    def home(self) -> str:
        """The pipeline's."""
        return self.pipeline.home()

    def steps(self, context: Context, canvas: Canvas) -> Iterator[StepRecord]:
        """Decode the canvas in place; yield one record after each forward pass."""
        episode = Episode(context, canvas, self.home())
        yield from episode.run(self.pipeline, 0)
        if self.keep == "best":
            yield from episode.reread()
        for number in range(1, self.rounds + 1):
            before, before_B = canvas.snapshot(), episode.reread_B
            self._reopen(context, canvas, number)
            yield from episode.run(self.pipeline, number)
            if self.keep == "best":
                yield from episode.reread()
                better_B = episode.reread_B > before_B
                canvas.become(Canvas.chosen((before, canvas.snapshot()), better_B.long()))
                episode.reread_B = episode.reread_B.maximum(before_B)
        yield from episode.close()

    def _reopen(self, context: Context, canvas: Canvas, number: int) -> None:
        """Put masks in place of one fragment of each row that has any."""
        info = context.session(self.home()).info
        fragment_BN = self.split.fragments(canvas, info)
        draws_B2 = Noise(context.seed, canvas.samples_B, number).uniform_BP(
            self.name, torch.arange(2, device=fragment_BN.device).expand(len(fragment_BN), 2)
        )
        count_B = fragment_BN.amax(dim=1) + 1
        chosen_B = (draws_B2[:, 0] * count_B).long()
        gone_BN = (fragment_BN == chosen_B[:, None]) & (count_B > 0)[:, None]
        masks_B = self.fewest + (draws_B2[:, 1] * (self.most - self.fewest + 1)).long()
        room_B = info.max_positions - canvas.length_B + gone_BN.sum(dim=1)
        first_BN = gone_BN & (gone_BN.cumsum(dim=1) == 1)
        masks_BN = torch.full_like(canvas.tokens_BN, canvas.mask_id)
        canvas.commit(canvas.columns_N.expand_as(masks_BN), first_BN, masks_BN, 0)
        insert_BN = torch.where(first_BN, masks_B.minimum(room_B)[:, None] - 1, 0)
        layout = Layout.of(canvas, insert_BN, gone_BN & ~first_BN)
        if layout is not None:
            canvas.follow(layout)
        canvas.restart()

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        """Refuse an empty range of numbers."""
        if options["fewest"] > options["most"]:
            yield "most", "`most` must be at least `fewest`", "raise it"
