"""Adding up the records of a decode into the account of each row.

Legend: B rows, N canvas positions, K draft positions, T passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dlmkit.accounts.ledger import PHASES, Ledger, Work
from dlmkit.accounts.records import Counts, Phase

if TYPE_CHECKING:
    from dlmkit.accounts.records import StepRecord
    from dlmkit.draft_verify.audit import Audit

__all__ = ["LedgerKeeper"]

_BUNCH = 64
"""Passes whose canvases are compared at once: between passes there is no time to lose."""


class LedgerKeeper:
    """Takes note of every record; tensors are read when the ledgers are asked for.

    `rows` is the size of the batch, `mask_id` what undecided positions hold.
    """

    def __init__(self, rows: int, mask_id: int) -> None:
        self._rows, self._mask_id = rows, mask_id
        self._noted: list[tuple[str, Phase, Counts, Tensor]] = []
        self._audits: list[Audit] = []
        self._around: list[tuple[Tensor, Tensor]] = []
        self._decided: list[Tensor] = []
        self._reopened: list[Tensor] = []

    def add(self, record: StepRecord) -> None:
        """Take note of a pass, and of what it decided."""
        self._noted.append((record.network, record.phase, record.counts, record.live_B))
        if record.audit is not None:
            self._audits.append(record.audit)
        elif record.phase == "decode":
            if self._around and self._around[0][0].shape != record.before_BN.shape:
                self._compare()
            self._around.append((record.before_BN, record.after_BN))
            if len(self._around) == _BUNCH:
                self._compare()

    def ledgers(self) -> list[Ledger]:
        """The account of each row."""
        self._compare()
        work = {phase: self._work(passes) for phase, passes in self._passes().items()}
        own, decided = self._audited("bonus_BN"), self._sum(self._decided)
        kept, corrected = self._audited("kept_BN"), self._audited("corrected_BN")
        reopened, lost = self._sum(self._reopened), self._audited("lost_B")
        rounds = self._audited("round_B")
        proposed, accepted = self._by_position("proposed_BK"), self._by_position("accepted_BK")
        return [
            Ledger(
                rounds=rounds[row],
                proposed=sum(proposed[row]),
                accepted=kept[row],
                corrected=corrected[row],
                bonus=own[row] + decided[row],
                reopened=reopened[row],
                lost=lost[row],
                by_position=tuple(zip(proposed[row], accepted[row], strict=True)),
                work={phase: each[row][0] for phase, each in work.items()},
                prefill={phase: each[row][1] for phase, each in work.items()},
            )
            for row in range(self._rows)
        ]

    def _compare(self) -> None:
        """Count what the passes of a bunch have decided and reopened."""
        if not self._around:
            return
        before, after = zip(*self._around, strict=True)
        was_TBN, is_TBN = (torch.stack(each) == self._mask_id for each in (before, after))
        self._decided.append((was_TBN & ~is_TBN).sum(dim=(0, 2)))
        self._reopened.append((is_TBN & ~was_TBN).sum(dim=(0, 2)))
        self._around.clear()

    def _passes(self) -> dict[Phase, list[tuple[Tensor, Counts]]]:
        """What each pass has executed and for which rows, by phase."""
        passes: dict[Phase, list[tuple[Tensor, Counts]]] = {phase: [] for phase in PHASES}
        seen: dict[str, Counts] = {}
        for network, phase, counts, live_B in self._noted:
            passes[phase].append((live_B, counts.since(seen.get(network, Counts()))))
            seen[network] = counts
        return passes

    def _work(self, passes: Sequence[tuple[Tensor, Counts]]) -> list[tuple[Work, Work]]:
        """What ran for each row, and what of it was prefill."""
        if not passes:
            return [(Work(), Work())] * self._rows
        live_BT = torch.stack([live_B for live_B, _ in passes], dim=1).long().cpu()
        sums_BC = live_BT @ torch.tensor([self._for_a_row(counts) for _, counts in passes])
        return [(Work(*each[:3]), Work(*each[3:])) for each in sums_BC.tolist()]

    def _for_a_row(self, counts: Counts) -> tuple[int, ...]:
        rows, fed = counts.rows // self._rows, counts.fed_positions // self._rows
        prefill_rows = rows if counts.prefills else 0
        prefill_fed = counts.prefill_positions // self._rows
        return counts.forwards, rows, fed, counts.prefills, prefill_rows, prefill_fed

    def _audited(self, name: str) -> list[int]:
        """The sum of a field of all audits."""
        found = [getattr(audit, name) for audit in self._audits]
        known = [value for value in found if value is not None]
        return self._sum([value.sum(dim=1) if value.ndim == 2 else value for value in known])

    def _sum(self, values: Sequence[Tensor]) -> list[int]:
        if not values:
            return [0] * self._rows
        counts: list[int] = torch.stack(list(values)).long().sum(dim=0).tolist()
        return counts

    def _by_position(self, name: str) -> list[Sequence[int]]:
        tables = [getattr(audit, name) for audit in self._audits]
        if not tables:
            return [()] * self._rows
        width = max(table.shape[1] for table in tables)
        wide = [torch.nn.functional.pad(table, (0, width - table.shape[1])) for table in tables]
        counts: list[Sequence[int]] = torch.stack(wide).sum(dim=0).tolist()
        return counts
