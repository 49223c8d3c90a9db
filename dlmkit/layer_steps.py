"""Passes in which each layer computes some positions anew and takes the others as they were.

Legend: B rows, N canvas positions, Y layers, G key/value heads, E head dimension, D hidden size.
"""

from __future__ import annotations

import attrs
from torch import Tensor

__all__ = ["Features", "LayerSteps"]


@attrs.frozen(kw_only=True, eq=False)
class LayerSteps:
    """What the layers of a pass over the whole canvas compute; the first computes everything.

    `refresh_BN`, bool, is computed in every layer.  Of `adapt_BN`, bool, every layer computes the
    values, and all else for the `count_B` positions whose values have turned most since they were
    stored (by cosine).  Other positions take what the layer last added to them.
    """

    refresh_BN: Tensor
    adapt_BN: Tensor
    count_B: Tensor


@attrs.frozen(kw_only=True, eq=False)
class Features:
    """What each layer gave for each position: keys, values, and the outputs of its two halves.

    A pass writes into them.  There is one slot more than positions, where filler goes.
    """

    keys_YBGNE: Tensor
    values_YBGNE: Tensor
    attended_YBND: Tensor
    fed_forward_YBND: Tensor
