"""States of a text as the branches of a tree: what several of them begin with is fed once.

In a causal network the keys and values of a position hang on the tokens up to it and on nothing
else, so states that begin alike share them.  A pass over many states is then one row whose
queries each see the branch that they end.  Source: tree attention in SpecInfer (arXiv:2305.09781)
and Medusa (arXiv:2401.10774).

Legend: B rows, X states of a row, S = B x X states, N canvas positions, P wanted positions, Q fed
positions of a state, M = X x Q of them, W columns of the pass, C cache slots.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

import attrs
import torch
from torch import Tensor

from dlmkit.canvas import Canvas
from dlmkit.errors import EngineError
from dlmkit.key_values.in_place import refusal
from dlmkit.key_values.store import Store
from dlmkit.need import Need
from dlmkit.network import KeyValues, NetworkInputs
from dlmkit.passes.fed import Fed, Sight
from dlmkit.passes.inputs import content_of, refuse_empty_reads, shown
from dlmkit.passes.plan import Plan
from dlmkit.passes.session import Session
from dlmkit.passes.variants import places
from dlmkit.prediction import Prediction

if TYPE_CHECKING:
    from dlmkit.roles import Mixture

__all__ = ["Branches", "Folded"]


@attrs.frozen(eq=False)
class Folded:
    """The fed positions of all states of a row, each beginning once.

    `column_SQ` int64 is the column of each fed position of each state, and beyond the last one for
    filler; `source_BW` int64 where among all of a row's each column comes from, and `real_BW`
    whether it is one.
    """

    column_SQ: Tensor
    source_BW: Tensor
    real_BW: Tensor

    @classmethod
    def of(cls, ids_SN: Tensor, plan: Plan, states: int) -> Self:
        """Fold `states` canvases of each row; reads the number of columns on the host.

        A position is that of the first state that feeds it and begins with the same tokens.
        """
        ids_BXN = ids_SN.reshape(-1, states, ids_SN.shape[1])
        differ_BXXN = ids_BXN[:, :, None] != ids_BXN[:, None]
        never = ids_SN.shape[1]
        alike_BXX = torch.where(differ_BXXN.any(-1), differ_BXXN.int().argmax(-1), never)
        feed_BXQ = plan.feed_BQ.reshape(-1, states, plan.feed_BQ.shape[1])
        place_BXN = plan.places_BN(never).reshape(ids_BXN.shape)
        index_BMX = feed_BXQ.flatten(1)[..., None].expand(-1, -1, states)
        place_BMX = place_BXN.transpose(1, 2).gather(1, index_BMX)
        place_BXQX = place_BMX.reshape(*feed_BXQ.shape, states)
        shared_BXQX = (alike_BXX[:, :, None] > feed_BXQ[..., None]) & (place_BXQX >= 0)
        first_BXQ1 = shared_BXQX.int().argmax(dim=3, keepdim=True)
        found_BXQ = (first_BXQ1 * feed_BXQ.shape[2] + place_BXQX.gather(3, first_BXQ1))[..., 0]
        valid_SQ = plan.feed_valid_BQ
        if valid_SQ is None:
            valid_SQ = torch.ones_like(plan.feed_BQ, dtype=torch.bool)
        return cls._numbered(found_BXQ.flatten(1), valid_SQ)

    @classmethod
    def _numbered(cls, found_BM: Tensor, valid_SQ: Tensor) -> Self:
        """Number what is found where it is itself, and all else by that."""
        valid_BM = valid_SQ.reshape(found_BM.shape)
        own_BM = valid_BM & (found_BM == torch.arange(found_BM.shape[1], device=found_BM.device))
        width = max(int(own_BM.sum(dim=1).amax()), 1)
        column_BM = (own_BM.cumsum(dim=1) - 1).gather(1, found_BM.clamp_min(0))
        source_BW = own_BM.int().argsort(dim=1, descending=True, stable=True)[:, :width]
        return cls(
            column_SQ=torch.where(valid_BM, column_BM, width).reshape(valid_SQ.shape),
            source_BW=source_BW,
            real_BW=own_BM.gather(1, source_BW),
        )

    def picked(self, values_SQ: Tensor) -> Tensor:
        """The values of the columns, `[B, W, ...]`, of those of all fed positions `[S, Q, ...]`."""
        values_BM = values_SQ.reshape(len(self.source_BW), -1, *values_SQ.shape[2:])
        index_BW = self.source_BW.reshape(*self.source_BW.shape, *[1] * (values_BM.ndim - 2))
        return values_BM.gather(1, index_BW.expand(-1, -1, *values_BM.shape[2:]))

    def new_B1WW(self, new_SQQ: Tensor) -> Tensor:
        """Which columns each column sees, of what fed positions of its state see."""
        rows, width = self.real_BW.shape
        fed = new_SQQ.shape[2]
        state_BW = self.source_BW // fed
        column_BXQ = self.column_SQ.reshape(rows, -1, fed)
        target_BWQ = column_BXQ.gather(1, state_BW[..., None].expand(-1, -1, fed))
        seen_BWW = new_SQQ.new_zeros(rows, width, width + 1)
        seen_BWW = seen_BWW.scatter(2, target_BWQ, self.picked(new_SQQ))[..., :width]
        itself_WW = torch.eye(width, dtype=torch.bool, device=seen_BWW.device)
        return ((seen_BWW & self.real_BW[..., None]) | itself_WW)[:, None]

    def fresh_of(self, fresh: KeyValues, row_B: Tensor) -> KeyValues:
        """Keys and values of all that one state of each row feeds."""
        column_BQ = self.column_SQ[row_B].clamp_max(self.real_BW.shape[1] - 1)
        keys, values = fresh.keys_YBGCE, fresh.values_YBGCE
        index = column_BQ[None, :, None, :, None]
        index = index.expand(len(keys), -1, keys.shape[2], -1, keys.shape[4])
        return KeyValues(keys_YBGCE=keys.gather(3, index), values_YBGCE=values.gather(3, index))


@attrs.frozen(eq=False)
class _Fresh:
    """What a pass has computed, not stored yet."""

    values: KeyValues
    folded: Folded
    plan: Plan
    ids_SQ: Tensor
    canvas_BN: Tensor


class Branches(Session):
    """A session whose rows are states of the rows of another one, which share what is stored.

    What a pass computes is stored once it is known which state it came to.
    """

    def __init__(self, base: Session, states: int) -> None:
        super().__init__(base.network, checked=base.checked, tokenizer=base.tokenizer)
        self.store, self.account = base.store, base.account
        self.states = states
        self._fresh: _Fresh | None = None

    def predict(
        self,
        variants: Sequence[Tensor],
        canvas: Canvas,
        positions_BP: Tensor,
        plan: Plan,
        need: Need,
        required_BP: Tensor | None = None,
        *,
        mixture: Mixture | None = None,
    ) -> list[Prediction]:
        """Run one pass over all states; return one prediction with a row for each of them.

        Raises:
            EngineError: the network is not causal, or something is asked for that a column which
                stands for several states cannot tell; or as `Session.predict` does.
        """
        self._refuse(len(variants), plan, need, mixture)
        ids_SN = shown(self, variants[0], canvas)
        fed = Fed.of(self, plan, positions_BP, ids_SN.shape[1], required_BP)
        plan, ids_SQ = fed.plan, fed.of_canvas(ids_SN)
        folded = Folded.of(ids_SN, plan, self.states)
        output = self.run(self._columns(folded, ids_SQ, ids_SN, plan, canvas), need, plan)
        assert output.fresh is not None  # noqa: S101 - nothing was written
        self._fresh = _Fresh(output.fresh.copied(), folded, plan, ids_SQ, ids_SN[:: self.states])
        column_SP = folded.column_SQ.gather(1, fed.rows_RP).clamp_max(folded.real_BW.shape[1] - 1)
        row_S1 = torch.arange(len(ids_SN), device=ids_SN.device)[:, None] // self.states
        whole = Prediction(pack=output.pack, logits_BPV=output.logits_BSV)
        return [places(whole, row_S1.expand_as(column_SP), column_SP)]

    def stored_of(self, row_R: Tensor) -> Store | None:
        """The store with what these states, one of each row, have computed."""
        made = self._fresh
        if made is None or made.plan.commit_BQ is None:
            return self.store
        store = self.room(made.canvas_BN)
        store.commit(
            made.folded.fresh_of(made.values, row_R),
            made.plan.feed_BQ[row_R],
            made.plan.commit_BQ[row_R],
            made.ids_SQ[row_R],
        )
        return store

    def _columns(
        self, folded: Folded, ids_SQ: Tensor, ids_SN: Tensor, plan: Plan, canvas: Canvas
    ) -> NetworkInputs:
        """What is fed, and what each column sees."""
        sight = Sight.of(self, plan, canvas)
        past_S1QC, new_S1QQ = sight.past_B1QN, sight.new_B1QQ
        assert new_S1QQ is not None  # noqa: S101 - causal attention hides something
        past_B1WC, content = None, None
        if past_S1QC is not None:
            past_B1WC = (folded.picked(past_S1QC[:, 0]) & folded.real_BW[..., None])[:, None]
            content = content_of(self, ids_SN[:: self.states])
            if self.checked:
                refuse_empty_reads(self, past_B1WC)
        width = folded.real_BW.shape[1]
        return NetworkInputs(
            ids_BQ=folded.picked(ids_SQ),
            positions_BQ=folded.picked(plan.feed_BQ),
            want_BS=torch.arange(width, device=ids_SQ.device).expand(len(folded.real_BW), -1),
            mask_new_B1QQ=folded.new_B1WW(new_S1QQ[:, 0]),
            past=content,
            mask_past_B1QC=past_B1WC,
        )

    def _refuse(self, variants: int, plan: Plan, need: Need, mixture: Mixture | None) -> None:
        if self.info.cache_slots is not None:
            raise refusal(self.info, "several states in one row")
        if self.info.attention.kind != "causal":
            raise EngineError(
                f"states share columns under causal attention, and this model's is "
                f"{self.info.attention.kind}",
                hint="show states as rows",
            )
        layers = plan.layers_BNY is not None or plan.layer_steps is not None
        if variants > 1 or mixture is not None or layers or need.current or need.taps:
            raise EngineError(
                "a column that stands for several states has no guidance, mixtures, layers or "
                "tokens of its own",
                hint="show states as rows",
            )
