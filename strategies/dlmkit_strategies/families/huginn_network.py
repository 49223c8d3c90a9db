"""The looped transformer of Huginn-0125: layers normalised on both sides, rotated in pairs.

It follows Geiping et al. (arXiv:2502.05171).  Parameters have the names of the release.

Legend: B rows, Q fed positions, C cached positions, K = C + Q keys, D hidden size, H query heads,
G key/value heads, E head dimension, R = E / 2 frequencies, S wanted rows.
"""

from __future__ import annotations

import attrs
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that every torch reader knows

from dlmkit.models.attend import Pair, appended, attend
from dlmkit.models.layers import Embedding, Linear, RMSNorm
from dlmkit.models.looped import LoopedArch, LoopedModule
from dlmkit.models.rotary import Angles, Rotary

__all__ = ["HuginnArch", "HuginnNetwork"]


@attrs.frozen(kw_only=True)
class HuginnArch(LoopedArch):
    """Sizes of such a transformer.

    Embeddings are multiplied by `embedding_scale`; states begin as noise of `state_std`.
    """

    embedding_scale: float = 1.0
    state_std: float = 1.0


class HuginnNetwork(LoopedModule):
    """Prelude, core and coda of sandwich layers; one norm before the coda and, again, the head."""

    def __init__(self, arch: HuginnArch) -> None:
        super().__init__(arch)
        self.latent_scale = arch.state_std
        self.scale = arch.embedding_scale

        def layers(count: int) -> nn.ModuleList:
            return nn.ModuleList(SandwichLayer(arch) for _ in range(count))

        core = arch.layers - arch.prelude - arch.coda
        self.transformer = nn.ModuleDict(
            {
                "wte": Embedding(arch.vocab_rows, arch.hidden),
                "prelude": layers(arch.prelude),
                "adapter": Linear(2 * arch.hidden, arch.hidden, bias=False),
                "core_block": layers(core),
                "coda": layers(arch.coda),
                "ln_f": RMSNorm(arch.hidden, arch.norm_eps),
            }
        )
        self.rotary = Rotary(arch.rotary)
        self.lm_head = None if arch.tied_head else Linear(arch.hidden, arch.vocab_rows, bias=False)

    def embedded(self, ids_BQ: Tensor) -> Tensor:
        """The embeddings, scaled."""
        x_BQD: Tensor = self.transformer["wte"](ids_BQ) * self.scale
        return x_BQD

    def angles(self, positions_BQ: Tensor, dtype: torch.dtype) -> Angles:
        """Those of the two-halves layout, of which a pair takes one half."""
        angles: Angles = self.rotary(positions_BQ, dtype)
        return angles

    def layer(self, index: int) -> nn.Module:
        """A layer of one of the three parts."""
        parts = [("prelude", 0), ("core_block", self.prelude), ("coda", self.core_end)]
        name, first = max((part for part in parts if part[1] <= index), key=lambda part: part[1])
        found = self.transformer[name]
        assert isinstance(found, nn.ModuleList)  # noqa: S101 - made above
        return found[index - first]

    def joined(self, state_BQD: Tensor, condition_BQD: Tensor) -> Tensor:
        """A linear map of both."""
        x_BQD: Tensor = self.transformer["adapter"](torch.cat((state_BQD, condition_BQD), dim=-1))
        return x_BQD

    def settled(self, x_BQD: Tensor) -> Tensor:
        """As the last layer gave it, normalised there."""
        return x_BQD

    def opened(self, state_BQD: Tensor) -> Tensor:
        """Normalised once more."""
        x_BQD: Tensor = self.transformer["ln_f"](state_BQD)
        return x_BQD

    def head(self, hidden_BSD: Tensor) -> Tensor:
        """Logits `[B, S, V]` of the given rows of `forward`'s first result."""
        wte = self.transformer["wte"]
        weight_VD = wte.weight if self.lm_head is None else self.lm_head.weight
        assert isinstance(weight_VD, Tensor)  # noqa: S101 - of an embedding
        return F.linear(self.transformer["ln_f"](hidden_BSD), weight_VD)


class SandwichLayer(nn.Module):
    """Attention and a gated feed-forward, each between a norm of its input and one of the sum."""

    def __init__(self, arch: HuginnArch) -> None:
        super().__init__()
        self.norm_1, self.norm_2, self.norm_3, self.norm_4 = (
            RMSNorm(arch.hidden, arch.norm_eps) for _ in range(4)
        )
        self.attn = PairAttention(arch)
        self.mlp = FusedMLP(arch.hidden, arch.ffn)

    def forward(
        self, x_BQD: Tensor, angles: Angles, mask_B1QK: Tensor | None, past: Pair | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the new residual stream and this layer's fresh keys and values."""
        mixed_BQD, k_BGQE, v_BGQE = self.attn(self.norm_1(x_BQD), angles, mask_B1QK, past)
        x_BQD = self.norm_2(mixed_BQD + x_BQD)
        return self.norm_4(self.mlp(self.norm_3(x_BQD)) + x_BQD), k_BGQE, v_BGQE


class PairAttention(nn.Module):
    """Attention whose queries and keys may be biased, and are rotated in pairs of neighbours."""

    def __init__(self, arch: HuginnArch) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = arch.heads, arch.kv_heads, arch.head_dim
        wide = (arch.heads + 2 * arch.kv_heads) * arch.head_dim
        self.Wqkv = Linear(arch.hidden, wide, bias=False)
        self.proj = Linear(arch.heads * arch.head_dim, arch.hidden, bias=False)
        shape = 2, 1, arch.heads, arch.head_dim
        self.qk_bias = nn.Parameter(torch.empty(shape)) if arch.qkv_bias else None

    def forward(
        self, x_BQD: Tensor, angles: Angles, mask_B1QK: Tensor | None, past: Pair | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Attend; return the output and the fresh, rotated keys and the values."""
        counts = [self.heads, self.kv_heads, self.kv_heads]
        parts = self.Wqkv(x_BQD).split([count * self.head_dim for count in counts], dim=-1)
        q_BQHE, k_BQGE, v_BQGE = (
            part.unflatten(-1, (count, self.head_dim))
            for part, count in zip(parts, counts, strict=True)
        )
        if self.qk_bias is not None:
            q_BQHE, k_BQGE = q_BQHE + self.qk_bias[0], k_BQGE + self.qk_bias[1]
        q_BHQE, k_BGQE = (_in_pairs(each.transpose(1, 2), angles) for each in (q_BQHE, k_BQGE))
        v_BGQE = v_BQGE.transpose(1, 2)
        keys_BGKE, values_BGKE = appended(past, k_BGQE, v_BGQE)
        return self.proj(attend(q_BHQE, keys_BGKE, values_BGKE, mask_B1QK)), k_BGQE, v_BGQE


class FusedMLP(nn.Module):
    """A gated SiLU feed-forward, gate and value in one map."""

    def __init__(self, hidden: int, ffn: int) -> None:
        super().__init__()
        self.fc = Linear(hidden, 2 * ffn, bias=False)
        self.proj = Linear(ffn, hidden, bias=False)

    def forward(self, x_BQD: Tensor) -> Tensor:
        """Gate, multiply, project back."""
        gate, value = self.fc(x_BQD).chunk(2, dim=-1)
        out_BQD: Tensor = self.proj(F.silu(gate) * value)
        return out_BQD


def _in_pairs(x_BHQE: Tensor, angles: Angles) -> Tensor:
    """Rotate each two neighbouring dimensions."""
    cos_B1QR, sin_B1QR = (each.chunk(2, dim=-1)[0][:, None] for each in angles[:2])
    wide_BHQE = x_BHQE.to(cos_B1QR.dtype)
    even_BHQR, odd_BHQR = wide_BHQE[..., 0::2], wide_BHQE[..., 1::2]
    turned = (
        even_BHQR * cos_B1QR - odd_BHQR * sin_B1QR,
        odd_BHQR * cos_B1QR + even_BHQR * sin_B1QR,
    )
    return torch.stack(turned, dim=-1).flatten(-2).to(x_BHQE.dtype)
