"""The Jacobi drafter: guess a block, and guess again what the network made of it.

Legend: B rows, N canvas positions.
"""

from __future__ import annotations

from math import ceil

import attrs
from torch import Tensor

from dlmkit.bounds import above, at_least, at_most
from dlmkit.component import option
from dlmkit.draft_verify.roles import Drafter
from dlmkit.draft_verify.round import Round, Setting
from dlmkit_strategies.jacobi.run import JacobiRun, frontier

__all__ = ["JacobiTail"]


@attrs.frozen(kw_only=True)
class JacobiTail(Drafter):
    """The network's own last pass over the rest of the block, at first random tokens of the text.

    Each pass decides the leading tokens that agree with it and one more; what it says of the
    others is the next draft.  With `blocks` above 1, further blocks are drafted behind the one
    that is decided, each begun once the one before has settled by `spawn`.  With a `pool`, what
    followed the next token in rejected drafts is tried beside it, if at least two such places are
    found.  Source: Jacobi Forcing (arXiv:2512.14681), n, K, r and the n-gram pool.
    """

    name = "jacobi-tail"
    order = "position"

    length: int = option(64, doc="tokens in a block", check=at_least(1))
    blocks: int = option(1, doc="blocks that are drafted at once", check=at_least(1))
    spawn: float = option(
        0.85, doc="settled share of a block that begins the next", check=(above(0), at_most(1))
    )
    pool: int = option(0, doc="rejected drafts that are kept", check=at_least(0))

    @property
    def branches(self) -> bool:  # type: ignore[override] # the options decide
        """Whether rejected drafts are tried beside the main one."""
        return self.pool > 0

    def alone(self) -> bool:
        """A node is a token."""
        return True

    def begin(self, setting: Setting) -> JacobiRun:
        """Nothing has been guessed yet."""
        return JacobiRun.of(
            setting,
            opening=self.opening,
            length=self.length,
            blocks=self.blocks,
            enough=ceil(self.spawn * self.length),
            pool=self.pool,
        )

    def opening(self, start: Round) -> Tensor:
        """Guesses for a block of which nothing is known, `tokens_BN`: tokens of the text before."""
        canvas = start.canvas
        columns_BN = canvas.columns_N.expand_as(canvas.tokens_BN)
        known_B1 = frontier(canvas.tokens_BN, canvas.mask_id)[:, None].clamp_min(1)
        place_BN = (start.noise.uniform_BP(self.name, columns_BN) * known_B1).long()
        return canvas.tokens_BN.gather(1, place_BN.minimum(known_B1 - 1))
