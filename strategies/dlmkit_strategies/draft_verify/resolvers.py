"""Resolvers: what is written where a guess passed, and where it failed.

Legend: B rows, E entries.
"""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from dlmkit.draft_verify.draft import Draft
from dlmkit.draft_verify.roles import Resolver
from dlmkit.draft_verify.verdict import Resolution, Verdict

__all__ = ["KeepAtLeastOne", "Remask", "ReplaceAll", "ReplaceFirst", "Truncate"]


def _leftmost(draft: Draft, where_BE: Tensor) -> Tensor:
    """The chosen entry furthest to the left in each row, of several the first, bool."""
    far = torch.iinfo(draft.position_BE.dtype).max
    position_BE = torch.where(where_BE, draft.position_BE, far)
    first_B1 = position_BE.argmin(dim=1, keepdim=True)
    return torch.zeros_like(where_BE).scatter(1, first_B1, value=True) & where_BE


@attrs.frozen
class Remask(Resolver):
    """Send back what failed: it is a mask again, and may be drafted anew.

    Source: DualDiffusion (arXiv:2604.05250).
    """

    name = "remask"
    only_passed = True

    def resolve(self, draft: Draft, passed_BE: Tensor, verdict: Verdict) -> Resolution:
        """Keep what passed."""
        return Resolution(keep_BE=passed_BE, correct_BE=torch.zeros_like(passed_BE))


@attrs.frozen
class ReplaceAll(Resolver):
    """Write the verifier's token wherever a guess failed.

    Source: DualDiffusion (arXiv:2604.05250), trust the verifier.
    """

    name = "replace-all"

    def resolve(self, draft: Draft, passed_BE: Tensor, verdict: Verdict) -> Resolution:
        """Correct what failed."""
        return Resolution(keep_BE=passed_BE, correct_BE=draft.valid_BE & ~passed_BE)


@attrs.frozen
class ReplaceFirst(Resolver):
    """Write the verifier's token at the first failure, and send back the rest.

    The first is the leftmost of those that follow only what passed.
    Source: speculative decoding (arXiv:2211.17192).
    """

    name = "replace-first"
    corrects_first = True

    def resolve(self, draft: Draft, passed_BE: Tensor, verdict: Verdict) -> Resolution:
        """Correct one entry."""
        broken_BD = draft.per_node((~passed_BE).int()) > 0
        above_BDD = draft.reach_BDD & ~torch.eye(
            draft.nodes, dtype=torch.bool, device=passed_BE.device
        )
        open_BD = ~(above_BDD & broken_BD[:, None, :]).any(dim=2)
        failed_BE = draft.valid_BE & ~passed_BE & draft.of_nodes(open_BD)
        # A brother that passed leaves nothing to correct at its position.
        settled_BEE = (draft.position_BE[:, :, None] == draft.position_BE[:, None]) & (
            passed_BE & draft.valid_BE
        )[:, None]
        return Resolution(
            keep_BE=passed_BE, correct_BE=_leftmost(draft, failed_BE & ~settled_BEE.any(dim=2))
        )


@attrs.frozen
class Truncate(Resolver):
    """Keep what passed to the left of the first failure, and send back all else.

    Source: DualDiffusion's code, which cuts the text at the first mask before drafting again.
    """

    name = "truncate"
    only_passed = True

    def resolve(self, draft: Draft, passed_BE: Tensor, verdict: Verdict) -> Resolution:
        """Keep a prefix by position."""
        far = torch.iinfo(draft.position_BE.dtype).max
        failed_BE = draft.valid_BE & ~passed_BE
        first_B1 = torch.where(failed_BE, draft.position_BE, far).amin(dim=1, keepdim=True)
        return Resolution(
            keep_BE=passed_BE & (draft.position_BE < first_B1),
            correct_BE=torch.zeros_like(passed_BE),
        )


@attrs.frozen
class KeepAtLeastOne(Resolver):
    """Keep what passed, and where nothing did, the leftmost guess as it is.

    Source: guided diffusion (arXiv:2505.21467) and adaptive parallel decoding (arXiv:2506.00413),
    where the drafter is the better model.
    """

    name = "keep-draft-min1"

    def resolve(self, draft: Draft, passed_BE: Tensor, verdict: Verdict) -> Resolution:
        """Keep one entry at least."""
        none_B1 = ~(passed_BE & draft.valid_BE).any(dim=1, keepdim=True)
        return Resolution(
            keep_BE=passed_BE | (_leftmost(draft, draft.valid_BE) & none_B1),
            correct_BE=torch.zeros_like(passed_BE),
        )
