"""The account of drafting and verifying: what was proposed, and what became of it.

Legend: B rows, N canvas positions, E entries, K draft positions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import attrs
import torch
from torch import Tensor

from dlmkit.records import Counts

if TYPE_CHECKING:
    from dlmkit.draft_verify.draft import Draft
    from dlmkit.draft_verify.round import RoundResult
    from dlmkit.records import StepRecord

__all__ = ["Audit", "Ledger", "LedgerKeeper"]

PHASES: tuple[Literal["draft", "verify"], ...] = ("draft", "verify")


@attrs.frozen(kw_only=True, eq=False)
class Audit:
    """What a verifying pass decided, where; all bool by canvas position.

    `drafted_BN` what was proposed; of it `kept_BN` stands, `corrected_BN` was replaced, and the
    rest was sent back; `bonus_BN` the verifier decided on its own.  `proposed_BK` and
    `accepted_BK` int64 count entries by draft position, the first of which follows the canvas.
    `lost_B` int64 counts drafted tokens that the bridge could not carry.  `round_B` marks the
    rows for which this ended a round.
    """

    drafted_BN: Tensor
    kept_BN: Tensor
    corrected_BN: Tensor
    bonus_BN: Tensor
    proposed_BK: Tensor
    accepted_BK: Tensor
    round_B: Tensor
    lost_B: Tensor | None = None

    @classmethod
    def of(cls, result: RoundResult) -> Audit:
        """What a round decided."""
        draft, resolution = result.draft, result.resolution
        columns = result.before_BN.shape[1]
        return cls(
            drafted_BN=draft.marks(draft.valid_BE, columns),
            kept_BN=draft.marks(resolution.keep_BE, columns),
            corrected_BN=draft.marks(resolution.correct_BE, columns),
            bonus_BN=result.after_BN != result.written_BN,
            proposed_BK=_by_depth(draft, draft.valid_BE),
            accepted_BK=_by_depth(draft, resolution.keep_BE),
            round_B=result.round.live_B,
            lost_B=draft.lost_B,
        )

    @classmethod
    def of_step(cls, decided_BN: Tensor) -> Audit:
        """What a step of the verifier alone decided."""
        nothing_BN = torch.zeros_like(decided_BN)
        return cls(
            drafted_BN=nothing_BN,
            kept_BN=nothing_BN,
            corrected_BN=nothing_BN,
            bonus_BN=decided_BN,
            proposed_BK=nothing_BN[:, :0].long(),
            accepted_BK=nothing_BN[:, :0].long(),
            round_B=nothing_BN[:, 0],
        )

    @property
    def returned_BN(self) -> Tensor:
        """Positions whose drafts were sent back, bool."""
        return self.drafted_BN & ~self.kept_BN & ~self.corrected_BN


def _by_depth(draft: Draft, where_BE: Tensor) -> Tensor:
    """Chosen entries by draft position, `[B, K]`."""
    depth_BE = draft.of_nodes(draft.depth_BD) - 1
    counts_BK = torch.zeros_like(draft.parent_BD)
    return counts_BK.scatter_add(1, depth_BE, where_BE.long())


@attrs.frozen(kw_only=True)
class Ledger:
    """The account of one row.

    Of the `proposed` entries, `accepted` were kept, `corrected` replaced by the verifier's token,
    `remasked` sent back (with brothers that lost); `bonus` tokens the verifier added on its own.
    `lost` were drafted in another vocabulary and could not be carried.  `forwards`, `rows` and
    `fed` count the passes that the row took part in, its canvases in them and the positions fed
    for it, by phase (`draft` or `verify`).  `by_position` lists proposed and accepted
    entries by draft position.
    """

    rounds: int
    proposed: int
    accepted: int
    corrected: int
    bonus: int
    lost: int
    by_position: tuple[tuple[int, int], ...]
    forwards: Mapping[str, int]
    rows: Mapping[str, int]
    fed: Mapping[str, int]

    @property
    def remasked(self) -> int:
        """Entries that were neither kept nor corrected."""
        return self.proposed - self.accepted - self.corrected

    @property
    def committed(self) -> int:
        """Tokens that were decided; none of them is taken back."""
        return self.accepted + self.corrected + self.bonus

    @property
    def acceptance(self) -> float | None:
        """Share of the entries that was kept; None without a draft."""
        return self.accepted / self.proposed if self.proposed else None

    @property
    def tokens_per_forward(self) -> float:
        """Decided tokens over passes of all phases (TPF)."""
        return self.committed / max(sum(self.forwards.values()), 1)

    @property
    def tokens_per_verify(self) -> float:
        """Decided tokens over passes of the verifier (TPF_v)."""
        return self.committed / max(self.forwards["verify"], 1)

    @property
    def tokens_per_fed(self) -> float:
        """Decided tokens over positions fed in all phases: what a cache saves shows here."""
        return self.committed / max(sum(self.fed.values()), 1)

    def as_json(self) -> dict[str, Any]:
        """The stable machine-readable form."""
        return {
            "rounds": self.rounds,
            "proposed": self.proposed,
            "accepted": self.accepted,
            "corrected": self.corrected,
            "remasked": self.remasked,
            "bonus": self.bonus,
            "lost": self.lost,
            "committed": self.committed,
            "acceptance": None if self.acceptance is None else round(self.acceptance, 4),
            "accepted_per_verify": round(self.accepted / max(self.forwards["verify"], 1), 4),
            "tokens_per_forward": round(self.tokens_per_forward, 4),
            "tokens_per_verify": round(self.tokens_per_verify, 4),
            "tokens_per_fed": round(self.tokens_per_fed, 4),
            "by_position": [list(pair) for pair in self.by_position],
            "forwards": dict(self.forwards),
            "rows": dict(self.rows),
            "fed": dict(self.fed),
        }


class LedgerKeeper:
    """Adds up the records of a decode; tensors are read when the ledgers are asked for."""

    def __init__(self) -> None:
        self._passes: list[tuple[str, Tensor, int, int]] = []
        self._audits: list[Audit] = []
        self._seen: dict[str, Counts] = {}

    def add(self, record: StepRecord) -> None:
        """Take note of a pass; those of other procedures are left out."""
        if record.phase not in PHASES:
            return
        before, now = self._seen.get(record.network, Counts()), record.counts
        self._seen[record.network] = now
        rows, batch = now.rows - before.rows, len(record.live_B)
        fed = now.fed_positions - before.fed_positions
        self._passes.append((record.phase, record.live_B, rows // batch, fed // batch))
        if record.audit is not None:
            self._audits.append(record.audit)

    def ledgers(self) -> list[Ledger] | None:
        """The account of each row; None if nothing was drafted or verified."""
        if not self._audits:
            return None
        work = {phase: self._work(phase) for phase in PHASES}
        sums = {name: self._sum(name) for name in ("kept_BN", "corrected_BN", "bonus_BN")}
        lost, rounds = self._sum("lost_B"), self._sum("round_B")
        proposed, accepted = self._by_position("proposed_BK"), self._by_position("accepted_BK")
        rows = len(rounds)
        return [
            Ledger(
                rounds=rounds[row],
                proposed=sum(proposed[row]),
                accepted=sums["kept_BN"][row],
                corrected=sums["corrected_BN"][row],
                bonus=sums["bonus_BN"][row],
                lost=lost[row],
                by_position=tuple(zip(proposed[row], accepted[row], strict=True)),
                forwards={phase: work[phase][row][0] for phase in PHASES},
                rows={phase: work[phase][row][1] for phase in PHASES},
                fed={phase: work[phase][row][2] for phase in PHASES},
            )
            for row in range(rows)
        ]

    def _work(self, phase: str) -> list[list[int]]:
        """Passes, canvases and fed positions of each row."""
        work_B3 = torch.zeros(len(self._audits[0].round_B), 3, dtype=torch.int64)
        for each, live_B, rows, fed in self._passes:
            if each == phase:
                work_B3 = work_B3 + live_B.cpu()[:, None] * torch.tensor([1, rows, fed])
        counts: list[list[int]] = work_B3.tolist()
        return counts

    def _sum(self, name: str) -> list[int]:
        total_B = torch.zeros_like(self._audits[0].round_B, dtype=torch.int64)
        for audit in self._audits:
            value = getattr(audit, name)
            if value is not None:
                total_B = total_B + (value.sum(dim=1) if value.ndim == 2 else value)
        counts: list[int] = total_B.tolist()
        return counts

    def _by_position(self, name: str) -> list[Sequence[int]]:
        tables = [getattr(audit, name) for audit in self._audits]
        width = max(table.shape[1] for table in tables)
        wide = [torch.nn.functional.pad(table, (0, width - table.shape[1])) for table in tables]
        counts: list[Sequence[int]] = torch.stack(wide).sum(dim=0).tolist()
        return counts
