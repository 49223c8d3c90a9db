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
from dlmkit.key_values.store import Store
from dlmkit.layout import Layout
from dlmkit.need import Need
from dlmkit.network import Network, NetworkInfo, NetworkInputs, NetworkOutput
from dlmkit.passes.abilities import in_layer_steps, refuse_taps, with_mixture
from dlmkit.passes.fed import Fed
from dlmkit.passes.inputs import inputs_of, shown
from dlmkit.passes.keeping import keep
from dlmkit.passes.plan import Plan
from dlmkit.passes.shadows import Shadows
from dlmkit.passes.taps import Taps
from dlmkit.passes.variants import predictions_of
from dlmkit.prediction import Prediction
from dlmkit.recorded.recorder import CudaGraphs, Recorder

if TYPE_CHECKING:
    from dlmkit.key_values.layer_reads import LayerReads
    from dlmkit.models.tokenizer import Tokenizer
    from dlmkit.passes.layer_steps import Features
    from dlmkit.roles import Mixture

__all__ = ["SavedSession", "Session", "SizeUnknownError"]


class SizeUnknownError(Exception):
    """The size of a pass that may be unwanted cannot be told without waiting for the device."""


@attrs.define
class _Account:
    """What sessions on one network have executed together."""

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
        self.account = _Account()
        self.proviso: Tensor | None = None
        self.sized_only = False

    def sibling(self) -> Session:
        """A session with a store of its own on the same network; both share one account."""
        twin = Session(
            self.network,
            checked=self.checked,
            runs_ahead=self.runs_ahead,
            recorder=self.recorder,
            tokenizer=self.tokenizer,
        )
        twin.account = self.account
        return twin

    @property
    def counts(self) -> Counts:
        """What was executed."""
        return self.account.counts

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
        if self.sized_only and not plan.sized:
            raise SizeUnknownError
        variants_N = torch.cat(list(variants)) if len(variants) > 1 else variants[0]
        ids_RN, times = shown(self, variants_N, canvas), len(variants)
        fed = Fed.of(self, plan, positions_BP, ids_RN.shape[1], required_BP, times)
        plan, current_RP = fed.plan, ids_RN.gather(1, fed.want_RP) if need.current else None
        inputs = inputs_of(self, fed, ids_RN, canvas, need, current_RP)
        ids_RQ = inputs.ids_BQ
        if mixture is not None:
            inputs = with_mixture(self.info, inputs, mixture, plan, times)
        if plan.layer_steps is not None:
            alone = plan.shadow_BH is None and mixture is None and not need.taps
            steps = plan.layer_steps.repeated(times)
            inputs = in_layer_steps(self.info, inputs, steps, self.features, alone=alone)
        if plan.shadow_BH is not None:
            inputs = Shadows.of(plan, self.info).extend(inputs, ids_RN, canvas)
            need = attrs.evolve(need, current=True)
        if need.taps:
            refuse_taps(self.info, need)
        output = self.run(inputs, need, plan)
        self.features = output.features
        keep(self, output, plan, ids_RN, ids_RQ)
        predictions = predictions_of(output, times, positions_BP.shape[1])
        if need.taps:
            predictions[0] = attrs.evolve(predictions[0], taps=Taps.of(output, plan, canvas))
        return predictions

    @contextmanager
    def only_if(self, proviso: Tensor) -> Iterator[None]:
        """Let passes store something only if `proviso`, a single bool on the device, is true.

        Passes whose size hangs on tensors are not begun: they raise `SizeUnknownError`.
        """
        self.proviso, self.sized_only = proviso, True
        try:
            yield
        finally:
            self.proviso, self.sized_only = None, False

    def saved(self) -> SavedSession:
        """What to return to should the next pass, which stores nothing then, be unwanted."""
        return SavedSession(self.counts, None if self.store is None else self.store.tag_BN)

    def return_to(self, saved: SavedSession) -> None:
        """Forget what has happened since."""
        self.account.counts, self.features = saved.counts, None
        if saved.tag_BN is None:
            self.store = None
        elif self.store is not None:
            self.store.tag_BN = saved.tag_BN

    def follow(self, layout: Layout) -> None:
        """Keep what is stored for positions that stay where they are; layers start afresh."""
        self.features = None
        if self.store is not None:
            self.store.follow(layout)

    def stored_of(self, row_R: Tensor) -> Store | None:
        """A store of its own with these rows of what is stored; None: nothing is."""
        return None if self.store is None else self.store.of_rows(row_R)

    def run(self, inputs: NetworkInputs, need: Need, plan: Plan) -> NetworkOutput:
        """One pass of the network, on the account; it is prefill if it finds nothing stored."""
        output, before = self.network.forward(inputs, need), self.account.counts
        if not before.forwards:
            _refuse_no_numbers(output)
        rows, fed = inputs.ids_BQ.shape
        work = rows * fed if output.computed is None else output.computed
        begun = self.store is not None and self.store.begun
        first = plan.commit_BQ is not None and not begun
        first = first or (plan.layer_steps is not None and self.features is None)
        self.account.counts = before.plus(rows=rows, fed=work, prefill=first)
        return output

    def room(self, ids_RN: Tensor) -> Store:
        """The store, which is made for canvases of this size if there is none yet."""
        if self.store is None:
            self.store = Store.allocate(self.info, *ids_RN.shape)
        return self.store


def _refuse_no_numbers(output: NetworkOutput) -> None:
    if not bool(output.pack.lse_BP.isfinite().all()):
        raise EngineError(
            "the network predicts NaN or infinite values instead of probabilities",
            hint="its weights may be damaged (download them again), or the number format may be "
            "too narrow for them (try --dtype float32)",
        )
