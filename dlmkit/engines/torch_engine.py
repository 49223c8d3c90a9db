"""The PyTorch engine: the default, and the reference for all others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from dlmkit.component import option
from dlmkit.engine import Engine, LoadedModel, LoadOptions

if TYPE_CHECKING:
    from dlmkit.models.derivation import Derivation
    from dlmkit.models.text_module import TextModule

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

        network = source.network
        if not isinstance(network, TorchNetwork):
            return super().derive(source, derivation)
        module = derive_module(network.decoder, derivation)
        info = attrs.evolve(
            network.info,
            layers=module.arch.layers,
            parameters=sum(value.numel() for value in module.parameters()),
            prompt_ids=_prompt_ids(module, network.info.vocab_size),
        )
        reference = f"{source.provenance.reference} {derivation.text}"
        return attrs.evolve(
            source,
            network=TorchNetwork(module, info, compiled=self.compile),
            provenance=attrs.evolve(
                source.provenance, reference=reference, derivation=derivation.text
            ),
        )


def _prompt_ids(module: TextModule, vocabulary: int) -> tuple[int, ...]:
    """The numbers of the prompt tokens that a module embeds."""
    from dlmkit.models.prompt_tokens import PromptedEmbedding, prompt_ids  # torch is slow to import

    found = [part for part in module.modules() if isinstance(part, PromptedEmbedding)]
    return prompt_ids(vocabulary, len(found[0].prompts_MD)) if found else ()
