"""The loop that beam searches share.

Legend: B rows, R beams, V vocabulary.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from itertools import count
from typing import ClassVar

import attrs
import torch
from torch import Tensor

from dlmkit.accounts.records import StepRecord
from dlmkit.bounds import at_least
from dlmkit.canvas import Canvas
from dlmkit.component import option
from dlmkit.context import Context
from dlmkit.errors import EngineError
from dlmkit.passes.session import Session
from dlmkit.roles import Procedure
from dlmkit.view import BlockSpan
from dlmkit_strategies.autoregressive.beams import Beams

__all__ = ["Search"]


@attrs.frozen(kw_only=True)
class Search(Procedure):
    """A search over a causal network that keeps several texts of every row."""

    requires: ClassVar[frozenset[str]] = frozenset({"causal"})

    model: str = option("main", doc="name of the network in `models`")
    beams: int = option(4, doc="texts that are kept", check=at_least(1))

    @abstractmethod
    def begin(self, canvas: Canvas, session: Session) -> Beams:
        """The beams at the start."""

    @abstractmethod
    def choose(self, score_RB: Tensor, logp_RBV: Tensor) -> tuple[Tensor, Tensor]:
        """The beam that each new beam continues, and with which token, both `[R, B]`."""

    def home(self) -> str:
        """The only model there is."""
        return self.model

    def steps(self, context: Context, canvas: Canvas) -> Iterator[StepRecord]:
        """Decode the canvas in place; it holds the best text so far after each pass.

        Raises:
            EngineError: the network is not causal.
        """
        session = context.session(self.model)
        self._require_causal(session)
        found = self.begin(canvas, session)
        for step in count():
            open_BN = canvas.masked_BN & canvas.undone_B1
            live_B = open_BN.any(dim=1)
            if not bool(live_B.any()):
                return
            last = canvas.tokens_BN.shape[1] - 1
            place_B = torch.where(open_BN, canvas.columns_N, last).amin(dim=1)
            before_BN = canvas.tokens_BN
            logp_RBV = found.predict(canvas, place_B, live_B)
            found.extend(*self.choose(found.score_RB, logp_RBV), logp_RBV, place_B)
            found.write_best(canvas, live_B, step)
            yield StepRecord(
                step=step,
                network=self.model,
                counts=session.counts,
                before_BN=before_BN,
                after_BN=canvas.tokens_BN,
                positions_BP=place_B[:, None],
                proposals_BP=canvas.tokens_BN.gather(1, place_B[:, None]),
                confidence_BP=found.best(found.gain_RB).exp()[:, None],
                live_B=live_B,
                block=BlockSpan(place_B, place_B + 1, place_B - canvas.start_B, 1),
            )

    def _require_causal(self, session: Session) -> None:
        kind = session.info.attention.kind
        if kind != "causal":
            raise EngineError(
                f"{self.name} is for causal networks; this one's attention is {kind}",
                hint="use an autoregressive model, for example builtin/guide",
            )
