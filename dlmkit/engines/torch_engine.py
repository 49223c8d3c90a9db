"""The PyTorch engine: the default, and the reference for all others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from dlmkit.component import option
from dlmkit.engine import Engine, LoadedModel, LoadOptions

if TYPE_CHECKING:
    from dlmkit.models.derivation import Derivation

__all__ = ["EAGER_ONLY", "TorchEngine"]

EAGER_ONLY = frozenset({"attention-taps", "latents", "layer-steps"})
"""Abilities that a compiled network does not have."""


@attrs.frozen
class TorchEngine(Engine):
    """Runs models with PyTorch, eagerly or compiled, on the CPU or one CUDA device."""

    name = "torch"
    derives = frozenset({"prompt_tokens", "quantize", "skip_layers"})

    compile: bool = option(
        False,
        doc="Compile the network with torch.compile; slow first calls, faster ones afterwards.",
    )

    def abilities(self) -> frozenset[str]:
        """Other inputs, and uncompiled whatever else the shared decoder can do."""
        return frozenset({"mixed-inputs", "prompt-tokens"}) | (
            frozenset() if self.compile else EAGER_ONLY
        )

    def load(self, reference: str, options: LoadOptions) -> LoadedModel:
        """Read the checkpoint's weights into the shared decoder."""
        from dlmkit.engines.torch_network import TorchNetwork  # torch is slow to import
        from dlmkit.models.loading import load_checkpoint

        checkpoint = load_checkpoint(reference, options)
        return LoadedModel(
            network=TorchNetwork(
                checkpoint.decoder, checkpoint.network_info(self.name), compiled=self.compile
            ),
            tokenizer=checkpoint.description.tokenizer,
            provenance=checkpoint.provenance(),
        )

    def derive(self, source: LoadedModel, derivation: Derivation) -> LoadedModel:
        """Build a second network around the weights of the first."""
        from dlmkit.engines.torch_network import TorchNetwork
        from dlmkit.models.derive import derive_module
        from dlmkit.models.loading import module_facts

        network = source.network
        if not isinstance(network, TorchNetwork):
            return super().derive(source, derivation)
        module = derive_module(network.decoder, derivation)
        info = attrs.evolve(network.info, **module_facts(module))
        reference = f"{source.provenance.reference} {derivation.text}"
        return attrs.evolve(
            source,
            network=TorchNetwork(module, info, compiled=self.compile),
            provenance=attrs.evolve(
                source.provenance, reference=reference, derivation=derivation.text
            ),
        )
