"""Bundles: one name for several slots of a pipeline that only make sense together.

In a spec, `bundle` stands beside the slots of a procedure; the document is read as if what the
bundle expands to were written there.  In Python, `Denoise(..., **Saber().slots())` says the same.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from dlmkit.component import Component

__all__ = ["Bundle"]


class Bundle(Component):
    """Fills several slots of a procedure at once, from one set of options.

    A slot that holds one component is the bundle's alone; a list gets the bundle's components
    first and then those that are listed; any other option of the procedure is a default, which
    the spec may replace.
    """

    role = "bundle"

    @abstractmethod
    def slots(self) -> Mapping[str, Any]:
        """Return values by the names of the procedure's options."""
