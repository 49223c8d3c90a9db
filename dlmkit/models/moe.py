"""Mixtures of experts: a router chooses a few feed-forwards for each token.

No loop over tokens or experts: assignments are sorted by expert and multiplied group by group.

Legend: T tokens, D hidden size, X experts, K experts of one token, G groups of experts,
A = T * K assignments, F width of an expert.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that every torch reader knows

from dlmkit.models.grouped import grouped_linear
from dlmkit.models.layers import GatedMLP, widen

if TYPE_CHECKING:
    from dlmkit.models.arch import MoeSpec

__all__ = ["SparseMLP"]


class Router(nn.Module):
    """Chooses experts for each token and weighs them, in float32 at least."""

    def __init__(self, hidden: int, spec: MoeSpec) -> None:
        super().__init__()
        self.spec = spec
        self.weight = nn.Parameter(torch.empty(spec.experts, hidden))
        self.expert_bias = nn.Parameter(torch.empty(spec.experts)) if spec.selection_bias else None

    def forward(self, x_TD: Tensor) -> tuple[Tensor, Tensor]:
        """Return `chosen_TK`, expert numbers, and `weights_TK`, in the type of `x_TD`."""
        scores_TX = self._scores(x_TD)
        ranked_TX = scores_TX if self.expert_bias is None else scores_TX + self.expert_bias
        if self.spec.kept_groups < self.spec.groups:
            ranked_TX = ranked_TX.masked_fill(~self._kept(ranked_TX), -torch.inf)
        chosen_TK = ranked_TX.topk(self.spec.chosen, dim=-1).indices
        weights_TK = scores_TX.gather(1, chosen_TK)
        if self.spec.renormalise:
            total_T1 = weights_TK.sum(-1, keepdim=True)
            weights_TK = weights_TK / total_T1.clamp_min(torch.finfo(total_T1.dtype).tiny)
        return chosen_TK, (weights_TK * self.spec.scale).to(x_TD.dtype)

    def _scores(self, x_TD: Tensor) -> Tensor:
        if self.spec.score == "sigmoid":
            return F.linear(widen(x_TD), widen(self.weight)).sigmoid()
        return widen(F.linear(x_TD, self.weight)).softmax(-1)

    def _kept(self, ranked_TX: Tensor) -> Tensor:
        """`kept_TX`: true for experts of the groups whose two best experts rank highest."""
        tokens, groups = ranked_TX.shape[0], self.spec.groups
        best_TG2 = ranked_TX.view(tokens, groups, -1).topk(2, dim=-1).values
        kept_TG = best_TG2.sum(-1).topk(self.spec.kept_groups, dim=-1).indices
        open_TG = torch.zeros(tokens, groups, dtype=torch.bool, device=ranked_TX.device)
        open_TG = open_TG.scatter(1, kept_TG, value=True)
        return open_TG.repeat_interleave(self.spec.experts // groups, dim=1)


class Experts(nn.Module):
    """Gated feed-forwards of one shape, their matrices stacked."""

    def __init__(self, hidden: int, spec: MoeSpec) -> None:
        super().__init__()
        self.gate_proj = nn.Parameter(torch.empty(spec.experts, spec.ffn, hidden))
        self.up_proj = nn.Parameter(torch.empty(spec.experts, spec.ffn, hidden))
        self.down_proj = nn.Parameter(torch.empty(spec.experts, hidden, spec.ffn))

    def forward(self, x_TD: Tensor, chosen_TK: Tensor, weights_TK: Tensor) -> Tensor:
        """Send every token through its experts and add up the weighted results."""
        expert_A = chosen_TK.flatten()
        order_A = expert_A.argsort(stable=True)
        counts_X = expert_A.new_zeros(self.gate_proj.shape[0])
        ends_X = counts_X.scatter_add(0, expert_A, torch.ones_like(expert_A)).cumsum(0)
        x_AD = x_TD[order_A // chosen_TK.shape[1]]
        hidden_AF = F.silu(grouped_linear(x_AD, self.gate_proj, ends_X))
        hidden_AF = hidden_AF * grouped_linear(x_AD, self.up_proj, ends_X)
        out_AD = grouped_linear(hidden_AF, self.down_proj, ends_X)
        back_A = torch.empty_like(order_A).scatter(
            0, order_A, torch.arange(order_A.shape[0], device=order_A.device)
        )
        out_TKD = out_AD[back_A].view(*chosen_TK.shape, -1)
        return (out_TKD * weights_TK[..., None]).sum(1)


class SparseMLP(nn.Module):
    """A feed-forward made of routed experts and, where there is one, a shared expert."""

    def __init__(self, hidden: int, spec: MoeSpec) -> None:
        super().__init__()
        self.gate = Router(hidden, spec)
        self.experts = Experts(hidden, spec)
        self.shared_experts = GatedMLP(hidden, spec.shared_ffn) if spec.shared_ffn else None

    def forward(self, x_BQD: Tensor) -> Tensor:
        """Route each position by itself."""
        x_TD = x_BQD.flatten(0, -2)
        out_BQD: Tensor = self.experts(x_TD, *self.gate(x_TD)).view(x_BQD.shape)
        return out_BQD if self.shared_experts is None else out_BQD + self.shared_experts(x_BQD)
