"""The transformer of the first masked diffusion models: layer norms, modulated by the noise.

It follows DiT (Peebles and Xie, arXiv:2212.09748) as used by SEDD (arXiv:2310.16834), MDLM
(arXiv:2406.07524) and BD3-LM (arXiv:2503.09573).  Parameters have the names of their releases.

Legend: B rows, Q fed positions, C cached positions, K = C + Q keys, D hidden size, H heads,
E head dimension, S wanted rows, V vocabulary, Y layers, W width of the condition.
"""

from __future__ import annotations

import math

import attrs
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that every torch reader knows

from dlmkit.models.arch import ArchSpec
from dlmkit.models.attend import Pair, appended, attend, of_layer
from dlmkit.models.layers import Linear, widen
from dlmkit.models.rotary import Angles, Rotary, rotate
from dlmkit.models.text_module import TextModule

__all__ = ["DitArch", "DitNetwork", "ScoreNetwork", "TimedDitNetwork"]

_FREQUENCIES = 256
"""Width of the sinusoidal embedding of the noise level."""


@attrs.frozen(kw_only=True)
class DitArch(ArchSpec):
    """Sizes of such a transformer.

    `condition` is the width of the noise condition (0: none); `timed` says that the network was
    trained with the true noise level, where others were with zero.
    """

    condition: int = 0
    timed: bool = False


class LayerNorm(nn.Module):
    """Layer normalisation with a gain and no offset; statistics in float32 at least."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(size))

    def forward(self, x_BQD: Tensor) -> Tensor:
        """Normalise the last dimension."""
        return F.layer_norm(widen(x_BQD), x_BQD.shape[-1:]).to(x_BQD.dtype) * self.weight


class Noise(nn.Module):
    """From a noise level to the condition that modulates every layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(Linear(_FREQUENCIES, width), nn.SiLU(), Linear(width, width))

    def forward(self, noise_B: Tensor) -> Tensor:
        """Return `condition_BW`; frequencies fall from 1 to nearly 1/10000, cosines first."""
        half = _FREQUENCIES // 2
        steps = torch.arange(half, device=noise_B.device, dtype=torch.float32) / half
        angles = widen(noise_B)[:, None] * (-math.log(10_000) * steps).exp()
        waves = torch.cat((angles.cos(), angles.sin()), dim=-1)
        dtype = next(self.parameters()).dtype
        condition_BW: Tensor = F.silu(self.mlp(waves.to(dtype)))
        return condition_BW


class Block(nn.Module):
    """Attention and a feed-forward, each modulated and gated where there is a condition."""

    def __init__(self, arch: DitArch) -> None:
        super().__init__()
        hidden, self.heads = arch.hidden, arch.heads
        self.norm1, self.norm2 = LayerNorm(hidden), LayerNorm(hidden)
        self.attn_qkv = Linear(hidden, 3 * hidden, bias=False)
        self.attn_out = Linear(hidden, hidden, bias=False)
        self.mlp = nn.Sequential(
            Linear(hidden, arch.ffn), nn.GELU(approximate="tanh"), Linear(arch.ffn, hidden)
        )
        self.adaLN_modulation = Linear(arch.condition, 6 * hidden) if arch.condition else None

    def forward(
        self,
        x_BQD: Tensor,
        angles: Angles,
        mask_B1QK: Tensor | None,
        past: Pair | None,
        condition_BW: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the new residual stream and this layer's fresh keys and values."""
        first, gate_first, second, gate_second = self._modulation(condition_BW)
        mixed_BQD, k_BHQE, v_BHQE = self._attend(
            _modulate(self.norm1(x_BQD), first), angles, mask_B1QK, past
        )
        x_BQD = x_BQD + gate_first * mixed_BQD
        x_BQD = x_BQD + gate_second * self.mlp(_modulate(self.norm2(x_BQD), second))
        return x_BQD, k_BHQE, v_BHQE

    def _modulation(
        self, condition_BW: Tensor | None
    ) -> tuple[_Shift | None, Tensor | float, _Shift | None, Tensor | float]:
        """Shift, scale and gate of both halves; plain residuals without a condition."""
        if self.adaLN_modulation is None or condition_BW is None:
            return None, 1.0, None, 1.0
        parts = self.adaLN_modulation(condition_BW)[:, None].chunk(6, dim=-1)
        return (parts[0], parts[1]), parts[2], (parts[3], parts[4]), parts[5]

    def _attend(
        self,
        x_BQD: Tensor,
        angles: Angles,
        mask_B1QK: Tensor | None,
        past: Pair | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        rows, count, _ = x_BQD.shape
        qkv = self.attn_qkv(x_BQD).view(rows, count, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        q_BHQE, k_BHQE, v_BHQE = rotate(qkv[0], angles), rotate(qkv[1], angles), qkv[2]
        keys_BHKE, values_BHKE = appended(past, k_BHQE, v_BHQE)
        mixed_BQD = self.attn_out(attend(q_BHQE, keys_BHKE, values_BHKE, mask_B1QK))
        return mixed_BQD, k_BHQE, v_BHQE


class OutputLayer(nn.Module):
    """Final norm, its modulation, and the head."""

    def __init__(self, arch: DitArch) -> None:
        super().__init__()
        self.norm_final = LayerNorm(arch.hidden)
        self.linear = Linear(arch.hidden, arch.vocab_rows)
        self.adaLN_modulation = Linear(arch.condition, 2 * arch.hidden) if arch.condition else None

    def forward(self, x_BSD: Tensor, condition_BW: Tensor | None) -> Tensor:
        """Return logits, `logits_BSV`."""
        shift = None
        if self.adaLN_modulation is not None and condition_BW is not None:
            parts = self.adaLN_modulation(condition_BW)[:, None].chunk(2, dim=-1)
            shift = (parts[0], parts[1])
        logits_BSV: Tensor = self.linear(_modulate(self.norm_final(x_BSD), shift))
        return logits_BSV


class TokenTable(nn.Module):
    """The embedding of tokens."""

    def __init__(self, rows: int, hidden: int) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.empty(rows, hidden))


class DitNetwork(TextModule):
    """Such a transformer behind the contract of all networks; without a noise level it is zero."""

    def __init__(self, arch: DitArch) -> None:
        super().__init__(arch)
        self.vocab_embed = TokenTable(arch.vocab_rows, arch.hidden)
        self.sigma_map = Noise(arch.condition) if arch.condition else None
        self.blocks = nn.ModuleList(Block(arch) for _ in range(arch.layers))
        self.output_layer = OutputLayer(arch)
        self.rotary = Rotary(arch.rotary)

    def forward(
        self,
        ids_BQ: Tensor,
        positions_BQ: Tensor,
        mask_B1QK: Tensor | None = None,
        past_k_YBGCE: Tensor | None = None,
        past_v_YBGCE: Tensor | None = None,
        noise_B: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the residual stream before the last norm, and fresh keys and values."""
        x_BQD = F.embedding(ids_BQ, self.vocab_embed.embedding)
        angles = self.rotary(positions_BQ, x_BQD.dtype)
        condition_BW = self._condition(x_BQD, noise_B)
        keys, values = [], []
        for index, block in enumerate(self.blocks):
            past = of_layer(past_k_YBGCE, past_v_YBGCE, index)
            x_BQD, k_BHQE, v_BHQE = block(x_BQD, angles, mask_B1QK, past, condition_BW)
            keys.append(k_BHQE)
            values.append(v_BHQE)
        return x_BQD, torch.stack(keys), torch.stack(values)

    def head(self, hidden_BSD: Tensor, noise_B: Tensor | None = None) -> Tensor:
        """Logits `[B, S, V]` of the given rows of `forward`'s first result."""
        logits_BSV: Tensor = self.output_layer(hidden_BSD, self._condition(hidden_BSD, noise_B))
        return logits_BSV

    def _condition(self, x_BQD: Tensor, noise_B: Tensor | None) -> Tensor | None:
        if self.sigma_map is None:
            return None
        if noise_B is None:
            noise_B = x_BQD.new_zeros(x_BQD.shape[0])
        condition_BW: Tensor = self.sigma_map(noise_B)
        return condition_BW


class TimedDitNetwork(DitNetwork):
    """The same for networks that are told how much of a row is masked."""

    abilities = frozenset({"noise-level"})


class ScoreNetwork(TimedDitNetwork):
    """The same where the last token is the mask and outputs are scores, ratios of probabilities.

    The score of a token at a mask is p(token) / p(mask), whose logarithm is returned.  As trained
    (SEDD, `scale_by_sigma`), it is the output over e^noise - 1 and the number of other tokens.
    """

    def head(self, hidden_BSD: Tensor, noise_B: Tensor | None = None) -> Tensor:
        """Logarithms of scores; at the mask, which is no token to change to, minus infinity."""
        if noise_B is None:
            noise_B = hidden_BSD.new_zeros(hidden_BSD.shape[0], dtype=torch.float32)
        logits_BSV = super().head(hidden_BSD, noise_B)
        others = logits_BSV.shape[-1] - 1
        scale_B = widen(noise_B).clamp_min(_LEAST).expm1().log() + math.log(others)
        scores_BSV = logits_BSV - scale_B.to(logits_BSV.dtype)[:, None, None]
        scores_BSV[..., -1] = -torch.inf
        return scores_BSV


_LEAST = 1e-6
"""Noise level below which scores are not scaled any further."""

_Shift = tuple[Tensor, Tensor]
"""Offset and relative scale of normalised values."""


def _modulate(x_BQD: Tensor, shift: _Shift | None) -> Tensor:
    return x_BQD if shift is None else x_BQD * (1 + shift[1]) + shift[0]
