"""What every network module offers to an engine, whatever is inside.

Legend: B rows, Q fed positions, C cached positions, K = C + Q keys, D hidden size, G key/value
heads, E head dimension, S wanted rows, V vocabulary, Y layers.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor, nn

if TYPE_CHECKING:
    from dlmkit.models.arch import ArchSpec
    from dlmkit.passes.latents import Latents

__all__ = ["TextModule"]


class TextModule(nn.Module):
    """Tokens in, a residual stream and fresh keys and values out; logits of wanted rows apart.

    The call is stateless: keys and values are returned, never stored (append-then-attend).
    Positions are data, in any order and per row; attention is never inferred from them.
    A new module holds whatever its memory held: fill every parameter before use.  `abilities`
    names what more a module offers (see `NetworkInfo`): `attention-taps`, the argument `tap` of
    its call; `mixed-inputs`, the argument `embeds_BQD`; `noise-level`, the argument `noise_B` of
    its call and of `head`; `latents`, the method `refine` (see `dlmkit.models.looped`).
    """

    abilities: ClassVar[frozenset[str]] = frozenset()
    latent_scale: float = 1.0
    """Standard deviation of the states that it was trained to begin with."""

    def __init__(self, arch: ArchSpec) -> None:
        super().__init__()
        self.arch = arch

    @abstractmethod
    def forward(
        self,
        ids_BQ: Tensor,
        positions_BQ: Tensor,
        mask_B1QK: Tensor | None = None,
        past_k_YBGCE: Tensor | None = None,
        past_v_YBGCE: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the residual stream before the last norm, and fresh keys and values.

        `mask_B1QK` is boolean, true where a query may attend; its columns are the cached
        positions followed by the fed ones.  `None` lets every query see every key.
        """

    def embed(self, ids: Tensor) -> Tensor:
        """The embeddings of tokens, `[*ids, D]`; only with the ability `mixed-inputs`."""
        raise NotImplementedError

    def mixed(self, ids_BQK: Tensor, weights_BQK: Tensor) -> Tensor:
        """Embeddings of tokens added up by their weights, `embeds_BQD`; with the same ability."""
        embeds_BQKD = self.embed(ids_BQK)
        return (embeds_BQKD * weights_BQK[..., None].to(embeds_BQKD.dtype)).sum(dim=2)

    def refine(
        self,
        ids_BQ: Tensor,
        positions_BQ: Tensor,
        latents: Latents,
        mask_B1QK: Tensor | None = None,
        past_k_YBGCE: Tensor | None = None,
        past_v_YBGCE: Tensor | None = None,
    ) -> tuple[Tensor, Latents, Tensor, Tensor]:
        """The call with latent states, which are refined; only with the ability `latents`."""
        raise NotImplementedError

    @abstractmethod
    def head(self, hidden_BSD: Tensor) -> Tensor:
        """Logits `[B, S, V]` of the given rows of `forward`'s first result."""
