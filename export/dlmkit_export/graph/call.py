"""The network call as one module with explicit inputs, ready to be traced.

Legend: B rows, Q fed positions, C cache slots, S wanted rows, V vocabulary, D hidden size,
Y layers, G key/value heads, E head dimension, R frequencies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.export import Dim

from dlmkit.models.rotary import Rotary
from dlmkit_export.contract import INPUTS

if TYPE_CHECKING:
    from dlmkit.models.text_module import TextModule

__all__ = ["NetworkCall", "dynamic_shapes", "example_inputs"]


class ConstantRotary(Rotary):
    """Rotary embedding whose frequencies are stored, bit for bit as PyTorch computes them."""

    def __init__(self, rotary: Rotary) -> None:
        super().__init__(rotary.spec, rotary.query_scale)
        self.register_buffer("inverse_R", rotary.inverse(torch.device("cpu")))

    def inverse(self, device: torch.device) -> Tensor:
        """Radians per position, `inverse_R`."""
        stored_R: Any = self.inverse_R
        return torch.as_tensor(stored_R)


class NetworkCall(nn.Module):
    """One pass: wanted rows are gathered before the head, the mask is joined inside.

    Takes over the decoder: its rotary frequencies become constants.
    """

    def __init__(self, decoder: TextModule) -> None:
        super().__init__()
        self.decoder = decoder
        for parent in list(decoder.modules()):
            for name, child in parent.named_children():
                if isinstance(child, Rotary):
                    setattr(parent, name, ConstantRotary(child))

    def forward(
        self,
        ids: Tensor,
        positions: Tensor,
        mask_past: Tensor,
        mask_new: Tensor,
        past_keys: Tensor,
        past_values: Tensor,
        wanted: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return `logits_BSV` in float32 and the fresh keys and values."""
        mask_B1QK = torch.cat((mask_past, mask_new), dim=-1)
        hidden_BQD, keys_YBGQE, values_YBGQE = self.decoder(
            ids, positions, mask_B1QK, past_keys, past_values
        )
        index_BSD = wanted.long()[..., None].expand(-1, -1, hidden_BQD.shape[-1])
        logits_BSV = self.decoder.head(hidden_BQD.gather(1, index_BSD))
        return logits_BSV.float(), keys_YBGQE, values_YBGQE


def example_inputs(decoder: TextModule) -> dict[str, Tensor]:
    """Inputs of small, pairwise different sizes, for tracing."""
    arch, dtype = decoder.arch, next(decoder.parameters()).dtype
    rows, fed, slots, wanted = 2, 3, 5, 4
    past_YBGCE = torch.zeros(arch.layers, rows, arch.kv_heads, slots, arch.head_dim, dtype=dtype)
    values = (
        torch.zeros(rows, fed, dtype=torch.int32),
        torch.zeros(rows, fed, dtype=torch.int32),
        torch.ones(rows, 1, fed, slots, dtype=torch.bool),
        torch.ones(rows, 1, fed, fed, dtype=torch.bool),
        past_YBGCE,
        past_YBGCE.clone(),
        torch.zeros(rows, wanted, dtype=torch.int32),
    )
    return dict(zip(INPUTS, values, strict=True))


def dynamic_shapes() -> dict[str, dict[int, Dim]]:
    """Which dimensions are free, with the names they get in the graph."""
    rows, fed, slots, wanted = Dim("rows"), Dim("fed"), Dim("slots"), Dim("wanted")
    cached = {1: rows, 3: slots}
    shapes = (
        {0: rows, 1: fed},
        {0: rows, 1: fed},
        {0: rows, 2: fed, 3: slots},
        {0: rows, 2: fed, 3: fed},
        cached,
        cached,
        {0: rows, 1: wanted},
    )
    return dict(zip(INPUTS, shapes, strict=True))
