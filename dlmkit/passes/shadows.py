"""Shadow queries: each predicts a token from everything but that token.

A shadow stands where the token is predicted from: at its own place, as a mask, or in
logit-shifted families one place before it, as the token there.  It sees neither the token that
it predicts nor the ordinary query whose place it takes.  Other positions have seen the token, so
what reaches a shadow is not wholly free of it.

Legend: B rows, N canvas positions, Q fed positions, H shadows, K keys.
"""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from dlmkit.canvas import Canvas
from dlmkit.errors import EngineError
from dlmkit.network import NetworkInfo, NetworkInputs
from dlmkit.passes.attention import allowed, readable
from dlmkit.passes.plan import Plan

__all__ = ["Shadows"]


@attrs.frozen(eq=False)
class Shadows:
    """The shadows of a plan on one network: `target_BH` predicted, `source_BH` where they stand."""

    plan: Plan
    info: NetworkInfo
    target_BH: Tensor
    source_BH: Tensor

    @classmethod
    def of(cls, plan: Plan, info: NetworkInfo) -> Shadows:
        """The shadows that a plan asks for.

        Raises:
            EngineError: in this network no position sees what comes after it, or the layers read
                different positions.
        """
        assert plan.shadow_BH is not None  # noqa: S101 - the caller has checked
        if plan.layers_BNY is not None:
            raise EngineError(
                "where layers read different positions, a token cannot be hidden from its shadow",
                hint="use a cache whose layers read the same, such as dual",
            )
        if info.attention.kind in ("causal", "masks-last"):
            raise EngineError(
                f"shadow queries mean nothing in a network with {info.attention.kind} attention",
                hint="use a model with full or block-causal attention",
            )
        source_BH = (plan.shadow_BH - info.logit_shift).clamp_min(0)
        return cls(plan, info, plan.shadow_BH, source_BH)

    def extend(self, inputs: NetworkInputs, ids_BN: Tensor, canvas: Canvas) -> NetworkInputs:
        """Feed the shadows after what is fed already, and want their predictions.

        `ids_BN` holds the canvas of every variant, one after the other.
        """
        times = len(ids_BN) // len(canvas.tokens_BN)
        source_BH, target_BH = self.source_BH.repeat(times, 1), self.target_BH.repeat(times, 1)
        ids_BH = torch.full_like(source_BH, canvas.mask_id)
        if self.info.logit_shift:
            ids_BH = ids_BN.gather(1, source_BH)
        fed, count = inputs.ids_BQ.shape[1], target_BH.shape[1]
        rows_BH = torch.arange(fed, fed + count, device=ids_BN.device).expand_as(target_BH)
        current_BS = inputs.current_BS
        if current_BS is None:
            current_BS = torch.zeros_like(inputs.want_BS)
        past, new = self._masks(inputs, canvas, times)
        inputs = _as_they_are(inputs, ids_BH)
        return attrs.evolve(
            inputs,
            ids_BQ=torch.cat((inputs.ids_BQ, ids_BH), dim=1),
            positions_BQ=torch.cat((inputs.positions_BQ, source_BH), dim=1),
            want_BS=torch.cat((inputs.want_BS, rows_BH), dim=1),
            mask_new_B1QQ=new,
            mask_past_B1QC=past,
            current_BS=torch.cat((current_BS, ids_BN.gather(1, target_BH)), dim=1),
        )

    def _masks(
        self, inputs: NetworkInputs, canvas: Canvas, times: int
    ) -> tuple[Tensor | None, Tensor]:
        """The masks of the fed positions, extended by the shadows on both sides."""
        plan, count = self.plan, self.target_BH.shape[1]
        real_BQ = canvas.inside_BN.gather(1, plan.feed_BQ)
        if plan.feed_valid_BQ is not None:
            real_BQ = real_BQ & plan.feed_valid_BQ
        seen_BHQ = self._seen(plan.feed_BQ, real_BQ, canvas).repeat(times, 1, 1)
        new_B1QQ = inputs.mask_new_B1QQ
        if new_B1QQ is None:
            rows, fed = inputs.ids_BQ.shape
            new_B1QQ = seen_BHQ.new_ones((rows, 1, fed, fed))
        lower_BHK = torch.cat((seen_BHQ, self._each_other().repeat(times, 1, 1)), dim=2)
        upper_B1QK = torch.nn.functional.pad(new_B1QQ, (0, count))
        new = torch.cat((upper_B1QK, lower_BHK[:, None]), dim=2)
        if inputs.mask_past_B1QC is None:
            return None, new
        slots_BN = canvas.columns_N.expand_as(canvas.inside_BN)
        stored_BHN = self._seen(slots_BN, readable(plan, canvas.inside_BN), canvas)
        stored_B1HN = stored_BHN.repeat(times, 1, 1)[:, None]
        return torch.cat((inputs.mask_past_B1QC, stored_B1HN), dim=2), new

    def _each_other(self) -> Tensor:
        """Which shadows a shadow sees: itself, and where they meet all others, `seen_BHH`."""
        itself_HH = torch.eye(
            self.target_BH.shape[1], dtype=torch.bool, device=self.target_BH.device
        )
        valid_BH = self.plan.shadow_valid_BH
        if valid_BH is None:
            valid_BH = torch.ones_like(self.target_BH, dtype=torch.bool)
        if not self.plan.shadows_meet:
            return itself_HH.expand(len(valid_BH), -1, -1)
        return itself_HH | (valid_BH[:, None] & valid_BH[:, :, None])

    def _seen(self, key_BK: Tensor, real_BK: Tensor, canvas: Canvas) -> Tensor:
        """Which keys a shadow sees, `seen_BHK`."""
        here_BHK = key_BK[:, None] == self.target_BH[:, :, None]
        here_BHK = here_BHK | (key_BK[:, None] == self.source_BH[:, :, None])
        seen_BHK = real_BK[:, None] & ~here_BHK
        if self.plan.shadow_valid_BH is not None:
            seen_BHK = seen_BHK & self.plan.shadow_valid_BH[:, :, None]
        allowed_BHK = allowed(
            self.info.attention, self.plan, self.source_BH, key_BK, canvas.masked_BN
        )
        return seen_BHK if allowed_BHK is None else seen_BHK & allowed_BHK


def _as_they_are(inputs: NetworkInputs, ids_BH: Tensor) -> NetworkInputs:
    """Shadows are not watched, and nothing is mixed into what they are fed."""
    watch_BQ, mix_BQK = inputs.watch_BQ, inputs.mix_ids_BQK
    if watch_BQ is not None:
        watch_BQ = torch.nn.functional.pad(watch_BQ, (0, ids_BH.shape[1]))
    inputs = attrs.evolve(inputs, watch_BQ=watch_BQ)
    if mix_BQK is None or inputs.mix_weights_BQK is None:
        return inputs
    ids_BHK = ids_BH[..., None].expand(-1, -1, mix_BQK.shape[-1])
    own_K = torch.eye(mix_BQK.shape[-1], device=ids_BH.device)[0]
    weights_BHK = own_K.to(inputs.mix_weights_BQK.dtype).expand_as(ids_BHK)
    return attrs.evolve(
        inputs,
        mix_ids_BQK=torch.cat((mix_BQK, ids_BHK), dim=1),
        mix_weights_BQK=torch.cat((inputs.mix_weights_BQK, weights_BHK), dim=1),
    )
