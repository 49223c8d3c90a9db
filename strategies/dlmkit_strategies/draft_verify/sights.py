"""Views: which states of a draft the verifier is shown, and what its evidence is worth.

Legend: B rows, N canvas positions, E entries, X states fed.
"""

from __future__ import annotations

import attrs
import torch

from dlmkit.draft_verify.draft import Draft
from dlmkit.draft_verify.roles import Look, Sight
from dlmkit.draft_verify.round import Round
from dlmkit.need import Need

__all__ = ["AfterDraft", "BeforeDraft", "Causal", "EveryState", "LeaveGuessOut", "LeaveOneOut"]


@attrs.frozen
class BeforeDraft(Sight):
    """The canvas without the draft: every guess is rated as if it were alone.

    One row.  Honest, but blind to what guesses mean for each other.
    Source: dlmkit's reading of DualDiffusion (arXiv:2604.05250).
    """

    name = "pre"
    masks = True

    def look(self, draft: Draft, start: Round) -> Look:
        """The canvas as it stands."""
        return Look(
            tokens_BXN=start.canvas.tokens_BN[:, None], rates_BE=torch.zeros_like(draft.node_BE)
        )


@attrs.frozen
class AfterDraft(Sight):
    """The canvas with the whole draft: every guess is rated in plain sight of itself.

    One row.  Masked diffusion models are trained on masked positions only, and what stands at a
    position is largely copied from there, so this rates guesses too well.
    Source: DualDiffusion (arXiv:2604.05250), one verifier pass on the drafted canvas.
    """

    name = "post"

    def look(self, draft: Draft, start: Round) -> Look:
        """The drafted canvas."""
        tokens_BN = draft.written(start.canvas, draft.valid_BE)
        return Look(
            tokens_BXN=tokens_BN[:, None],
            rates_BE=torch.zeros_like(draft.node_BE),
            entries="seen",
        )


@attrs.frozen
class LeaveOneOut(Sight):
    """The canvas with the whole draft, but each guess is rated by a query that does not see it.

    One row with an extra query, a shadow, for each position of the verifier's block; shadows see
    each other, and guesses beyond the block are not rated.
    Source: WINO (arXiv:2507.18578), its shadow block.
    """

    name = "loo"
    need = Need(shadow=True)

    def region(self) -> bool:
        """The block alone has shadows."""
        return False

    def look(self, draft: Draft, start: Round) -> Look:
        """The drafted canvas, with shadows."""
        return _hidden(draft, start, whole_block=True)


@attrs.frozen
class LeaveGuessOut(Sight):
    """As `loo`, but only guesses have shadows, wherever they stand, and each is by itself.

    One row with an extra query for each guess.  What a shadow says does not hang on the others.
    Source: dlmkit, after the shadow block of WINO (arXiv:2507.18578).
    """

    name = "loo-guesses"
    need = Need(shadow=True)

    def look(self, draft: Draft, start: Round) -> Look:
        """The drafted canvas, with a shadow for each guess."""
        return _hidden(draft, start, whole_block=False)


def _hidden(draft: Draft, start: Round, *, whole_block: bool) -> Look:
    return Look(
        tokens_BXN=draft.written(start.canvas, draft.valid_BE)[:, None],
        rates_BE=torch.zeros_like(draft.node_BE),
        entries="hidden",
        whole_block=whole_block,
    )


@attrs.frozen
class Causal(Sight):
    """The canvas with the whole draft under causal attention: each guess sees what is left of it.

    One row, and exact for a draft without branches.
    Source: speculative sampling (arXiv:2211.17192).
    """

    name = "causal"
    requires = frozenset({"causal"})

    def look(self, draft: Draft, start: Round) -> Look:
        """The drafted canvas, read from the left."""
        tokens_BN = draft.written(start.canvas, draft.valid_BE)
        return Look(
            tokens_BXN=tokens_BN[:, None],
            rates_BE=torch.zeros_like(draft.node_BE),
            before_BX=torch.full_like(start.canvas.start_B, -1)[:, None],
            entries="causal",
        )


@attrs.frozen
class EveryState(Sight):
    """The canvas and every node of the draft, each a row of one pass.

    The only view in which the verifier's own step can be compared, state by state.
    Source: self speculative decoding (arXiv:2510.04147) and FreeDave (arXiv:2510.00294).
    """

    name = "states"
    steps = True
    branches = True

    def look(self, draft: Draft, start: Round) -> Look:
        """One row more than there are nodes."""
        return Look.of_states(draft, start)
