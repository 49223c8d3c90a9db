"""How positions beyond the trained context become usable, named in a spec as a model's `rope`."""

from __future__ import annotations

from abc import abstractmethod

from dlmkit.component import Component
from dlmkit.models.arch import ArchSpec

__all__ = ["RopeScaling"]


class RopeScaling(Component):
    """Changes rotary embedding so that a model reads longer texts than it was trained on.

    Nothing is trained: only the description of the network changes, before it is built.
    """

    role = "rope"

    @abstractmethod
    def stretch(self, arch: ArchSpec) -> ArchSpec:
        """Return the description with another rotary embedding and a larger `max_positions`.

        Raises:
            ModelError: it cannot be applied to this network.
        """
