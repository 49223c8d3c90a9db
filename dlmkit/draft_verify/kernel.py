"""The draft-verify procedure: guess, look, judge, write, and never stand still.

A round asks the drafter for guesses, shows them to the verifier in one pass, and writes what
stands.  Only this loop changes the canvas.  A row in which a round decided nothing takes the
verifier's own step instead.

Legend: B rows, N canvas positions, E entries, K draft positions.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator

import attrs

from dlmkit.accounts.records import StepRecord
from dlmkit.bounds import at_least
from dlmkit.canvas import Canvas
from dlmkit.component import option
from dlmkit.context import Context
from dlmkit.denoise import Denoise
from dlmkit.draft_verify.play import Play
from dlmkit.draft_verify.roles import (
    Bonus,
    Bridge,
    Drafter,
    DraftSchedule,
    Judge,
    Refiner,
    Resolver,
    Scope,
    Sight,
)
from dlmkit.roles import Observer, Procedure

__all__ = ["DraftVerify"]


@attrs.frozen(kw_only=True)
class DraftVerify(Procedure):
    """Let a cheap drafter guess several steps, and check them with one pass of the verifier.

    Source: DualDiffusion (arXiv:2604.05250), and speculative decoding (arXiv:2211.17192).
    """

    name = "draft-verify"

    verifier: Denoise = option(doc="the pipeline that would decode alone; it has the last word")
    draft: Drafter = option(doc="guesses what comes next")
    refine: tuple[Refiner, ...] = option((), doc="changes drafts before they are checked, in order")
    view: Sight = option(doc="which states of the draft the verifier is shown")
    judge: Judge = option(doc="rates each guess against what the verifier says")
    scope: Scope = option(doc="how far a failure reaches")
    resolve: Resolver = option(doc="what is written where a guess passed or failed")
    bonus: Bonus | None = option(None, doc="what the verifier adds from the same pass")
    schedule: DraftSchedule = option(doc="how long each row drafts")
    bridge: Bridge | None = option(
        None, doc="carries tokens to and from a drafter of another vocabulary; absent: not needed"
    )
    observe: tuple[Observer, ...] = option((), doc="sees every record")
    max_rounds: int | None = option(
        None,
        doc="rounds after which the verifier decodes alone; absent: no limit",
        check=at_least(0),
    )

    def home(self) -> str:
        """The verifier's model."""
        return self.verifier.home()

    def steps(self, context: Context, canvas: Canvas) -> Iterator[StepRecord]:
        """Decode the canvas in place; yield one record after each forward pass."""
        for number, record in enumerate(self._passes(Play.begin(self, context, canvas))):
            numbered = attrs.evolve(record, step=number)
            for observer in self.observe:
                observer.step(numbered)
            yield numbered

    def _passes(self, play: Play) -> Generator[StepRecord, None, None]:
        while play.goes_on():
            if self.max_rounds is not None and play.number >= self.max_rounds:
                yield play.plain_step()
            else:
                yield from play.round()
