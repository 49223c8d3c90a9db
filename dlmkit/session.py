"""A session: one network, its key/value store, and the account of what it cost.

It applies plans, hides the logit shift, and hands out predictions in window order, so that
every strategy sees "row i predicts token i".

Legend: B rows, N canvas positions, P window positions, Q fed positions, R variants (inputs that
run as one pass, such as guidance).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dlmkit.attention import masks
from dlmkit.canvas import Canvas
from dlmkit.errors import EngineError
from dlmkit.need import Need
from dlmkit.network import Network, NetworkInfo, NetworkInputs, NetworkOutput
from dlmkit.plan import Plan
from dlmkit.prediction import Prediction, ScorePack
from dlmkit.records import Counts
from dlmkit.store import Store

__all__ = ["Session"]


class Session:
    """Runs plans on a network for one decode; `counts` says what was executed."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.counts = Counts()
        self.store: Store | None = None

    @property
    def info(self) -> NetworkInfo:
        """Facts about the network."""
        return self.network.info

    def predict(
        self,
        variants: Sequence[Tensor],
        canvas: Canvas,
        positions_BP: Tensor,
        plan: Plan,
        need: Need,
    ) -> list[Prediction]:
        """Run one forward pass; return a prediction at `positions_BP` for each variant.

        Variants are canvases `ids_BN` that share a plan and run as extra rows of one pass.

        Raises:
            EngineError: a wanted position is not among the fed ones.
        """
        repeat = len(variants)
        ids_BN = torch.cat(list(variants)) if repeat > 1 else variants[0]
        feed_BQ, want_BP = _repeat(plan.feed_BQ, repeat), _repeat(positions_BP, repeat)
        ids_BQ = ids_BN if plan.whole else ids_BN.gather(1, feed_BQ)
        inputs = self._inputs(ids_BQ, ids_BN, want_BP, plan, canvas, repeat, need)
        output = self.network.forward(inputs, need)
        self.counts = self.counts.plus(rows=ids_BQ.shape[0], fed=ids_BQ.numel())
        if plan.commit_BQ is not None:
            keep_BQ = _repeat(plan.commit_BQ, repeat)
            self._store(ids_BN).commit(output.fresh, feed_BQ, keep_BQ, ids_BQ)
        return _split(output, repeat)

    def _inputs(
        self,
        ids_BQ: Tensor,
        ids_BN: Tensor,
        want_BP: Tensor,
        plan: Plan,
        canvas: Canvas,
        repeat: int,
        need: Need,
    ) -> NetworkInputs:
        past, new = masks(self.info.attention, plan, canvas.inside_BN, ragged=canvas.ragged)
        return NetworkInputs(
            ids_BQ=ids_BQ,
            positions_BQ=_repeat(plan.feed_BQ, repeat),
            want_BS=self._rows_of(want_BP, plan, ids_BN.shape[1], repeat),
            mask_new_B1QQ=None if new is None else _repeat(new, repeat),
            past=None if past is None else self._store(ids_BN).content,
            mask_past_B1QC=None if past is None else _repeat(past, repeat),
            current_BS=ids_BN.gather(1, want_BP) if need.current else None,
        )

    def _rows_of(self, want_BP: Tensor, plan: Plan, columns: int, repeat: int) -> Tensor:
        """Index into the fed positions of the row that predicts each wanted position."""
        source_BP = (want_BP - self.info.logit_shift).clamp_min(0)
        if plan.whole:
            return source_BP
        feed_BQ = _repeat(plan.feed_BQ, repeat)
        valid_BQ = (
            torch.ones_like(feed_BQ, dtype=torch.bool)
            if plan.feed_valid_BQ is None
            else _repeat(plan.feed_valid_BQ, repeat)
        )
        target_BQ = torch.where(valid_BQ, feed_BQ, columns)
        index_BM = torch.full(
            (feed_BQ.shape[0], columns + 1), -1, dtype=torch.int64, device=feed_BQ.device
        )
        order_BQ = torch.arange(feed_BQ.shape[1], device=feed_BQ.device).expand_as(feed_BQ)
        rows_BP = index_BM.scatter(1, target_BQ, order_BQ)[:, :columns].gather(1, source_BP)
        # On a GPU this read would stall the loop; there the conformance suite vouches for plans.
        if rows_BP.device.type == "cpu" and bool((rows_BP < 0).any()):
            raise EngineError(
                "the cache policy's plan does not feed a position whose prediction is wanted",
                hint="feed every wanted position (shifted families: also the one before it)",
            )
        return rows_BP

    def _store(self, ids_BN: Tensor) -> Store:
        if self.store is None:
            self.store = Store.allocate(self.info, *ids_BN.shape)
        return self.store


def _repeat(x: Tensor, times: int) -> Tensor:
    return x if times == 1 else x.repeat(times, *[1] * (x.ndim - 1))


def _split(output: NetworkOutput, repeat: int) -> list[Prediction]:
    """Cut the batch of a pass back into its variants."""
    rows = output.pack.lse_BP.shape[0] // repeat
    return [_part(output, slice(number * rows, (number + 1) * rows)) for number in range(repeat)]


def _part(output: NetworkOutput, rows: slice) -> Prediction:
    pack = output.pack
    entropy, current, logits = pack.entropy_BP, pack.current_logp_BP, output.logits_BSV
    return Prediction(
        pack=ScorePack(
            top_ids_BPK=pack.top_ids_BPK[rows],
            top_logp_BPK=pack.top_logp_BPK[rows],
            lse_BP=pack.lse_BP[rows],
            entropy_BP=None if entropy is None else entropy[rows],
            current_logp_BP=None if current is None else current[rows],
        ),
        logits_BPV=None if logits is None else logits[rows],
    )
