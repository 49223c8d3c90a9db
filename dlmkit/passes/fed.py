"""Where a pass is fed and what is wanted of it: all of its layout that no token plays a part in.

Legend: B rows, N canvas positions, P wanted positions, Q fed positions, R = B x variants.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from dlmkit.errors import EngineError
from dlmkit.passes.attention import masks
from dlmkit.passes.variants import repeated

if TYPE_CHECKING:
    from torch import Tensor

    from dlmkit.canvas import Canvas
    from dlmkit.passes.plan import Plan
    from dlmkit.passes.session import Session

__all__ = ["Fed", "Sight", "rows_of"]


@attrs.frozen(eq=False)
class Fed:
    """A plan without filler that no row needs, laid out for a number of variants.

    `feed_RQ` are the fed positions, `want_RP` the wanted ones, and `rows_RP` the rows of what is
    fed that predict them.
    """

    plan: Plan
    variants: int
    feed_RQ: Tensor
    want_RP: Tensor
    rows_RP: Tensor

    @classmethod
    def of(
        cls,
        session: Session,
        plan: Plan,
        positions_BP: Tensor,
        columns: int,
        required_BP: Tensor | None,
        variants: int = 1,
    ) -> Fed:
        """Lay a plan out as before, if it is the same for the same positions.

        Raises:
            EngineError: in a checked session, see `rows_of`.
        """

        def laid_out() -> Fed:
            cut = plan.trimmed(columns)
            rows_BP = rows_of(session, cut, positions_BP, columns, required_BP)
            everything = (cut.feed_BQ, positions_BP, rows_BP)
            return cls(cut, variants, *(repeated(each, variants) for each in everything))

        return session.kept.of("fed", (plan, positions_BP, required_BP, variants), laid_out)

    def of_canvas(self, ids_RN: Tensor) -> Tensor:
        """The tokens that are fed of canvases."""
        return ids_RN if self.plan.whole else ids_RN.gather(1, self.feed_RQ)


@attrs.frozen(eq=False)
class Sight:
    """What fed positions see of the store and of each other.

    `past_B1QN` and `new_B1QQ` for the rows of the plan, `past_R1QN` and `new_R1QQ` for those of all
    variants; None: nothing of the store, everything of each other.
    """

    past_B1QN: Tensor | None
    new_B1QQ: Tensor | None
    past_R1QN: Tensor | None
    new_R1QQ: Tensor | None

    @classmethod
    def of(cls, session: Session, plan: Plan, canvas: Canvas, variants: int = 1) -> Sight:
        """What a plan shows, as before if it is the same for a canvas of the same lengths."""
        pattern, inside_BN = session.info.attention, canvas.inside_BN
        masked_BN = canvas.masked_BN if pattern.kind == "masks-last" else None

        def seen() -> Sight:
            both = masks(pattern, plan, inside_BN, ragged=canvas.ragged, masked_BN=masked_BN)
            return cls(*both, *(None if x is None else repeated(x, variants) for x in both))

        return session.kept.of("sight", (plan, inside_BN, masked_BN, variants), seen)


def rows_of(
    session: Session, plan: Plan, want_BP: Tensor, columns: int, required_BP: Tensor | None
) -> Tensor:
    """Index into the fed positions of the row that predicts each wanted position.

    It is 0 where no row does and none is required.

    Raises:
        EngineError: in a checked session, a required position (None: any wanted one) has no row.
    """
    shift = session.info.logit_shift
    source_BP = (want_BP - shift).clamp_min(0) if shift else want_BP
    if plan.whole:
        return source_BP
    rows_BP = plan.places_BN(columns).gather(1, source_BP)
    missing_BP = rows_BP < 0 if required_BP is None else (rows_BP < 0) & required_BP
    if session.checked and bool(missing_BP.any()):
        raise EngineError(
            "the cache policy's plan does not feed a position whose prediction is wanted",
            hint="feed every wanted position (shifted families: also the one before it)",
        )
    return rows_BP.clamp_min(0)
