"""What only networks with the ability for it can be fed or asked (`NetworkInfo.capabilities`).

Legend: B rows, N canvas positions, Q fed positions, K mixed tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import torch

from dlmkit.errors import EngineError
from dlmkit.passes.variants import repeated

if TYPE_CHECKING:
    from torch import Tensor

    from dlmkit.canvas import Canvas
    from dlmkit.need import Need
    from dlmkit.network import NetworkInfo, NetworkInputs
    from dlmkit.passes.layer_steps import Features, LayerSteps
    from dlmkit.passes.plan import Plan
    from dlmkit.roles import Mixture

__all__ = ["in_layer_steps", "noise_level", "refuse_taps", "with_mixture"]

_MOST_MASKED = 1 - 1e-3
"""Share of masks at the end of log-linear noise (SEDD, MDLM), which keeps its level finite."""


def noise_level(info: NetworkInfo, canvas: Canvas, variants: int) -> Tensor | None:
    """The level of log-linear noise that masks as large a share, `noise_B`, if it matters."""
    if "noise-level" not in info.capabilities:
        return None
    share_B = canvas.masked_BN.sum(dim=1) / canvas.length_B
    return repeated(-torch.log1p(-_MOST_MASKED * share_B), variants)


def with_mixture(
    info: NetworkInfo, inputs: NetworkInputs, mixture: Mixture, plan: Plan, variants: int
) -> NetworkInputs:
    """Feed shares of other tokens beside the fed ones.

    Raises:
        EngineError: the network cannot be fed mixtures.
    """
    if "mixed-inputs" not in info.capabilities:
        raise EngineError(
            f"the engine '{info.engine}' cannot feed mixtures of tokens to this model",
            hint="use the torch engine, or a network that was compiled with `mixed-inputs`",
        )
    shape = (-1, -1, mixture.ids_BNK.shape[-1])
    feed_BQK = plan.feed_BQ[..., None].expand(*shape)
    ids_BQK = repeated(mixture.ids_BNK.gather(1, feed_BQK), variants)
    weights_BQK = repeated(mixture.weights_BNK.gather(1, feed_BQK), variants)
    own_BQ1 = 1 - weights_BQK.sum(dim=-1, keepdim=True)
    return attrs.evolve(
        inputs,
        mix_ids_BQK=torch.cat((inputs.ids_BQ[..., None], ids_BQK), dim=-1),
        mix_weights_BQK=torch.cat((own_BQ1, weights_BQK), dim=-1),
    )


def in_layer_steps(
    info: NetworkInfo,
    inputs: NetworkInputs,
    steps: LayerSteps,
    features: Features | None,
    *,
    alone: bool,
) -> NetworkInputs:
    """Let layers compute what they are told, on the features of the pass before.

    Raises:
        EngineError: the network runs all layers alike, or something else is to be fed or told.
    """
    if not alone:
        raise EngineError(
            "a cache that chooses positions layer by layer goes with neither shadows, mixtures "
            "nor attention taps",
            hint="use another cache, such as dual",
        )
    if "layer-steps" not in info.capabilities:
        raise EngineError(
            f"the engine '{info.engine}' runs all layers of this model alike, but the "
            "cache policy chooses positions layer by layer",
            hint="use the torch engine without `compile`, or another cache, such as dual",
        )
    return attrs.evolve(inputs, layer_steps=steps, features=features)


def refuse_taps(info: NetworkInfo, need: Need) -> None:
    """Refuse to ask a network what attention saw if it cannot tell.

    Raises:
        EngineError: names what was asked for.
    """
    if need.taps and "attention-taps" not in info.capabilities:
        raise EngineError(
            f"the engine '{info.engine}' cannot tell what attention saw "
            f"({', '.join(sorted(need.taps))}), which a part of this pipeline reads",
            hint="use the torch engine without `compile`, a network that was compiled with "
            "`attention-taps`, or a cache policy that needs no attention, such as dual",
        )
