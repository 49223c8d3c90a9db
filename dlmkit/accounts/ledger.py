"""The account of a decode: what was proposed, what became of it, and what ran for that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import attrs

from dlmkit.accounts.records import Phase

__all__ = ["PHASES", "Ledger", "Work"]

PHASES: tuple[Phase, ...] = get_args(Phase)
_WORK = ("forwards", "rows", "fed")


@attrs.frozen
class Work:
    """Passes that a row took part in, its canvases in them, and the positions fed for it."""

    forwards: int = 0
    rows: int = 0
    fed: int = 0


@attrs.frozen(kw_only=True)
class Ledger:
    """The account of one row.

    Of the `proposed` entries, `accepted` were kept, `corrected` replaced by the verifier's token,
    `remasked` sent back (with brothers that lost); `bonus` tokens a network decided on its own,
    which are all where nothing is drafted; `reopened` decided tokens became masks again, which
    only procedures without drafts do.  `lost` were drafted in another vocabulary and could not be
    carried.  `by_position` lists proposed and accepted entries by draft position.  `work` is what
    ran by phase (see `StepRecord`); of it, `prefill` stored the prompt in an empty cache.
    """

    rounds: int = 0
    proposed: int = 0
    accepted: int = 0
    corrected: int = 0
    bonus: int = 0
    reopened: int = 0
    lost: int = 0
    by_position: tuple[tuple[int, int], ...] = ()
    work: Mapping[Phase, Work]
    prefill: Mapping[Phase, Work]

    @property
    def forwards(self) -> dict[Phase, int]:
        """Passes by phase."""
        return _column(self.work, "forwards")

    @property
    def rows(self) -> dict[Phase, int]:
        """Canvases in these passes by phase."""
        return _column(self.work, "rows")

    @property
    def fed(self) -> dict[Phase, int]:
        """Positions fed in these passes by phase."""
        return _column(self.work, "fed")

    @property
    def remasked(self) -> int:
        """Entries that were neither kept nor corrected."""
        return self.proposed - self.accepted - self.corrected

    @property
    def committed(self) -> int:
        """Tokens that were decided and not taken back."""
        return self.accepted + self.corrected + self.bonus - self.reopened

    @property
    def acceptance(self) -> float | None:
        """Share of the entries that was kept; None without a draft."""
        return _share(self.accepted, self.proposed)

    @property
    def accepted_per_verify(self) -> float | None:
        """Kept entries over passes of the verifier; None where it checked nothing."""
        return _share(self.accepted, self.forwards["verify"])

    @property
    def tokens_per_forward(self) -> float | None:
        """Decided tokens over passes of all phases (TPF)."""
        return _share(self.committed, sum(self.forwards.values()))

    @property
    def tokens_per_verify(self) -> float | None:
        """Decided tokens over passes of the verifier (TPF_v); None where it checked nothing."""
        return _share(self.committed, self.forwards["verify"])

    @property
    def tokens_per_fed(self) -> float | None:
        """Decided tokens over positions fed in all phases: what a cache saves shows here."""
        return _share(self.committed, sum(self.fed.values()))

    def as_json(self) -> dict[str, Any]:
        """The stable machine-readable form."""
        sums = ("rounds", "proposed", "accepted", "corrected", "remasked", "bonus", "reopened")
        rates = ("acceptance", "accepted_per_verify", "tokens_per_forward", "tokens_per_verify")
        return {
            **{name: getattr(self, name) for name in (*sums, "lost", "committed")},
            **{name: _rounded(getattr(self, name)) for name in (*rates, "tokens_per_fed")},
            "by_position": [list(pair) for pair in self.by_position],
            **{name: _column(self.work, name) for name in _WORK},
            "prefill": {name: _column(self.prefill, name) for name in _WORK},
        }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 4)


def _column(work: Mapping[Phase, Work], name: str) -> dict[Phase, int]:
    """One kind of work, by phase."""
    return {phase: getattr(each, name) for phase, each in work.items()}
