"""The PyTorch engine: the default, and the reference for all others."""

from __future__ import annotations

import attrs

from dlmkit.component import option
from dlmkit.engine import Engine, LoadedModel, LoadOptions

__all__ = ["TorchEngine"]


@attrs.frozen
class TorchEngine(Engine):
    """Runs models with PyTorch, eagerly or compiled, on the CPU or one CUDA device."""

    name = "torch"

    compile: bool = option(
        False,
        doc="Compile the network with torch.compile; slow first calls, faster ones afterwards.",
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
