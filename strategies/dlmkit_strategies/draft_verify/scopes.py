"""Scopes: how far the failure of a guess reaches.

Legend: B rows, E entries, D nodes.
"""

from __future__ import annotations

from typing import Literal

import attrs
import torch
from torch import Tensor

from dlmkit.component import option
from dlmkit.draft_verify.draft import Draft
from dlmkit.draft_verify.roles import Scope

__all__ = ["DeepestPath", "Elementwise", "Prefix"]


@attrs.frozen
class Elementwise(Scope):
    """Each guess stands or falls by itself.

    Source: DualDiffusion (arXiv:2604.05250).
    """

    name = "elementwise"

    def limit(self, draft: Draft, ok_BE: Tensor) -> Tensor:
        """What passed, passed."""
        return ok_BE & draft.valid_BE


@attrs.frozen
class Prefix(Scope):
    """Nothing passes after the first failure.

    With `reveal` what comes after is everything drafted in later steps, and a step passes as a
    whole or not at all; with `position`, everything to the right.
    Source: speculative decoding (arXiv:2211.17192); FreeDave (arXiv:2510.00294).
    """

    name = "prefix"

    order: Literal["reveal", "position"] = option("reveal", doc="what comes after a failure")

    def limit(self, draft: Draft, ok_BE: Tensor) -> Tensor:
        """What passed, up to the first failure."""
        if self.order == "reveal":
            return draft.of_nodes(draft.whole(ok_BE)) & draft.valid_BE
        failed_BE = draft.valid_BE & ~ok_BE
        far = torch.iinfo(draft.position_BE.dtype).max
        first_B1 = torch.where(failed_BE, draft.position_BE, far).amin(dim=1, keepdim=True)
        return ok_BE & draft.valid_BE & (draft.position_BE < first_B1)


@attrs.frozen
class DeepestPath(Scope):
    """Of all paths without a failure the longest passes; ties go to the node drafted first.

    Source: Spiffy (arXiv:2509.18085); tree attention in Medusa (arXiv:2401.10774).
    """

    name = "deepest-path"
    order = "reveal"

    def limit(self, draft: Draft, ok_BE: Tensor) -> Tensor:
        """The entries of one path."""
        whole_BD = draft.whole(ok_BE) & draft.used_BD
        depth_BD = torch.where(whole_BD, draft.depth_BD, 0)
        best_B1 = depth_BD.argmax(dim=1, keepdim=True)
        path_BD = draft.reach_BDD.gather(1, best_B1[:, :, None].expand(-1, -1, draft.nodes))[:, 0]
        path_BD = path_BD & whole_BD.gather(1, best_B1)
        return draft.of_nodes(path_BD) & draft.valid_BE
