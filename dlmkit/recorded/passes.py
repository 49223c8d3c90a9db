"""Passes of a session in a recording: run to be recorded, and accounted for when repeated.

Legend: B rows, N canvas positions.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dlmkit.host.kept import Kept
from dlmkit.recorded.recorder import NotRecordableError

if TYPE_CHECKING:
    from torch import Tensor

    from dlmkit.accounts.records import Counts
    from dlmkit.passes.session import Session

__all__ = ["account_for", "for_recording"]


@contextmanager
def for_recording(
    session: Session, tag_BN: Tensor | None, proviso: Tensor | None
) -> Iterator[None]:
    """Run a pass over a store with these tags, and forget it but for the keys and values.

    What it stores hangs on `proviso`, if there is one (see `Session.only_if`).

    Raises:
        NotRecordableError: the pass keeps something in memory that it makes.
    """
    kept, reads, store, saved = session.kept, session.reads, session.store, session.saved()
    before, session.proviso = (session.proviso, session.sized_only), proviso
    session.kept, session.reads, session.sized_only = Kept(), None, True
    if store is not None and tag_BN is not None:
        store.tag_BN = tag_BN
    try:
        yield
        if session.features is not None or session.store is not store:
            raise NotRecordableError("the pass makes room for what later passes read")
    finally:
        session.return_to(saved)
        session.kept, session.reads = kept, reads
        session.proviso, session.sized_only = before


def account_for(session: Session, counts: Counts, tag_BN: Tensor | None) -> None:
    """Account for a pass that was repeated, which has stored keys and values by itself."""
    session.account.counts = session.counts.with_more(counts)
    if session.store is not None and tag_BN is not None:
        session.store.tag_BN = tag_BN
        session.store.changes += 1
