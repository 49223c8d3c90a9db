"""A looped transformer: layers in the middle are repeated, so that depth is a matter of choice.

Source: the architecture of Geiping et al. (arXiv:2502.05171): prelude, recurrent core, coda.

Legend: B rows, Q fed positions, C cached positions, K = C + Q keys, D hidden size, S wanted rows,
Y layers, G key/value heads, E head dimension.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import attrs
import torch
from torch import Tensor, nn

from dlmkit.models.arch import ArchSpec
from dlmkit.models.attend import of_layer
from dlmkit.models.decoder import Backbone
from dlmkit.models.layers import Linear, RMSNorm
from dlmkit.models.text_module import TextModule
from dlmkit.passes.latents import Latents

if TYPE_CHECKING:
    from dlmkit.models.attend import Pair
    from dlmkit.models.rotary import Angles

__all__ = ["LoopedArch", "LoopedDecoder", "LoopedModule"]


@attrs.frozen(kw_only=True)
class LoopedArch(ArchSpec):
    """Sizes of a looped transformer.

    Of its `layers`, the first `prelude` and the last `coda` run once; those between are the core,
    which an ordinary pass runs `depth` times.
    """

    prelude: int
    coda: int
    depth: int


class LoopedModule(TextModule):
    """A prelude turns tokens into a condition, a core refines a latent state, a coda reads that.

    Each recurrence adds the condition to the state through a map of both.  Keys and values of the
    core are those of the last recurrence: all recurrences share one place in the store, as
    published.  So no cache is exact here: what is stored is read in every recurrence.
    """

    abilities = frozenset({"latents"})

    def __init__(self, arch: LoopedArch) -> None:
        super().__init__(arch)
        self.prelude, self.core_end = arch.prelude, arch.layers - arch.coda
        self.depth = arch.depth

    @abstractmethod
    def embedded(self, ids_BQ: Tensor) -> Tensor:
        """What the prelude is fed, `x_BQD`."""

    @abstractmethod
    def angles(self, positions_BQ: Tensor, dtype: torch.dtype) -> Angles:
        """What queries and keys are rotated by."""

    @abstractmethod
    def layer(self, index: int) -> nn.Module:
        """A layer, counted from the first of the prelude to the last of the coda."""

    @abstractmethod
    def joined(self, state_BQD: Tensor, condition_BQD: Tensor) -> Tensor:
        """What a recurrence feeds to the core, `x_BQD`."""

    @abstractmethod
    def settled(self, x_BQD: Tensor) -> Tensor:
        """The new state, of what the core gave, `state_BQD`."""

    @abstractmethod
    def opened(self, state_BQD: Tensor) -> Tensor:
        """What the coda is fed, `x_BQD`."""

    def forward(
        self,
        ids_BQ: Tensor,
        positions_BQ: Tensor,
        mask_B1QK: Tensor | None = None,
        past_k_YBGCE: Tensor | None = None,
        past_v_YBGCE: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Refine states of zero as often as the network is deep."""
        zero_BQD = torch.zeros_like(self.embedded(ids_BQ))
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
        x_BQD = self.embedded(ids_BQ)
        angles = self.angles(positions_BQ, x_BQD.dtype)
        past = past_k_YBGCE, past_v_YBGCE
        fresh: dict[int, Pair] = {}
        new_BQD = self._layers(range(self.prelude), x_BQD, angles, mask_B1QK, past, fresh)
        condition_BQD = torch.lerp(new_BQD, latents.condition_BND, latents.kept_BN[..., None])
        state_BQD, core = latents.state_BND, range(self.prelude, self.core_end)
        for _ in range(latents.recurrences):
            x_BQD = self.joined(state_BQD, condition_BQD)
            state_BQD = self.settled(self._layers(core, x_BQD, angles, mask_B1QK, past, fresh))
        coda = range(self.core_end, self.arch.layers)
        read_BQD = self.opened(state_BQD)
        hidden_BQD = self._layers(coda, read_BQD, angles, mask_B1QK, past, fresh)
        after = attrs.evolve(latents, state_BND=state_BQD, condition_BND=condition_BQD)
        keys, values = zip(*(fresh[index] for index in range(self.arch.layers)), strict=True)
        return hidden_BQD, after, torch.stack(keys), torch.stack(values)

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
            x_BQD, k_BGQE, v_BGQE = self.layer(index)(x_BQD, angles, mask_B1QK, own)
            fresh[index] = (k_BGQE, v_BGQE)
        return x_BQD


class LoopedDecoder(LoopedModule):
    """The looped transformer of the shared decoder's layers; the state is normalised each time."""

    def __init__(self, arch: LoopedArch) -> None:
        super().__init__(arch)
        self.model = Backbone(arch)
        self.adapter = Linear(2 * arch.hidden, arch.hidden, bias=False)
        self.core_norm = RMSNorm(arch.hidden, arch.norm_eps)
        self.lm_head = None if arch.tied_head else Linear(arch.hidden, arch.vocab_rows, bias=False)

    def embedded(self, ids_BQ: Tensor) -> Tensor:
        """The embeddings."""
        x_BQD: Tensor = self.model.embed_tokens(ids_BQ)
        return x_BQD

    def angles(self, positions_BQ: Tensor, dtype: torch.dtype) -> Angles:
        """Those of the backbone."""
        angles: Angles = self.model.rotary(positions_BQ, dtype)
        return angles

    def layer(self, index: int) -> nn.Module:
        """One of the backbone's layers."""
        return self.model.layers[index]

    def joined(self, state_BQD: Tensor, condition_BQD: Tensor) -> Tensor:
        """A linear map of both."""
        x_BQD: Tensor = self.adapter(torch.cat((state_BQD, condition_BQD), dim=-1))
        return x_BQD

    def settled(self, x_BQD: Tensor) -> Tensor:
        """Normalised."""
        state_BQD: Tensor = self.core_norm(x_BQD)
        return state_BQD

    def opened(self, state_BQD: Tensor) -> Tensor:
        """The state itself."""
        return state_BQD

    def head(self, hidden_BSD: Tensor) -> Tensor:
        """Logits `[B, S, V]` of the given rows of `forward`'s first result."""
        return self.model.logits(hidden_BSD, self.lm_head)
