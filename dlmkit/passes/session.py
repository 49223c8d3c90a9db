"""A session: one network, its key/value store, and the account of what it cost.

It applies plans, hides the logit shift, and hands out predictions in window order, so that
every strategy sees "row i predicts token i".

Legend: B rows, N canvas positions, P window positions, Q fed positions, H shadows, R variants
(inputs that run as one pass, such as guidance).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

import attrs
import torch
from torch import Tensor

from dlmkit.accounts.records import Counts
from dlmkit.canvas import Canvas
from dlmkit.errors import EngineError
from dlmkit.host.kept import Kept
from dlmkit.key_values.in_place import lost_reads, over_the_store, places_BQ, refuse_strangers
from dlmkit.key_values.layer_reads import LayerReads, strays
from dlmkit.key_values.store import Store
from dlmkit.layout import Layout
from dlmkit.need import Need
from dlmkit.network import KeyValues, Network, NetworkInfo, NetworkInputs, NetworkOutput
from dlmkit.passes.abilities import in_layer_steps, noise_level, refuse_taps, with_mixture
from dlmkit.passes.attention import masks
from dlmkit.passes.columns import in_columns
from dlmkit.passes.latents import Latents
from dlmkit.passes.layer_steps import Features
from dlmkit.passes.plan import Plan
from dlmkit.passes.shadows import Shadows
from dlmkit.passes.taps import Taps
from dlmkit.passes.variants import first_rows, part_of, predictions_of, repeated
from dlmkit.prediction import Prediction
from dlmkit.recorded.recorder import CudaGraphs, NotRecordableError, Recorder

if TYPE_CHECKING:
    from dlmkit.models.tokenizer import Tokenizer
    from dlmkit.roles import Mixture

__all__ = ["SavedSession", "Session", "SizeUnknownError"]


class SizeUnknownError(Exception):
    """The size of a pass that may be unwanted cannot be told without waiting for the device."""


@attrs.define
class _Account:
    counts: Counts = attrs.field(factory=Counts)


@attrs.frozen(eq=False)
class SavedSession:
    """What a session knew before a pass."""

    counts: Counts
    tag_BN: Tensor | None


class Session:
    """Runs plans on a network for one decode; `counts` says what was executed.

    `checked` says whether every plan is checked for what it leaves out or reads too early.  That
    reads tensors on the host, which stalls a GPU; by default it is done on the CPU and for
    networks that write into their cache, and elsewhere the conformance suite vouches for plans.
    `kept` is what was made of the plan of the pass before, for passes under the same plan.

    `runs_ahead` says that a decode loop may begin a pass before it is known whether it is wanted,
    so that a GPU never waits for the host; such passes are not counted unless they were wanted, and
    `wasted` is the number of those that were not.  By default it does where plans are not checked,
    and never where a pass writes into the cache.

    With a `recorder` the loop records whole steps and repeats them; by default there is one on a
    GPU for networks that can be recorded.
    """

    def __init__(
        self,
        network: Network,
        *,
        checked: bool | None = None,
        runs_ahead: bool | None = None,
        recorder: Recorder | None = None,
        tokenizer: Tokenizer | None = None,
    ) -> None:
        on_host = network.info.device.type == "cpu"
        self.network = network
        self.tokenizer = tokenizer
        writes = network.info.cache_slots is not None
        self.checked = (on_host or writes) if checked is None else checked
        ahead = not (on_host or self.checked) if runs_ahead is None else runs_ahead
        self.runs_ahead = ahead and not writes  # what is unwanted would be written
        self.wasted = 0
        self.recorder = recorder
        if recorder is None and self.runs_ahead and not on_host and network.info.recordable:
            self.recorder = CudaGraphs()
        self.store: Store | None = None
        self.features: Features | None = None
        self.reads: LayerReads | None = None
        self.kept = Kept()
        self._account = _Account()
        self.proviso: Tensor | None = None
        self._sized_only = False

    def sibling(self) -> Session:
        """A session with a store of its own on the same network; both share one account."""
        twin = Session(
            self.network,
            checked=self.checked,
            runs_ahead=self.runs_ahead,
            recorder=self.recorder,
            tokenizer=self.tokenizer,
        )
        twin._account = self._account
        return twin

    @property
    def counts(self) -> Counts:
        """What was executed."""
        return self._account.counts

    @cached_property
    def info(self) -> NetworkInfo:
        """Facts about the network, with the tokenizer of its checkpoint."""
        info = self.network.info
        return info if self.tokenizer is None else attrs.evolve(info, tokenizer=self.tokenizer)

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
        """Run one forward pass; return a prediction at `positions_BP` for each variant.

        Variants are canvases `ids_BN` that share a plan and run as extra rows of one pass.  Each
        has stored rows of its own if the first pass that stored anything had as many of them; else
        they share one row, and what is stored is what the first of them computes.  With
        `required_BP`, what is predicted at other positions means nothing where it was not fed.
        The plan's shadows are predicted in `Prediction.shadow`; a `mixture` is fed to all variants.

        Raises:
            EngineError: the first pass predicts no numbers; or, in a checked session, a required
                position (None: any wanted one) is not among the fed ones, or the plan reads what
                was never stored.
            SizeUnknownError: see `only_if`.
        """
        if self._sized_only and not plan.sized:
            raise SizeUnknownError
        plan, repeat = self.kept.of("trimmed", (plan,), plan.trimmed), len(variants)
        ids_BN = self._shown(torch.cat(list(variants)) if repeat > 1 else variants[0], canvas)
        feed_BQ, want_BP = repeated(plan.feed_BQ, repeat), repeated(positions_BP, repeat)
        ids_BQ = ids_BN if plan.whole else ids_BN.gather(1, feed_BQ)
        rows_BP = self.kept.of(
            "rows",
            (plan, positions_BP, required_BP),
            lambda: self._rows_of(positions_BP, plan, ids_BN.shape[1], required_BP),
        )
        current_BP = ids_BN.gather(1, want_BP) if need.current else None
        wanted = repeated(rows_BP, repeat), current_BP
        inputs = self._inputs(ids_BQ, ids_BN, plan, canvas, repeat, wanted, need)
        if mixture is not None:
            inputs = with_mixture(self.info, inputs, mixture, plan, repeat)
        if plan.layer_steps is not None:
            alone = plan.shadow_BH is None and mixture is None and not need.taps
            steps = plan.layer_steps.repeated(repeat)
            inputs = in_layer_steps(self.info, inputs, steps, self.features, alone=alone)
        shadows = Shadows.of(plan, self.info)
        if shadows is not None:
            inputs = shadows.extend(inputs, ids_BN, canvas)
            need = attrs.evolve(need, current=True)
        refuse_taps(self.info, need)
        output = self._run(inputs, need, plan)
        self.features = output.features
        self._keep(output, plan, ids_BN, ids_BQ)
        predictions = predictions_of(output, repeat, positions_BP.shape[1])
        if need.taps:
            predictions[0] = attrs.evolve(predictions[0], taps=Taps.of(output, plan, canvas))
        return predictions

    def predict_columns(
        self,
        states: Sequence[Tensor],
        canvas: Canvas,
        positions_BP: Tensor,
        plan: Plan,
        need: Need,
        required_BP: Tensor | None = None,
    ) -> list[Prediction]:
        """Run one pass over states that stand side by side in each row.

        They differ only where the plan computes.  What is stored is what the first one computes.

        Raises:
            EngineError: as `predict` does.
        """
        plan, count = plan.trimmed(), positions_BP.shape[1]
        fed = [state if plan.whole else state.gather(1, plan.feed_BQ) for state in states]
        wanted = self._rows_of(positions_BP, plan, states[0].shape[1], required_BP), None
        inputs = self._inputs(fed[0], states[0], plan, canvas, 1, wanted, need)
        output = self._run(in_columns(inputs, fed), need, plan)
        self._keep(output, plan, states[0], fed[0])
        whole = Prediction(pack=output.pack, logits_BPV=output.logits_BSV)
        places = [slice(count * number, count * (number + 1)) for number in range(len(states))]
        return [part_of(whole, slice(None), each) for each in places]

    def refine(
        self,
        ids_BN: Tensor,
        canvas: Canvas,
        positions_BP: Tensor,
        plan: Plan,
        need: Need,
        required_BP: Tensor,
        latents: Latents,
    ) -> tuple[Prediction, Latents]:
        """Run one pass that refines the latents of the positions that the plan computes.

        Raises:
            EngineError: as `predict` does, or the network has no latents.
        """
        if "latents" not in self.info.capabilities:
            raise EngineError(
                f"the engine '{self.info.engine}' cannot refine latents of this model",
                hint="use a looped model, on the torch engine without `compile`",
            )
        plan, columns = plan.trimmed(), ids_BN.shape[1]
        ids_BQ = ids_BN.gather(1, plan.feed_BQ)
        wanted = self._rows_of(positions_BP, plan, columns, required_BP), None
        inputs = self._inputs(ids_BQ, ids_BN, plan, canvas, 1, wanted, need)
        inputs = attrs.evolve(inputs, latents=latents.fed(plan.feed_BQ))
        output = self._run(inputs, need, plan)
        self._keep(output, plan, ids_BN, ids_BQ)
        assert output.latents is not None  # noqa: S101 - the network was fed some
        prediction = Prediction(pack=output.pack, logits_BPV=output.logits_BSV)
        return prediction, latents.updated(output.latents, plan.places_BN(columns))

    @contextmanager
    def only_if(self, proviso: Tensor) -> Iterator[None]:
        """Let passes store something only if `proviso`, a single bool on the device, is true.

        Passes whose size hangs on tensors are not begun: they raise `SizeUnknownError`.
        """
        self.proviso, self._sized_only = proviso, True
        try:
            yield
        finally:
            self.proviso, self._sized_only = None, False

    def saved(self) -> SavedSession:
        """What to return to should the next pass, which stores nothing then, be unwanted."""
        return SavedSession(self.counts, None if self.store is None else self.store.tag_BN)

    def return_to(self, saved: SavedSession) -> None:
        """Forget what has happened since."""
        self._account.counts, self.features = saved.counts, None
        if saved.tag_BN is None:
            self.store = None
        elif self.store is not None:
            self.store.tag_BN = saved.tag_BN

    @contextmanager
    def recorded(self, tag_BN: Tensor | None, proviso: Tensor | None) -> Iterator[None]:
        """Run a pass over a store with these tags, and forget it but for the keys and values.

        What it stores hangs on `proviso`, if there is one (see `only_if`).

        Raises:
            NotRecordableError: the pass keeps something in memory that it makes.
        """
        kept, reads, store, saved = self.kept, self.reads, self.store, self.saved()
        before, self.proviso = (self.proviso, self._sized_only), proviso
        self.kept, self.reads, self._sized_only = Kept(), None, True
        if store is not None and tag_BN is not None:
            store.tag_BN = tag_BN
        try:
            yield
            if self.features is not None or self.store is not store:
                raise NotRecordableError("the pass makes room for what later passes read")
        finally:
            self.return_to(saved)
            self.kept, self.reads = kept, reads
            self.proviso, self._sized_only = before

    def repeated(self, counts: Counts, tag_BN: Tensor | None) -> None:
        """Account for a recorded pass, which has stored keys and values by itself."""
        self._account.counts = self.counts.with_more(counts)
        if self.store is not None and tag_BN is not None:
            self.store.tag_BN = tag_BN
            self.store.changes += 1

    def follow(self, layout: Layout) -> None:
        """Keep what is stored for positions that stay where they are; layers start afresh."""
        self.features = None
        if self.store is not None:
            self.store.follow(layout)

    def stored_of(self, row_R: Tensor) -> Store | None:
        """A store of its own with these rows of what is stored; None: nothing is."""
        if self.store is None:
            return None
        kept = attrs.evolve(self.store)
        kept.reorder(row_R)
        return kept

    def _run(self, inputs: NetworkInputs, need: Need, plan: Plan) -> NetworkOutput:
        """One pass of the network, on the account; it is prefill if it finds nothing stored."""
        output = self.network.forward(inputs, need)
        if not self.counts.forwards:
            _refuse_no_numbers(output)
        rows, fed = inputs.ids_BQ.shape
        work = rows * fed if output.computed is None else output.computed
        begun = self.store is not None and self.store.begun
        first = plan.commit_BQ is not None and not begun
        first = first or (plan.layer_steps is not None and self.features is None)
        self._account.counts = self.counts.plus(rows=rows, fed=work, prefill=first)
        return output

    def _shown(self, ids_BN: Tensor, canvas: Canvas) -> Tensor:
        """The ids that are fed for a canvas."""
        if canvas.mask_id == self.info.mask_id:
            return ids_BN
        # A network without a mask token is fed any other: what matters does not see it.
        return torch.where(ids_BN == canvas.mask_id, self.info.mask_id or 0, ids_BN)

    def _inputs(
        self,
        ids_BQ: Tensor,
        ids_BN: Tensor,
        plan: Plan,
        canvas: Canvas,
        repeat: int,
        wanted: tuple[Tensor, Tensor | None],
        need: Need,
    ) -> NetworkInputs:
        """What is fed, what it sees, and what is wanted: rows of the fed ones and their tokens."""
        past, new = self._masks(plan, canvas)
        if past is not None and self.checked:
            self._refuse_empty_reads(past, repeat)
        content = None if past is None or plan.layers_BNY is not None else self._content(ids_BN)
        if past is not None and plan.layers_BNY is not None:
            self.reads = self._reads(plan, past, self._store(ids_BN))
            content, past = self.reads.content, self.reads.mask(past)
        watch_BQ = plan.watch_BQ if "relevance" in need.taps else None
        inputs = NetworkInputs(
            ids_BQ=ids_BQ,
            positions_BQ=repeated(plan.feed_BQ, repeat),
            want_BS=wanted[0],
            mask_new_B1QQ=None if new is None else repeated(new, repeat),
            past=content,
            mask_past_B1QC=None if past is None else repeated(past, repeat),
            current_BS=wanted[1],
            watch_BQ=None if watch_BQ is None else repeated(watch_BQ, repeat),
            noise_B=noise_level(self.info, canvas, repeat),
        )
        if self.info.cache_slots is None:
            return inputs
        store = self._store(ids_BN)
        refuse_strangers(self.info, plan, len(ids_BN), store)
        return over_the_store(inputs, plan, store, self.kept)

    def _keep(self, output: NetworkOutput, plan: Plan, ids_BN: Tensor, ids_BQ: Tensor) -> None:
        """Store what the plan keeps; canvases that share a store keep what the first computes."""
        if output.fresh is None:
            self._note_written(plan, self._store(ids_BN), ids_BQ)
        elif plan.commit_BQ is not None:
            store = self._store(ids_BN)
            own, repeat = len(store.tag_BN), len(ids_BQ) // len(plan.feed_BQ)
            feed_BQ = repeated(plan.feed_BQ, repeat)[:own]
            keep_BQ = repeated(self._kept_BQ(plan.commit_BQ), repeat)[:own]
            fresh = first_rows(output.fresh, own, feed_BQ.shape[1])
            store.commit(fresh, feed_BQ, keep_BQ, ids_BQ[:own])

    def _note_written(self, plan: Plan, store: Store, ids_BQ: Tensor) -> None:
        """Let the store know what the network has left in it; once, where that says all."""
        repeat = len(ids_BQ) // len(plan.feed_BQ)
        target_BQ = repeated(places_BQ(plan, self.kept), repeat)
        if plan.commit_BQ is not None:
            store.written(target_BQ, repeated(plan.commit_BQ, repeat), ids_BQ)
            return
        self.kept.of("lost", (plan, store, store.changes), lambda: store.lost(target_BQ))

    def _kept_BQ(self, commit_BQ: Tensor) -> Tensor:
        """What is stored of a pass that may be unwanted."""
        return commit_BQ if self.proviso is None else commit_BQ & self.proviso

    def _masks(self, plan: Plan, canvas: Canvas) -> tuple[Tensor | None, Tensor | None]:
        """What fed positions see of the store and of each other."""
        pattern, inside_BN = self.info.attention, canvas.inside_BN
        masked_BN = canvas.masked_BN if pattern.kind == "masks-last" else None
        return self.kept.of(
            "masks",
            (plan, inside_BN, masked_BN),
            lambda: masks(pattern, plan, inside_BN, ragged=canvas.ragged, masked_BN=masked_BN),
        )

    def _rows_of(
        self, want_BP: Tensor, plan: Plan, columns: int, required_BP: Tensor | None
    ) -> Tensor:
        """Index into the fed positions of the row that predicts each wanted position.

        It is 0 where no row does and none is required.
        """
        shift = self.info.logit_shift
        source_BP = (want_BP - shift).clamp_min(0) if shift else want_BP
        if plan.whole:
            return source_BP
        rows_BP = plan.places_BN(columns).gather(1, source_BP)
        missing_BP = rows_BP < 0 if required_BP is None else (rows_BP < 0) & required_BP
        if self.checked and bool(missing_BP.any()):
            raise EngineError(
                "the cache policy's plan does not feed a position whose prediction is wanted",
                hint="feed every wanted position (shifted families: also the one before it)",
            )
        return rows_BP.clamp_min(0)

    def _refuse_empty_reads(self, past_B1QN: Tensor, repeat: int) -> None:
        tag_BN = None if self.store is None else self.store.tag_BN
        parts = past_B1QN, tag_BN
        if self.kept.of("empty", parts, lambda: self._reads_empty(past_B1QN, repeat)):
            if self.info.cache_slots is not None:
                raise lost_reads(self.info)
            raise EngineError(
                "the cache policy's plan reads a position that was never stored",
                hint="mark a position as cached only after a plan that commits it",
            )

    def _reads(self, plan: Plan, past_B1QN: Tensor, store: Store) -> LayerReads:
        """What the plan's layers read, as gathered before if nothing has changed since."""
        if self.reads is not None and self.reads.hold(plan, store):
            return self.reads
        if self.checked and bool(strays(plan, past_B1QN).any()):
            raise EngineError(
                "a layer of the cache policy's plan reads a position that the plan does not read",
                hint="narrow `layers_BNY` to positions that are marked as cached and not computed",
            )
        return LayerReads.of(plan, store, self.info.attention)

    def _reads_empty(self, past_B1QN: Tensor, repeat: int) -> bool:
        read_BN = repeated(past_B1QN.any(dim=2)[:, 0], repeat)
        filled_BN = torch.zeros_like(read_BN) if self.store is None else self.store.filled_BN
        filled_BN = repeated(filled_BN, len(read_BN) // len(filled_BN))
        return bool((read_BN & ~filled_BN).any())

    def _content(self, ids_BN: Tensor) -> KeyValues:
        """What is stored, for every canvas; several may share one store."""
        store = self._store(ids_BN)
        times = len(ids_BN) // len(store.tag_BN)
        if times == 1:
            return store.content
        keys, values = store.content.keys_YBGCE, store.content.values_YBGCE
        return KeyValues(
            keys_YBGCE=keys.repeat(1, times, 1, 1, 1), values_YBGCE=values.repeat(1, times, 1, 1, 1)
        )

    def _store(self, ids_BN: Tensor) -> Store:
        if self.store is None:
            self.store = Store.allocate(self.info, *ids_BN.shape)
        return self.store


def _refuse_no_numbers(output: NetworkOutput) -> None:
    if not bool(output.pack.lse_BP.isfinite().all()):
        raise EngineError(
            "the network predicts NaN or infinite values instead of probabilities",
            hint="its weights may be damaged (download them again), or the number format may be "
            "too narrow for them (try --dtype float32)",
        )
