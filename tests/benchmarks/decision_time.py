"""Time that each rule takes to decide one step, from predictions that are already there.

One row, a block of 32 positions, a vocabulary of 126464 tokens, two CPU threads.  The bar is
1.5 ms for a call of `select`, `guard`, `decide`, `revise` or `resize`, with `advance` where the
rule has a memory.  Rules that read full logits are listed with what they cost, and have no bar.
Prints the medians as JSON; exits with 1 where a rule without logits exceeds the bar.

    python tests/benchmarks/decision_time.py

Legend: B rows, N canvas positions, P window positions.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from typing import TYPE_CHECKING, Any

import attrs
import click
import torch

from dlmkit.canvas import Canvas
from dlmkit.memory import Memory
from dlmkit.need import Need
from dlmkit.noise import Noise
from dlmkit.outcome import Outcome
from dlmkit.plugins import get_plugins
from dlmkit.prediction import Prediction, score_pack
from dlmkit.proposal import Proposal
from dlmkit.testing.conformance.scenes import needs_of
from dlmkit.testing.examples import example_of
from dlmkit.testing.toy import toy_network
from dlmkit.view import View, whole_region, window

if TYPE_CHECKING:
    from collections.abc import Callable

BAR_MS, WIDTH, VOCABULARY = 1.5, 32, 126464
ROLES = ("transfer", "guard", "exit", "revise", "length")
ALL = Need(top=5, entropy=True, current=True, logits=True)


def scene(strategy: Any, logits_BPV: torch.Tensor) -> View:
    """The second step of a block, with everything proposed."""
    info = attrs.evolve(toy_network().info, vocab_size=VOCABULARY, mask_id=VOCABULARY - 1)
    canvas = Canvas.create([[1, 2, 3]], WIDTH, VOCABULARY - 1)
    span = whole_region(canvas)
    positions_BP, inside_BP = window(span.start_B, span.stop_B, WIDTH, WIDTH + 3)
    canvas.commit(positions_BP, torch.arange(WIDTH)[None] < 4, positions_BP, 0)
    view = View(
        canvas=canvas,
        info=info,
        noise=Noise(0, canvas.samples_B, 1),
        step=1,
        block=span,
        block_step_B=torch.ones(1, dtype=torch.int64),
        block_masks_B=canvas.initial_masks_B,
        positions_BP=positions_BP,
        inside_BP=inside_BP,
        steps_per_block=WIDTH,
        memory=Memory(strategy, canvas, VOCABULARY).values,
    )
    pack = score_pack(logits_BPV, ALL, view.tokens_BP)
    prediction = Prediction(pack=pack, logits_BPV=logits_BPV)
    confidence_BP = pack.top_logp_BPK[..., 0].exp().masked_fill(~view.eligible_BP, -torch.inf)
    return view.proposing(
        Proposal(
            prediction=prediction,
            tokens_BP=pack.top_ids_BPK[..., 0],
            confidence_BP=confidence_BP,
        )
    )


def step_of(strategy: Any, view: View) -> Callable[[], Any]:
    """One call as the loop makes it, with nothing worked out before."""
    return lambda: _calls_of(strategy, view.proposing(attrs.evolve(view.proposal)))()


def _calls_of(strategy: Any, view: View) -> Callable[[], Any]:
    proposal = view.proposal
    prediction, confidence_BP = proposal.prediction, proposal.confidence_BP
    commit_BP = view.eligible_BP
    calls: dict[str, Callable[[], Any]] = {
        "transfer": lambda: strategy.select(confidence_BP, view),
        "guard": lambda: strategy.guard(commit_BP, confidence_BP, view),
        "exit": lambda: strategy.decide(prediction, confidence_BP, view),
        "revise": lambda: strategy.revise(prediction, view),
        "length": lambda: (strategy.waits(prediction, view), strategy.resize(prediction, view)),
    }
    if not strategy.state:
        return calls[strategy.role]
    outcome = Outcome(
        view=view,
        prediction=prediction,
        proposals_BP=proposal.tokens_BP,
        confidence_BP=confidence_BP,
        commit_BP=commit_BP,
        before_BN=view.tokens_BN,
        after_BN=view.tokens_BN,
    )
    return lambda: (calls[strategy.role](), strategy.advance(outcome))


def median_ms(call: Callable[[], Any], repeats: int) -> float:
    """Median time of a call after one for warming up, in milliseconds."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


@click.command()
@click.option("--threads", default=2, show_default=True)
@click.option("--repeats", default=50, show_default=True)
def main(threads: int, repeats: int) -> None:
    """Measure every registered rule, report, and compare with the bar."""
    torch.set_num_threads(threads)
    registry = get_plugins().registry
    classes = [offer.cls for role in ROLES for offer in registry.offers(role)]
    generator = torch.Generator().manual_seed(0)
    logits_BPV = 3 * torch.randn(1, WIDTH, VOCABULARY, generator=generator)
    from_pack, from_logits = {}, {}
    for cls in classes:
        strategy = example_of(cls, classes)
        call = step_of(strategy, scene(strategy, logits_BPV))
        kept = from_logits if needs_of(strategy).logits else from_pack
        kept[f"{strategy.role} {strategy.name}"] = round(median_ms(call, repeats), 3)
    report = {"bar_ms": BAR_MS, "from_pack_ms": from_pack, "from_logits_ms": from_logits}
    print(json.dumps(report, indent=2))
    sys.exit(max(from_pack.values()) > BAR_MS)


if __name__ == "__main__":
    main()
