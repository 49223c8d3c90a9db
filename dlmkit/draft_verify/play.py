"""A decode in progress: the verifier, the drafter at work, and the canvas between them.

Legend: B rows, N canvas positions, E entries, K draft positions.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

import attrs
import torch
from torch import Tensor

from dlmkit.accounts.records import StepRecord
from dlmkit.canvas import Canvas
from dlmkit.draft_verify.audit import Audit
from dlmkit.draft_verify.draft import Draft
from dlmkit.draft_verify.roles import DraftRun, Look
from dlmkit.draft_verify.round import Round, RoundResult, Setting
from dlmkit.draft_verify.stepper import Stepper
from dlmkit.draft_verify.verdict import Resolution, Verdict
from dlmkit.draft_verify.verifier import Verifier
from dlmkit.errors import StrategyError
from dlmkit.need import Need
from dlmkit.noise import Noise
from dlmkit.outcome import Outcome

if TYPE_CHECKING:
    from dlmkit.context import Context
    from dlmkit.draft_verify.evidence import Evidence
    from dlmkit.draft_verify.kernel import DraftVerify

__all__ = ["Play"]


@attrs.define(kw_only=True, eq=False)
class Play:
    """What changes while a procedure decodes.

    `number` counts rounds; `level_BL` is the schedule's; `shown_BN` the canvas as the last record
    left it, drafts included.
    """

    procedure: DraftVerify
    canvas: Canvas
    verifier: Verifier
    run: DraftRun
    level_BL: Tensor
    shown_BN: Tensor
    seed: int
    number: int = 0

    @classmethod
    def begin(cls, procedure: DraftVerify, context: Context, canvas: Canvas) -> Play:
        """Lay everything out; nothing runs yet.

        Raises:
            StrategyError: the view means nothing under the verifier's attention.
        """
        pipeline, stepper = procedure.verifier, _stepper(procedure, context)
        setting = Setting(
            context=context,
            canvas=canvas,
            verifier=pipeline,
            laws=procedure.judge.laws,
            noise=procedure.judge.coupled,
            bridge=procedure.bridge,
        )
        level = torch.tensor(procedure.schedule.start(), dtype=torch.float64)
        return cls(
            procedure=procedure,
            canvas=canvas,
            verifier=Verifier.begin(stepper, canvas),
            run=procedure.draft.begin(setting),
            level_BL=level.to(canvas.start_B.device).expand(len(canvas.start_B), *level.shape),
            shown_BN=canvas.tokens_BN,
            seed=context.seed,
        )

    def goes_on(self) -> bool:
        """Whether anything is left to decode."""
        return bool((self.canvas.masked_BN & self.canvas.undone_B1).any())

    def round(self) -> Generator[StepRecord, None, None]:
        """Draft, verify, write; then the verifier's own step in rows that stood still."""
        start, before_BN = self._start(), self.canvas.tokens_BN
        raw = yield from self._drafted(start)
        draft = self._refined(raw, start)
        evidence = self.verifier.examine(draft, self._look(draft, start), self.canvas)
        verdict, resolution = self._judged(draft, evidence, start)
        self._write(evidence, verdict, resolution)
        written_BN = self.canvas.tokens_BN
        step = self._step_on(evidence, self._extra(evidence, resolution, before_BN))
        result = RoundResult(
            round=start,
            raw=raw,
            draft=draft,
            evidence=evidence,
            verdict=verdict,
            resolution=resolution,
            before_BN=before_BN,
            written_BN=written_BN,
            after_BN=self.canvas.tokens_BN,
            step=step,
        )
        self.run.settle(result)
        self.level_BL = self.procedure.schedule.after(self.level_BL, result)
        self.number += 1
        yield self._recorded(evidence, start.live_B, Audit.of(result))
        idle_B = start.live_B & (self.canvas.tokens_BN == before_BN).all(dim=1)
        if bool((idle_B & ~self.canvas.done_B).any()):
            yield self.plain_step(idle_B)

    def plain_step(self, rows_B: Tensor | None = None) -> StepRecord:
        """Let the verifier take a step alone, in all rows or the chosen ones."""
        rows_B = torch.ones_like(self.canvas.done_B) if rows_B is None else rows_B
        before_BN, canvas = self.canvas.tokens_BN, self.canvas.snapshot()
        canvas.done_B = canvas.done_B | ~rows_B
        draft = Draft.empty(len(rows_B), rows_B.device)
        evidence = self.verifier.examine(draft, _only(canvas, draft), canvas)
        self._step_on(evidence, rows_B)
        audit = Audit.of_step(before_BN != self.canvas.tokens_BN)
        return self._recorded(evidence, evidence.root.live_B, audit)

    def _start(self) -> Round:
        canvas = self.canvas.snapshot()
        live_B = (canvas.masked_BN & canvas.undone_B1).any(dim=1)
        budget_B = self.procedure.schedule.budget(self.level_BL).clamp_min(0)
        # An approximate cache is renewed before anything is drafted on it.
        live_B = live_B & ~self.verifier.renews_B(canvas)
        return Round(
            number=self.number,
            canvas=canvas,
            noise=Noise(self.seed, canvas.samples_B, self.number),
            budget_B=torch.where(live_B, budget_B, 0),
            schedule=self.procedure.schedule,
        )

    def _drafted(self, start: Round) -> Generator[StepRecord, None, Draft]:
        drafting = self.run.draft(start)
        while True:
            try:
                record = next(drafting)
            except StopIteration as end:
                draft: Draft = end.value
                break
            self.shown_BN = record.after_BN
            yield record
        return draft

    def _refined(self, draft: Draft, start: Round) -> Draft:
        for refiner in self.procedure.refine:
            draft = refiner.refine(draft, start)
        # A drafter that reads on behind a gap may come to what is decided already.
        masked_BE = start.canvas.masked_BN.gather(1, draft.position_BE)
        draft = attrs.evolve(draft, valid_BE=draft.valid_BE & masked_BE)
        if self.procedure.view.steps:
            draft = self.verifier.within(draft, start)
        return draft.trimmed()

    def _look(self, draft: Draft, start: Round) -> Look:
        return self.procedure.view.look(draft, start) if draft.nodes else _only(self.canvas, draft)

    def _judged(self, draft: Draft, evidence: Evidence, start: Round) -> tuple[Verdict, Resolution]:
        if not draft.nodes:  # parts are asked about drafts of something
            nothing_BE = draft.valid_BE
            verdict = Verdict(ok_BE=nothing_BE, token_BE=draft.token_BE)
            return verdict, Resolution(keep_BE=nothing_BE, correct_BE=nothing_BE)
        verdict = self.procedure.judge.judge(draft, evidence, start)
        ok_BE = verdict.ok_BE & evidence.rated_BE & start.live_B[:, None]
        passed_BE = self.procedure.scope.limit(draft, ok_BE)
        resolution = self.procedure.resolve.resolve(draft, passed_BE, verdict)
        # Of alternatives at one position a single one is written.
        columns = self.canvas.tokens_BN.shape[1]
        keep_BE = draft.leading(resolution.keep_BE, columns)
        settled_BE = draft.marks(keep_BE, columns).gather(1, draft.position_BE)
        correct_BE = resolution.correct_BE & evidence.rated_BE & ~settled_BE
        return verdict, Resolution(keep_BE=keep_BE, correct_BE=draft.leading(correct_BE, columns))

    def _write(self, evidence: Evidence, verdict: Verdict, resolution: Resolution) -> None:
        """Write what stands of the draft, and remember where that leaves the verifier."""
        draft, keep_BE = evidence.draft, resolution.keep_BE
        tokens_BE = torch.where(keep_BE, draft.token_BE, verdict.token_BE)
        after_BN = draft.written(self.canvas, keep_BE | resolution.correct_BE, tokens_BE)
        past, ended_B = evidence.place(after_BN)
        changed_B = (after_BN != self.canvas.tokens_BN).any(dim=1)
        self._commit(after_BN, evidence.root.step)
        self.verifier.past = past.where(changed_B, self.verifier.past)
        self.canvas.done_B = self.canvas.done_B | (ended_B & changed_B)

    def _extra(self, evidence: Evidence, resolution: Resolution, before_BN: Tensor) -> Tensor:
        """Rows that take the verifier's own step out of the same pass."""
        idle_B = (self.canvas.tokens_BN == before_BN).all(dim=1)
        rows_B = idle_B & (evidence.state_B(before_BN) >= 0)
        if self.procedure.bonus is not None:
            rows_B = rows_B | self.procedure.bonus.rows(evidence.draft, resolution)
        return rows_B

    def _step_on(self, evidence: Evidence, rows_B: Tensor) -> Outcome:
        scratch = self.canvas.snapshot()
        scratch.done_B = scratch.done_B | ~rows_B
        written_BN = self.canvas.tokens_BN
        outcome, mark = evidence.step_on(scratch)
        self.verifier.settle(evidence, written_BN, outcome)
        self._commit(outcome.after_BN, evidence.root.step)
        self.canvas.done_B = self.canvas.done_B | (scratch.done_B & rows_B)
        self.verifier.past = mark.where(outcome.view.live_B, self.verifier.past)
        return outcome

    def _commit(self, tokens_BN: Tensor, step: int) -> None:
        columns_BN = self.canvas.columns_N.expand_as(tokens_BN)
        where_BN = self.canvas.masked_BN & (tokens_BN != self.canvas.mask_id)
        self.canvas.commit(columns_BN, where_BN, tokens_BN, step)

    def _recorded(self, evidence: Evidence, live_B: Tensor, audit: Audit) -> StepRecord:
        surest_BE = evidence.entry.pack.top_logp_BPK[..., 0].exp()
        record = StepRecord(
            step=self.number,
            network=self.procedure.verifier.model,
            counts=self.verifier.counts,
            before_BN=self.shown_BN,
            after_BN=self.canvas.tokens_BN,
            positions_BP=evidence.draft.position_BE,
            proposals_BP=evidence.draft.token_BE,
            confidence_BP=torch.where(evidence.rated_BE, surest_BE, -torch.inf),
            live_B=live_B,
            block=evidence.root.block,
            phase="verify",
            audit=audit,
        )
        self.shown_BN = self.canvas.tokens_BN
        return record


def _stepper(procedure: DraftVerify, context: Context) -> Stepper:
    """The verifier's pipeline with everything that the parts read of its predictions."""
    view, session = procedure.view, context.session(procedure.verifier.model)
    problem = view.attention_problem(session.info.attention.kind)
    if problem:
        raise StrategyError(problem, hint="use another view, or another verifier")
    need = Need.union(part.needs() for part in (procedure.draft, procedure.judge, view))
    return Stepper(procedure.verifier, session, context.seed, need, region=view.region())


def _only(canvas: Canvas, draft: Draft) -> Look:
    """The canvas as it stands, and nothing to rate."""
    return Look(
        tokens_BXN=canvas.tokens_BN[:, None], rates_BE=draft.node_BE, behind_BX=draft.behind_BX
    )
