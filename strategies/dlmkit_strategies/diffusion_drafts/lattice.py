"""Lattices: what a diffusion model thinks possible at each of the next positions.

Legend: B rows, P window positions, T drafted positions, K candidates of a position, E entries.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from typing import Any

import attrs
import torch
from torch import Tensor

from dlmkit.accounts.records import StepRecord
from dlmkit.bounds import above, at_least, at_most
from dlmkit.component import option
from dlmkit.denoise import Denoise
from dlmkit.draft_verify.draft import ROOT, Draft
from dlmkit.draft_verify.roles import Drafter, DraftRun
from dlmkit.draft_verify.round import Round, Setting
from dlmkit.draft_verify.stepper import Mark, Stepper
from dlmkit.errors import RequestError
from dlmkit.need import Need
from dlmkit.prediction import Prediction
from dlmkit.view import View

__all__ = ["Lattice"]


@attrs.frozen(kw_only=True)
class Lattice(Drafter):
    """The likeliest tokens of every next position, from one pass of a diffusion model.

    At each position the fewest tokens that reach the mass tau, at most M of them, and the end of
    the text; as many positions as the schedule allows.  They branch off the text of best tokens;
    the refiner `best-path` makes one text of them all.
    Source: DiffuSpec (arXiv:2510.02358), tau_m and M_max, one pass (S_ref = 1).
    """

    name = "lattice"
    order = "position"
    branches = True

    pipeline: Denoise = option(doc="whose network and edits give the distributions; no cache")
    mass: float = option(
        0.8, doc="probability that the candidates reach", check=(above(0), at_most(1))
    )
    most: int = option(15, doc="candidates of a position", check=at_least(1))

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        """Refuse a cache, which counts steps that are not taken here."""
        if options["pipeline"].cache is not None:
            yield "pipeline", "has a cache, and the lattice takes one pass a round", "leave it out"

    def begin(self, setting: Setting) -> DraftRun:
        """Open a session of its own.

        Raises:
            RequestError: the two networks have different vocabularies.
        """
        session = setting.context.session(self.pipeline.model).sibling()
        verifier = setting.context.session(setting.verifier.model).info
        if session.info.vocab_size != verifier.vocab_size:
            raise RequestError(
                f"drafter '{self.pipeline.model}' has {session.info.vocab_size} tokens, verifier "
                f"'{setting.verifier.model}' {verifier.vocab_size}",
                hint="use models of one vocabulary",
            )
        need = Need(top=self.most, logits=True)
        stepper = Stepper(self.pipeline, session, setting.context.seed, need, region=True)
        return _Spreading(self, stepper)

    def one_shot(self) -> bool:
        """All come from one pass."""
        return True

    def alone(self) -> bool:
        """A node is a token."""
        return True


@attrs.define(eq=False)
class _Spreading(DraftRun):
    drafter: Lattice
    stepper: Stepper

    def draft(self, start: Round) -> Generator[StepRecord, None, Draft]:
        """One pass, and the candidates of the positions from the first mask on."""
        # The number of drafted positions is a number of the host.
        count = int(start.budget_B.amax())
        if not count:
            return Draft.empty(len(start.budget_B), start.budget_B.device)
        first = self.stepper.first(start.canvas.snapshot(), start.number)
        view, prediction = self.stepper.predict(
            self.stepper.view(first, Mark.none(start.canvas.start_B))
        )
        yield self._record(start, view, prediction)
        return self._spread(start, view, prediction.filtered, count)

    def _spread(self, start: Round, view: View, prediction: Prediction, count: int) -> Draft:
        """Every candidate of every drafted position as a node of its own."""
        last = start.canvas.tokens_BN.shape[1] - 1
        masked_BN = start.canvas.masked_BN
        first_B1 = torch.where(masked_BN, start.canvas.columns_N, last).amin(dim=1, keepdim=True)
        place_BT = first_B1 + torch.arange(count, device=first_B1.device)
        open_BT = (place_BT <= last) & masked_BN.gather(1, place_BT.clamp_max(last))
        open_BT = open_BT & (place_BT - first_B1 < start.budget_B[:, None])
        column_BT = (place_BT - view.positions_BP[:, :1]).clamp(0, view.positions_BP.shape[1] - 1)
        token_BTK, logp_BTK, kept_BTK = self._candidates(prediction, column_BT, view)
        rows, width = len(first_B1), token_BTK.shape[2]
        node_D = torch.arange(count * width, device=first_B1.device)
        main_D = (node_D // width - 1) * width  # the best candidate of the position before
        draft = Draft(
            position_BE=place_BT.clamp_max(last).repeat_interleave(width, dim=1),
            token_BE=token_BTK.flatten(1),
            node_BE=node_D.expand(rows, -1),
            valid_BE=torch.ones(rows, count * width, dtype=torch.bool, device=node_D.device),
            parent_BD=torch.where(main_D < 0, ROOT, main_D).expand(rows, -1),
            logp_BE=logp_BTK.flatten(1).double(),
        )
        kept_BE = (kept_BTK & open_BT[..., None]).flatten(1)
        return attrs.evolve(draft, valid_BE=draft.whole(kept_BE))

    def _candidates(
        self, prediction: Prediction, column_BT: Tensor, view: View
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens of each position, candidates first; their log-probabilities; which those are."""
        pack, logits_BPV = prediction.pack, prediction.logits_BPV
        assert logits_BPV is not None  # noqa: S101 - declared in `need`
        most = min(self.drafter.most, pack.top_ids_BPK.shape[2])
        index_BTK = column_BT[..., None].expand(-1, -1, most)
        token_BTK = pack.top_ids_BPK[..., :most].gather(1, index_BTK)
        logp_BTK = pack.top_logp_BPK[..., :most].gather(1, index_BTK)
        share_BTK = logp_BTK.exp()
        kept_BTK = share_BTK.cumsum(dim=2) - share_BTK < self.drafter.mass
        end = view.info.eos_ids[0] if view.info.eos_ids else -1
        ends_BP = logits_BPV[..., end].to(pack.lse_BP.dtype) - pack.lse_BP
        token_BTK = torch.nn.functional.pad(token_BTK, (0, 1), value=end)
        logp_BTK = torch.cat((logp_BTK, ends_BP.gather(1, column_BT)[..., None]), dim=2)
        listed_BT1 = (kept_BTK & (token_BTK[..., :-1] == end)).any(dim=2, keepdim=True)
        kept_BTK = torch.cat((kept_BTK, ~listed_BT1 & (end >= 0)), dim=2)
        kept_BTK = kept_BTK & (token_BTK != view.info.mask_id)
        order_BTK = kept_BTK.int().argsort(dim=2, descending=True, stable=True)
        found = (each.gather(2, order_BTK) for each in (token_BTK.clamp_min(0), logp_BTK, kept_BTK))
        token_BTK, logp_BTK, kept_BTK = found
        return token_BTK, logp_BTK, kept_BTK

    def _record(self, start: Round, view: View, prediction: Prediction) -> StepRecord:
        """The pass; it writes nothing yet."""
        tokens_BN = start.canvas.tokens_BN
        return StepRecord(
            step=start.number,
            network=self.drafter.pipeline.model,
            counts=self.stepper.session.counts,
            before_BN=tokens_BN,
            after_BN=tokens_BN,
            positions_BP=view.positions_BP,
            proposals_BP=prediction.pack.top_ids_BPK[..., 0],
            confidence_BP=prediction.pack.top_logp_BPK[..., 0].exp(),
            live_B=start.live_B,
            block=view.block,
            phase="draft",
        )
