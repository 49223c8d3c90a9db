"""Flags: what the host has to know about a step before the next one, in a single read.

Reading a tensor makes the host wait for the device, and then the device for the host.  So flags
are left on the device, travel while it goes on, and can be read when the next step is under way.

Legend: B rows, F flags of all rows.
"""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

__all__ = ["EXPECTED", "Flags", "Seen"]


@attrs.frozen
class Seen:
    """What flags say: has a row `moved`, is anything `left` to decide, is a row `stuck`."""

    moved: bool
    left: bool
    stuck: bool


EXPECTED = Seen(moved=False, left=True, stuck=False)
"""What flags say of most steps."""


class Flags:
    """Up to three marks for each row, bool, on their way to the host.

    `moved_B` rows that are not where they were taken to be (None: none can), `left_B` rows with
    something left to decide, `stuck_B` rows that decided nothing though they had to (None: none).
    """

    def __init__(self, moved_B: Tensor | None, left_B: Tensor, stuck_B: Tensor | None) -> None:
        self._marks, self._rows = (moved_B, left_B, stuck_B), left_B.shape[0]
        self._on_host_F = torch.cat([each for each in self._marks if each is not None])
        self._arrived: torch.cuda.Event | None = None
        if left_B.is_cuda:
            self._on_host_F = self._on_host_F.to("cpu", non_blocking=True)  # pinned memory
            self._arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._arrived.record()

    def read(self) -> Seen:
        """Wait for the flags, but for nothing that was begun after them."""
        if self._arrived is not None:
            self._arrived.synchronize()
        found, rows = self._on_host_F.tolist(), self._rows
        marked = [any(found[start : start + rows]) for start in range(0, len(found), rows)]
        moved, _, stuck = self._marks
        return Seen(
            moved=moved is not None and marked[0],
            left=marked[0 if moved is None else 1],
            stuck=stuck is not None and marked[-1],
        )

    @property
    def true(self) -> Tensor:
        """Whether no row has moved and something is left, `[]` bool on the device."""
        moved_B, left_B, _ = self._marks
        return left_B.any() if moved_B is None else left_B.any() & ~moved_B.any()
