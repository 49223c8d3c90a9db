"""A looped transformer: layers in the middle are repeated, so that depth is a matter of choice.

Source: the architecture of Geiping et al. (arXiv:2502.05171): prelude, recurrent core, coda.

Legend: B rows, Q fed positions, C cached positions, K = C + Q keys, D hidden size, S wanted rows,
Y layers, G key/value heads, E head dimension.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that every torch reader knows

from dlmkit.latents import Latents
from dlmkit.models.arch import ArchSpec
from dlmkit.models.attend import of_layer
from dlmkit.models.decoder import Backbone
from dlmkit.models.layers import Linear, RMSNorm
from dlmkit.models.text_module import TextModule

if TYPE_CHECKING:
    from dlmkit.models.attend import Pair
    from dlmkit.models.rotary import Angles

__all__ = ["LoopedArch", "LoopedDecoder"]


@attrs.frozen(kw_only=True)
class LoopedArch(ArchSpec):
    """Sizes of a looped transformer.

    Of its `layers`, the first `prelude` and the last `coda` run once; those between are the core,
    which an ordinary pass runs `depth` times.
    """

    prelude: int
    coda: int
    depth: int


class LoopedDecoder(TextModule):
    """A prelude turns tokens into a condition, a core refines a latent state, a coda reads that.

    Each recurrence adds the condition to the state through a linear map of both.  Keys and values
    of the core are those of the last recurrence: all recurrences share one place in the store, as
    published.  So no cache is exact here: what is stored is read in every recurrence.
    """

    abilities = frozenset({"latents"})

    def __init__(self, arch: LoopedArch) -> None:
        super().__init__(arch)
        self.prelude, self.core_end = arch.prelude, arch.layers - arch.coda
        self.depth = arch.depth
        self.model = Backbone(arch)
        self.adapter = Linear(2 * arch.hidden, arch.hidden, bias=False)
        self.core_norm = RMSNorm(arch.hidden, arch.norm_eps)
        self.lm_head = None if arch.tied_head else Linear(arch.hidden, arch.vocab_rows, bias=False)

    def forward(
        self,
        ids_BQ: Tensor,
        positions_BQ: Tensor,
        mask_B1QK: Tensor | None = None,
        past_k_YBGCE: Tensor | None = None,
        past_v_YBGCE: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Refine states of zero as often as the network is deep."""
        zero_BQD = self.model.embed_tokens.weight.new_zeros(*ids_BQ.shape, self.arch.hidden)
        zero = Latents(
            state_BND=zero_BQD,
            condition_BND=zero_BQD,
            kept_BN=zero_BQD[..., 0],
            recurrences=self.depth,
        )
        hidden_BQD, _, keys_YBGQE, values_YBGQE = self.refine(
            ids_BQ, positions_BQ, zero, mask_B1QK, past_k_YBGCE, past_v_YBGCE
        )
        return hidden_BQD, keys_YBGQE, values_YBGQE

    def refine(
        self,
        ids_BQ: Tensor,
        positions_BQ: Tensor,
        latents: Latents,
        mask_B1QK: Tensor | None = None,
        past_k_YBGCE: Tensor | None = None,
        past_v_YBGCE: Tensor | None = None,
    ) -> tuple[Tensor, Latents, Tensor, Tensor]:
        """Refine the fed positions' states; also return what `forward` does."""
        x_BQD: Tensor = self.model.embed_tokens(ids_BQ)
        angles = self.model.rotary(positions_BQ, x_BQD.dtype)
        past = past_k_YBGCE, past_v_YBGCE
        fresh: dict[int, Pair] = {}
        new_BQD = self._layers(range(self.prelude), x_BQD, angles, mask_B1QK, past, fresh)
        condition_BQD = torch.lerp(new_BQD, latents.condition_BND, latents.kept_BN[..., None])
        state_BQD, core = latents.state_BND, range(self.prelude, self.core_end)
        for _ in range(latents.recurrences):
            x_BQD = self.adapter(torch.cat((state_BQD, condition_BQD), dim=-1))
            state_BQD = self.core_norm(self._layers(core, x_BQD, angles, mask_B1QK, past, fresh))
        coda = range(self.core_end, self.arch.layers)
        hidden_BQD = self._layers(coda, state_BQD, angles, mask_B1QK, past, fresh)
        after = attrs.evolve(latents, state_BND=state_BQD, condition_BND=condition_BQD)
        keys, values = zip(*(fresh[index] for index in range(self.arch.layers)), strict=True)
        return hidden_BQD, after, torch.stack(keys), torch.stack(values)

    def head(self, hidden_BSD: Tensor) -> Tensor:
        """Logits of the given rows of `forward`'s first result."""
        weight_VD = self.model.embed_tokens.weight if self.lm_head is None else self.lm_head.weight
        return F.linear(self.model.norm(hidden_BSD), weight_VD)

    def _layers(
        self,
        which: range,
        x_BQD: Tensor,
        angles: Angles,
        mask_B1QK: Tensor | None,
        past: tuple[Tensor | None, Tensor | None],
        fresh: dict[int, Pair],
    ) -> Tensor:
        """Run some layers; their keys and values replace those of the recurrence before."""
        for index in which:
            own = of_layer(*past, index)
            x_BQD, k_BGQE, v_BGQE = self.model.layers[index](x_BQD, angles, mask_B1QK, own)
            fresh[index] = (k_BGQE, v_BGQE)
        return x_BQD
