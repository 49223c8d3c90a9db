"""DiffusionGemma: uniform noise instead of masks; runs in transformers' own class."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import attrs

from dlmkit.errors import ModelError
from dlmkit_strategies.families.llama_family import LlamaFamily

if TYPE_CHECKING:
    from dlmkit.models.config import Config

__all__ = ["DiffusionGemma"]


@attrs.frozen
class DiffusionGemma(LlamaFamily):
    """DiffusionGemma: its layers differ in shape, so the shared decoder does not hold it.

    Choose the engine `transformers` (`models.main.engine`), which has the model's own class.
    """

    name = "diffusion-gemma"
    architectures = ("DiffusionGemmaForBlockDiffusion",)
    edits = True  # it reads wrong tokens wherever it is not done

    def arch(self, config: Config) -> NoReturn:
        """Point to the engine that runs it.

        Raises:
            ModelError: always; the shared decoder does not hold this model.
        """
        raise ModelError(
            f"{config.origin}: DiffusionGemma does not fit the shared decoder",
            hint="run it with transformers' own class: engine `transformers`",
        )
