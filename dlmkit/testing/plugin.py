"""The pytest plugin; loaded in every pytest run of an environment, so it imports nothing heavy.

It offers the fixture `toy_network`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from dlmkit.engines.torch_network import TorchNetwork

__all__ = ["toy_network"]


@pytest.fixture(scope="session")
def toy_network() -> TorchNetwork:
    """A tiny network with random weights in float64; the last token id is the mask."""
    from dlmkit.testing import toy  # torch is slow to import, and most runs do not need it

    return toy.toy_network()
