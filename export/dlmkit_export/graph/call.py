"""The network call as one module with explicit inputs, ready to be traced.

Legend: B rows, Q fed positions, C cache slots, S wanted rows, V vocabulary, D hidden size,
M mixed tokens, Y layers, G key/value heads, E head dimension, R frequencies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.export import Dim

from dlmkit.models.attention_tap import AttentionTap
from dlmkit.models.rotary import Rotary
from dlmkit_export.contract import ATTENTION_TAPS, MIXED_INPUTS

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

    Takes over the decoder: its rotary frequencies become constants.  With an `ability` it is fed,
    or returns, what the contract says.
    """

    def __init__(self, decoder: TextModule, ability: str | None = None) -> None:
        super().__init__()
        self.decoder, self.ability = decoder, ability
        for parent in list(decoder.modules()):
            for name, child in parent.named_children():
                if isinstance(child, Rotary):
                    setattr(parent, name, ConstantRotary(child))

    def forward(self, *given: Tensor) -> tuple[Tensor | None, ...]:
        """Return `logits_BSV` in float32, the fresh keys and values, and what attention saw."""
        ids_BQ, positions_BQ, mask_past, mask_new, past_keys, past_values, want_BS, *more = given
        mask_B1QK, tap = torch.cat((mask_past, mask_new), dim=-1), None
        options: dict[str, Any] = {}
        if self.ability == MIXED_INPUTS:
            options["embeds_BQD"] = self.decoder.mixed(*more)
        if self.ability == ATTENTION_TAPS:
            options["tap"] = tap = AttentionTap(weights=True, watch_BQ=more[0], groups=None)
        hidden_BQD, keys_YBGQE, values_YBGQE = self.decoder(
            ids_BQ, positions_BQ, mask_B1QK, past_keys, past_values, **options
        )
        index_BSD = want_BS.long()[..., None].expand(-1, -1, hidden_BQD.shape[-1])
        logits_BSV = self.decoder.head(hidden_BQD.gather(1, index_BSD))
        seen = () if tap is None else (tap.attention_YBQK, tap.relevance_YBQ)
        return logits_BSV.float(), keys_YBGQE, values_YBGQE, *seen


def example_inputs(decoder: TextModule, ability: str | None = None) -> tuple[Tensor, ...]:
    """Inputs of small, pairwise different sizes, for tracing."""
    arch, dtype = decoder.arch, next(decoder.parameters()).dtype
    rows, fed, slots, wanted, mixed = 2, 3, 5, 4, 6
    past_YBGCE = torch.zeros(arch.layers, rows, arch.kv_heads, slots, arch.head_dim, dtype=dtype)
    mix_BQM = torch.zeros(rows, fed, mixed)
    more: dict[str | None, tuple[Tensor, ...]] = {
        MIXED_INPUTS: (mix_BQM.int(), mix_BQM),
        ATTENTION_TAPS: (torch.ones(rows, fed, dtype=torch.bool),),
    }
    return (
        torch.zeros(rows, fed, dtype=torch.int32),
        torch.zeros(rows, fed, dtype=torch.int32),
        torch.ones(rows, 1, fed, slots, dtype=torch.bool),
        torch.ones(rows, 1, fed, fed, dtype=torch.bool),
        past_YBGCE,
        past_YBGCE.clone(),
        torch.zeros(rows, wanted, dtype=torch.int32),
        *more.get(ability, ()),
    )


def dynamic_shapes(ability: str | None = None) -> tuple[dict[int, Dim], ...]:
    """Which dimensions are free, with the names they get in the graph."""
    rows, fed, slots, wanted = Dim("rows"), Dim("fed"), Dim("slots"), Dim("wanted")
    cached, row = {1: rows, 3: slots}, {0: rows, 1: fed}
    mixed = row | {2: Dim("mixed")}
    more: dict[str | None, tuple[dict[int, Dim], ...]] = {
        MIXED_INPUTS: (mixed, mixed),
        ATTENTION_TAPS: (row,),
    }
    return (
        row,
        row,
        {0: rows, 2: fed, 3: slots},
        {0: rows, 2: fed, 3: fed},
        cached,
        cached,
        {0: rows, 1: wanted},
        *more.get(ability, ()),
    )
