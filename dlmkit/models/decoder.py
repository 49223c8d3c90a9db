"""The one transformer that every text family is mapped onto.

Parameter names follow the Llama/Qwen convention, which most published checkpoints use; a
family whose files use other names supplies a name map (see `dlmkit.models.names`).

Legend: B rows, Q fed positions, C cached positions, K = C + Q keys, D hidden size, H query
heads, G key/value heads, E head dimension, S wanted rows, V vocabulary, Y layers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that every torch reader knows

from dlmkit.models.attend import Pair, appended, attend, of_layer
from dlmkit.models.attention_tap import AttentionTap
from dlmkit.models.layers import Embedding, GatedMLP, Linear, RMSNorm
from dlmkit.models.moe import SparseMLP
from dlmkit.models.rotary import Angles, Rotary, rotate
from dlmkit.models.text_module import TextModule

if TYPE_CHECKING:
    from dlmkit.models.arch import ArchSpec

__all__ = ["Decoder"]


class Attention(nn.Module):
    """Grouped-query attention over cached keys followed by the keys of the fed positions."""

    def __init__(self, arch: ArchSpec) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = arch.heads, arch.kv_heads, arch.head_dim
        bias = arch.qkv_bias
        self.q_proj = Linear(arch.hidden, arch.heads * arch.head_dim, bias=bias)
        self.k_proj = Linear(arch.hidden, arch.kv_heads * arch.head_dim, bias=bias)
        self.v_proj = Linear(arch.hidden, arch.kv_heads * arch.head_dim, bias=bias)
        self.o_proj = Linear(arch.heads * arch.head_dim, arch.hidden, bias=False)
        self.q_norm = RMSNorm(arch.head_dim, arch.norm_eps) if arch.qk_norm else nn.Identity()
        self.k_norm = RMSNorm(arch.head_dim, arch.norm_eps) if arch.qk_norm else nn.Identity()

    def forward(
        self,
        x_BQD: Tensor,
        angles: Angles,
        mask_B1QK: Tensor | None,
        past: Pair | None,
        tap: AttentionTap | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Attend; return the output and the fresh, rotated keys and the values."""
        q_BHQE, k_BGQE = self.queries_and_keys(x_BQD, angles)
        v_BGQE = self.values(x_BQD)
        keys_BGKE, values_BGKE = appended(past, k_BGQE, v_BGQE)
        if tap is not None:
            tap.note(q_BHQE, k_BGQE, keys_BGKE, mask_B1QK)
        return self.attend(q_BHQE, keys_BGKE, values_BGKE, mask_B1QK), k_BGQE, v_BGQE

    def queries_and_keys(self, x_BQD: Tensor, angles: Angles) -> tuple[Tensor, Tensor]:
        """Rotated queries and keys of the fed positions."""
        q_BHQE = self.q_norm(self._split(self.q_proj(x_BQD), self.heads))
        k_BGQE = self.k_norm(self._split(self.k_proj(x_BQD), self.kv_heads))
        q_BHQE, k_BGQE = rotate(q_BHQE, angles), rotate(k_BGQE, angles)
        if angles.query_scale_BQ is not None:
            q_BHQE = q_BHQE * angles.query_scale_BQ[:, None, :, None].to(q_BHQE.dtype)
        return q_BHQE, k_BGQE

    def values(self, x_BQD: Tensor) -> Tensor:
        """Values of the fed positions, `v_BGQE`."""
        return self._split(self.v_proj(x_BQD), self.kv_heads)

    def attend(
        self, q_BHQE: Tensor, keys_BGKE: Tensor, values_BGKE: Tensor, mask_B1QK: Tensor | None
    ) -> Tensor:
        """Mix the values that the queries attend to, and project them back, `mixed_BQD`."""
        out_BQD: Tensor = self.o_proj(attend(q_BHQE, keys_BGKE, values_BGKE, mask_B1QK))
        return out_BQD

    def _split(self, x_BQD: Tensor, heads: int) -> Tensor:
        rows, count, _ = x_BQD.shape
        return x_BQD.view(rows, count, heads, self.head_dim).transpose(1, 2)


class Layer(nn.Module):
    """One pre-norm transformer layer."""

    def __init__(self, arch: ArchSpec, index: int) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(arch.hidden, arch.norm_eps)
        self.self_attn = Attention(arch)
        self.post_attention_layernorm = RMSNorm(arch.hidden, arch.norm_eps)
        sparse = arch.moe if arch.moe and index >= arch.moe.dense_layers else None
        self.mlp = SparseMLP(arch.hidden, sparse) if sparse else GatedMLP(arch.hidden, arch.ffn)

    def forward(
        self,
        x_BQD: Tensor,
        angles: Angles,
        mask_B1QK: Tensor | None,
        past: Pair | None,
        tap: AttentionTap | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the new residual stream and this layer's fresh keys and values."""
        mixed_BQD, k_BGQE, v_BGQE = self.self_attn(
            self.input_layernorm(x_BQD), angles, mask_B1QK, past, tap
        )
        x_BQD = x_BQD + mixed_BQD
        return x_BQD + self.mlp(self.post_attention_layernorm(x_BQD)), k_BGQE, v_BGQE


class Backbone(nn.Module):
    """Embeddings, layers and the final norm: everything but the head."""

    def __init__(self, arch: ArchSpec) -> None:
        super().__init__()
        self.embed_tokens = Embedding(arch.vocab_rows, arch.hidden)
        self.layers = nn.ModuleList(Layer(arch, index) for index in range(arch.layers))
        self.norm = RMSNorm(arch.hidden, arch.norm_eps)
        self.rotary = Rotary(arch.rotary, arch.query_scale)

    def logits(self, hidden_BSD: Tensor, lm_head: Linear | None) -> Tensor:
        """The final norm and the head, `[B, S, V]`; without one, that of the embeddings."""
        weight_VD = self.embed_tokens.weight if lm_head is None else lm_head.weight
        return F.linear(self.norm(hidden_BSD), weight_VD)


class Decoder(TextModule):
    """The shared decoder behind the contract of all networks."""

    abilities = frozenset({"attention-taps", "layer-steps", "mixed-inputs"})

    def __init__(self, arch: ArchSpec) -> None:
        super().__init__(arch)
        self.model = Backbone(arch)
        self.lm_head = None if arch.tied_head else Linear(arch.hidden, arch.vocab_rows, bias=False)

    def forward(
        self,
        ids_BQ: Tensor,
        positions_BQ: Tensor,
        mask_B1QK: Tensor | None = None,
        past_k_YBGCE: Tensor | None = None,
        past_v_YBGCE: Tensor | None = None,
        embeds_BQD: Tensor | None = None,
        tap: AttentionTap | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the final residual stream *before* the last norm, and fresh keys and values.

        `embeds_BQD`, where given, replaces the embedding of `ids_BQ`; `tap` notes every layer.
        """
        x_BQD = self.embed(ids_BQ) if embeds_BQD is None else embeds_BQD
        angles = self.model.rotary(positions_BQ, x_BQD.dtype)
        fresh_k, fresh_v = [], []
        for index, layer in enumerate(self.model.layers):
            past = of_layer(past_k_YBGCE, past_v_YBGCE, index)
            x_BQD, k_BGQE, v_BGQE = layer(x_BQD, angles, mask_B1QK, past, tap)
            fresh_k.append(k_BGQE)
            fresh_v.append(v_BGQE)
        return x_BQD, torch.stack(fresh_k), torch.stack(fresh_v)

    def embed(self, ids: Tensor) -> Tensor:
        """The embeddings of tokens, `[*ids, D]`."""
        embedded: Tensor = self.model.embed_tokens(ids)
        return embedded

    def head(self, hidden_BSD: Tensor) -> Tensor:
        """Logits `[B, S, V]` of the given rows of `forward`'s first result; norm and head only."""
        return self.model.logits(hidden_BSD, self.lm_head)
