"""Passes in which each layer computes some positions anew and takes the others as they were.

Legend: B rows, N canvas positions, M = N + 1 slots, Y layers, G key/value heads, E head
dimension, D hidden size.
"""

from __future__ import annotations

from typing import Any

import attrs
from torch import Tensor

from dlmkit.passes.variants import repeated

__all__ = ["Adapt", "Drift", "Features", "LayerSteps"]


@attrs.frozen(kw_only=True, eq=False)
class Adapt:
    """Positions that each layer looks at, of which it computes those that have changed most.

    Of `where_BN`, bool, a layer computes the values, and all else for the `count_B` positions whose
    values have turned most since they were stored (by cosine).  The first layer computes all.
    """

    where_BN: Tensor
    count_B: Tensor


@attrs.frozen(kw_only=True, eq=False)
class Drift:
    """When what a layer attends to has turned, the layers behind it compute more.

    Each layer notes which of the positions `among_BN` the queries `watch_BN` attend to most (both
    bool), and how much each of them does, mean over the heads.  In the next pass it compares what
    they give to that same position with what they gave, over the queries watched both times: in
    rows where the cosine is below `bound`, all later layers also compute `restart_BN`, bool.
    """

    watch_BN: Tensor
    among_BN: Tensor
    restart_BN: Tensor
    bound: float


@attrs.frozen(kw_only=True, eq=False)
class LayerSteps:
    """What the layers of a pass over the whole canvas compute.

    `refresh_BN`, bool, is computed in every layer; `adapt` and `drift` say what more.  Other
    positions take what the layer last added to them.  `predict_BN`, bool, are the positions whose
    rows predict (None: all, some from what they were).
    """

    refresh_BN: Tensor
    adapt: Adapt | None = None
    drift: Drift | None = None
    predict_BN: Tensor | None = None

    def repeated(self, times: int) -> LayerSteps:
        """The same for every variant of the rows."""
        found: LayerSteps = self if times == 1 else _repeated(self, times)
        return found


@attrs.frozen(kw_only=True, eq=False)
class Features:
    """What each layer gave for each position: keys, values, and the outputs of its two halves.

    `most_YB` int64 is the position that watched queries attended to most, `given_YBM` how much each
    of them did, -1 for others (see `Drift`).  A pass writes into all of it.  There is one slot more
    than positions, where filler goes.
    """

    keys_YBGME: Tensor
    values_YBGME: Tensor
    attended_YBMD: Tensor
    fed_forward_YBMD: Tensor
    most_YB: Tensor
    given_YBM: Tensor


def _repeated(part: Any, times: int) -> Any:
    """A part of the steps, with each row as often in all its tensors."""
    changes: dict[str, Any] = {}
    for field in attrs.fields(type(part)):
        value = getattr(part, field.name)
        if isinstance(value, Tensor):
            changes[field.name] = repeated(value, times)
        elif attrs.has(type(value)):
            changes[field.name] = _repeated(value, times)
    return attrs.evolve(part, **changes)
