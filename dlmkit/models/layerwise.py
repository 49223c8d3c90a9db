"""Running the shared decoder with another choice of positions in each layer.

Eager only: which positions a layer computes depends on what it has just computed.

Legend: B rows, N canvas positions, M = N + 1 slots, L positions whose values are computed,
Q positions computed in full, G key/value heads, E head dimension, D hidden size, Y layers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that every torch reader knows

from dlmkit.models.attention_drift import Watch
from dlmkit.models.layers import widen
from dlmkit.passes.layer_steps import Adapt, Features, LayerSteps

if TYPE_CHECKING:
    from dlmkit.models.decoder import Decoder

__all__ = ["run_layers"]


def run_layers(
    decoder: Decoder,
    ids_BN: Tensor,
    positions_BN: Tensor,
    mask_B1NN: Tensor | None,
    steps: LayerSteps,
    features: Features | None,
) -> tuple[Tensor, Features, int]:
    """Run one pass; return the final residual stream, the features, and the positions computed.

    Without features everything is computed.  The count is that of all rows, filler included, mean
    over the layers; finding the widths costs one host read, with `drift` one more in each layer.
    """
    hidden_BND = decoder.embed(ids_BN)
    rows, columns = ids_BN.shape
    everything = features is None
    features = _room(decoder, rows, columns, hidden_BND) if features is None else features
    pick, total = _Pick.of(steps), 0
    for index, module in enumerate(decoder.model.layers):
        layer = _Layer(decoder, module, features, index, positions_BN, mask_B1NN, pick.watch)
        whole = everything or (index == 0 and steps.adapt is not None)
        count, turned_B = (
            layer.compute_all(hidden_BND) if whole else layer.compute(hidden_BND, pick)
        )
        total += count
        hidden_BND = hidden_BND + features.attended_YBMD[index][:, :columns]
        hidden_BND = hidden_BND + features.fed_forward_YBMD[index][:, :columns]
        if turned_B is not None and not everything:
            pick = pick.restarted(turned_B)
    return hidden_BND, features, rows * round(total / len(decoder.model.layers))


@attrs.frozen(eq=False)
class _Pick:
    """What layers compute, with how much the busiest row looks at, and how much of it in full."""

    refresh_BN: Tensor
    adapt: Adapt | None
    watch: Watch | None
    looked: int
    full: int

    @classmethod
    def of(cls, steps: LayerSteps) -> _Pick:
        """Count on the host what the steps ask for."""
        refresh_BN, adapt, watched = steps.refresh_BN, steps.adapt, steps.refresh_BN
        refresh_B = looked_B = full_B = refresh_BN.sum(dim=1)
        if adapt is not None:
            adapt = attrs.evolve(adapt, where_BN=adapt.where_BN & ~refresh_BN)
            adapt_B = adapt.where_BN.sum(dim=1)
            looked_B, full_B = refresh_B + adapt_B, refresh_B + adapt.count_B.minimum(adapt_B)
        if steps.drift is not None:
            watched = steps.drift.watch_BN
        most = torch.stack((looked_B, full_B, watched.sum(dim=1))).amax(dim=1).tolist()
        watch = None if steps.drift is None else Watch(steps.drift, most[2])
        return cls(refresh_BN, adapt, watch, most[0], most[1])

    def restarted(self, turned_B: Tensor) -> _Pick:
        """Compute more from the next layer on in rows whose attention has turned."""
        assert self.watch is not None  # noqa: S101 - nothing turns that is not watched
        refresh_BN = self.refresh_BN | (self.watch.drift.restart_BN & turned_B[:, None])
        full = int(refresh_BN.sum(dim=1).amax())
        return attrs.evolve(self, refresh_BN=refresh_BN, looked=full, full=full)


def _room(decoder: Decoder, rows: int, columns: int, like: Tensor) -> Features:
    arch = decoder.arch
    cached = (arch.layers, rows, arch.kv_heads, columns + 1, arch.head_dim)
    output = (arch.layers, rows, columns + 1, arch.hidden)
    return Features(
        keys_YBGME=like.new_zeros(cached),
        values_YBGME=like.new_zeros(cached),
        attended_YBMD=like.new_zeros(output),
        fed_forward_YBMD=like.new_zeros(output),
        most_YB=like.new_zeros(cached[:2], dtype=torch.int64),
        given_YBM=widen(like.new_full(output[:3], -1)),
    )


@attrs.frozen(eq=False)
class _Layer:
    """One layer of a decoder at work on its features."""

    decoder: Decoder
    module: Any
    features: Features
    index: int
    positions_BN: Tensor
    mask_B1NN: Tensor | None
    watch: Watch | None

    def compute_all(self, hidden_BND: Tensor) -> tuple[int, Tensor | None]:
        """Compute every position; return how many, and the rows whose attention has turned."""
        columns_BN = torch.arange(hidden_BND.shape[1], device=hidden_BND.device)
        columns_BN = columns_BN.expand(hidden_BND.shape[:2])
        values_BGNE = self.module.self_attn.values(self.module.input_layernorm(hidden_BND))
        _write(self.features.values_YBGME[self.index], columns_BN, values_BGNE)
        return hidden_BND.shape[1], self._finish(hidden_BND, columns_BN)

    def compute(self, hidden_BND: Tensor, pick: _Pick) -> tuple[int, Tensor | None]:
        """Compute values where asked, choose among them, and compute the chosen in full."""
        adapt, full_BN = pick.adapt, pick.refresh_BN
        looked_BN = full_BN if adapt is None else full_BN | adapt.where_BN
        place_BL = _first(looked_BN, pick.looked)
        normed_BLD = self.module.input_layernorm(_read(hidden_BND, place_BL))
        values_BGLE = self.module.self_attn.values(normed_BLD)
        stored_BGME = self.features.values_YBGME[self.index]
        if adapt is not None:
            full_BN = full_BN | _turned_most(values_BGLE, stored_BGME, place_BL, adapt)
        _write(stored_BGME, place_BL, values_BGLE)
        return pick.full, self._finish(hidden_BND, _first(full_BN, pick.full))

    def _finish(self, hidden_BND: Tensor, place_BQ: Tensor) -> Tensor | None:
        """Keys, attention and feed-forward of some positions; rows whose attention has turned."""
        attention, columns = self.module.self_attn, hidden_BND.shape[1]
        hidden_BQD, safe_BQ = _read(hidden_BND, place_BQ), place_BQ.clamp_max(columns - 1)
        angles = self.decoder.model.rotary(self.positions_BN.gather(1, safe_BQ), hidden_BQD.dtype)
        normed_BQD = self.module.input_layernorm(hidden_BQD)
        q_BHQE, k_BGQE = attention.queries_and_keys(normed_BQD, angles)
        keys_BGME = self.features.keys_YBGME[self.index]
        _write(keys_BGME, place_BQ, k_BGQE)
        mask = self.mask_B1NN
        if mask is not None:
            mask = mask.gather(2, safe_BQ[:, None, :, None].expand(-1, -1, -1, mask.shape[3]))
        values_BGME = self.features.values_YBGME[self.index]
        keys, values = keys_BGME[:, :, :columns], values_BGME[:, :, :columns]
        mixed_BQD = attention.attend(q_BHQE, keys, values, mask)
        _write(self.features.attended_YBMD[self.index], place_BQ, mixed_BQD)
        normed_BQD = self.module.post_attention_layernorm(hidden_BQD + mixed_BQD)
        _write(self.features.fed_forward_YBMD[self.index], place_BQ, self.module.mlp(normed_BQD))
        if self.watch is None:
            return None
        return self.watch.turned_B(q_BHQE, keys, mask, place_BQ, self.features, self.index)


def _first(where_BN: Tensor, width: int) -> Tensor:
    """The marked positions of each row, then the slot behind the last one."""
    order_BN = where_BN.int().argsort(dim=1, descending=True, stable=True)
    return torch.where(where_BN.gather(1, order_BN), order_BN, where_BN.shape[1])[:, :width]


def _read(hidden_BND: Tensor, place_BQ: Tensor) -> Tensor:
    """Values at some positions; any at filler."""
    safe_BQ = place_BQ.clamp_max(hidden_BND.shape[1] - 1)
    return hidden_BND.gather(1, safe_BQ[..., None].expand(-1, -1, hidden_BND.shape[2]))


def _write(room: Tensor, place_BQ: Tensor, values: Tensor) -> None:
    """Put values at their slots, by position in the dimension before the last."""
    index = place_BQ[..., None] if room.ndim == 3 else place_BQ[:, None, :, None]
    room.scatter_(-2, index.expand_as(values), values)


def _turned_most(
    values_BGLE: Tensor, stored_BGME: Tensor, place_BL: Tensor, adapt: Adapt
) -> Tensor:
    """The positions to adapt whose values are least like the stored ones, first ones first."""
    index_BGLE = place_BL[:, None, :, None].expand_as(values_BGLE)
    alike_BL = F.cosine_similarity(
        widen(values_BGLE).transpose(1, 2).flatten(2),
        widen(stored_BGME.gather(2, index_BGLE)).transpose(1, 2).flatten(2),
        dim=-1,
    )
    wide_BM = alike_BL.new_full((len(alike_BL), adapt.where_BN.shape[1] + 1), torch.inf)
    alike_BN = wide_BM.scatter(1, place_BL, alike_BL)[:, :-1]
    alike_BN = alike_BN.masked_fill(~adapt.where_BN, torch.inf)
    rank_BN = alike_BN.argsort(dim=1, stable=True).argsort(dim=1)
    return (rank_BN < adapt.count_B[:, None]) & adapt.where_BN
