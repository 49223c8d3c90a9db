"""Time that each rule takes to decide one step, from predictions that are already there.

One row, a block of 32 positions, a vocabulary of 126464 tokens, two CPU threads.  Every registered
component of a deciding role is measured: a call of its method, with `advance` where the rule has a
memory.  The bar is 1.5 ms for rules that read the score pack.  Rules that read full logits are
listed with what they cost, and have no bar.  Prints a JSON report and exits with 1 where a rule
misses the bar; `--write` also writes docs/reference/decision-time.md.

    python tests/benchmarks/decision_time.py --write

Legend: B rows, N canvas positions, P window positions, V vocabulary.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click
import tokenizers
import torch

from dlmkit.canvas import Canvas
from dlmkit.loop.memory import Memory
from dlmkit.loop.proposal import Proposal
from dlmkit.models.tokenizer import Tokenizer
from dlmkit.need import Need
from dlmkit.noise import Noise
from dlmkit.outcome import Outcome
from dlmkit.passes.taps import Taps
from dlmkit.plugins import get_plugins
from dlmkit.prediction import Prediction, score_pack
from dlmkit.testing.conformance.calls import call
from dlmkit.testing.conformance.scenes import Scene, needs_of
from dlmkit.testing.examples import example_of
from dlmkit.testing.toy import toy_network
from dlmkit.view import View, whole_region, window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

BAR_MS, WIDTH, VOCABULARY = 1.5, 32, 126464
PROMPT, DECIDED = 3, 4
ROLES = (
    "transfer",
    "confidence",
    "guard",
    "exit",
    "revise",
    "stop",
    "length",
    "sample",
    "inputs",
    "blocks",
    "guide",
    "logits",
)
ALL = Need(top=5, entropy=True, current=True, logits=True)
PAGE = Path(__file__).parents[2] / "docs/reference/decision-time.md"


@attrs.frozen
class Cost:
    """What a call takes: medians of wall time and of processor time over all threads, in ms."""

    wall_ms: float
    cpu_ms: float


def scene(strategy: Any, logits_BPV: Tensor) -> Scene:
    """The second step of a block, with everything proposed."""
    info = attrs.evolve(
        toy_network().info,
        vocab_size=VOCABULARY,
        mask_id=VOCABULARY - 1,
        tokenizer=_tokenizer(),
    )
    canvas = Canvas.create([list(range(1, PROMPT + 1))], WIDTH, VOCABULARY - 1)
    span = whole_region(canvas)
    positions_BP, inside_BP = window(span.start_B, span.stop_B, WIDTH, WIDTH + PROMPT)
    canvas.commit(positions_BP, torch.arange(WIDTH)[None] < DECIDED, positions_BP, 0)
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
        memory=Memory(strategy, canvas, VOCABULARY, layers=info.layers).values,
    )
    pack = score_pack(logits_BPV, ALL, view.tokens_BP)
    prediction = Prediction(
        pack=pack,
        logits_BPV=logits_BPV,
        shadow=Prediction(pack=pack),
        taps=_taps(canvas, info.layers),
    )
    confidence_BP = pack.top_logp_BPK[..., 0].exp().masked_fill(~view.eligible_BP, -torch.inf)
    proposal = Proposal(
        prediction=prediction,
        tokens_BP=pack.top_ids_BPK[..., 0],
        confidence_BP=confidence_BP,
    )
    return Scene(
        view=view.proposing(proposal),
        prediction=prediction,
        proposals_BP=proposal.tokens_BP,
        confidence_BP=confidence_BP,
        commit_BP=view.eligible_BP,
    )


def _tokenizer() -> Tokenizer:
    """As many words as there are tokens; the first ones are letters."""
    words = {chr(ord("a") + each) if each < 20 else f"<{each}>": each for each in range(VOCABULARY)}
    return Tokenizer(tokenizers.Tokenizer(tokenizers.models.WordLevel(words)))


def _taps(canvas: Canvas, layers: int) -> Taps:
    """What attention saw: everything alike."""
    seen_BN = canvas.inside_BN.float()
    return Taps(relevance_BNY=seen_BN[..., None].expand(-1, -1, layers), rollout_BN=seen_BN)


def step_of(strategy: Any, given: Scene) -> Callable[[], Any]:
    """One call as the loop makes it, with nothing worked out before."""

    def step() -> None:
        view = given.view.proposing(attrs.evolve(given.view.proposal))
        call(strategy, attrs.evolve(given, view=view))
        if strategy.state:
            strategy.advance(Outcome.of(view, given.commit_BP, view.tokens_BN, view.tokens_BN))

    return step


def cost(step: Callable[[], Any], repeats: int) -> Cost:
    """Medians over calls, after some for warming up."""
    wall, cpu = [], []
    for number in range(repeats + 3):
        start = time.perf_counter(), time.process_time()
        step()
        if number >= 3:
            wall.append(1000 * (time.perf_counter() - start[0]))
            cpu.append(1000 * (time.process_time() - start[1]))
    return Cost(round(statistics.median(wall), 3), round(statistics.median(cpu), 3))


def rules() -> Iterator[Any]:
    """An example of every registered component of a deciding role."""
    registry = get_plugins().registry
    classes = [offer.cls for role in registry.roles() for offer in registry.offers(role)]
    for role in ROLES:
        for offer in registry.offers(role):
            yield example_of(offer.cls, classes)


def measure(repeats: int) -> tuple[dict[str, Cost], dict[str, Cost]]:
    """The cost of every rule by role and name: from the score pack, and from full logits."""
    generator = torch.Generator().manual_seed(0)
    logits_BPV = 3 * torch.randn(1, WIDTH, VOCABULARY, generator=generator)
    from_pack: dict[str, Cost] = {}
    from_logits: dict[str, Cost] = {}
    for strategy in rules():
        kept = from_logits if needs_of(strategy).logits else from_pack
        found = cost(step_of(strategy, scene(strategy, logits_BPV)), repeats)
        kept[f"{strategy.role} {strategy.name}"] = found
    return from_pack, from_logits


@click.command()
@click.option("--threads", default=2, show_default=True)
@click.option("--repeats", default=50, show_default=True)
@click.option("--write", is_flag=True, help="Write the page of the documentation.")
def main(threads: int, repeats: int, write: bool) -> None:
    """Measure every registered rule, report, and compare with the bar."""
    torch.set_num_threads(threads)
    from_pack, from_logits = measure(repeats)
    report = {"from_pack": from_pack, "from_logits": from_logits}
    print(json.dumps(report, indent=2, default=attrs.asdict))
    if write:
        PAGE.write_text(page(from_pack, from_logits, threads), "utf-8")
    slow = sorted(name for name, each in from_pack.items() if each.wall_ms > BAR_MS)
    if slow:
        print(f"above {BAR_MS} ms: {', '.join(slow)}", file=sys.stderr)
    sys.exit(bool(slow))


def page(from_pack: dict[str, Cost], from_logits: dict[str, Cost], threads: int) -> str:
    """The page of the documentation."""
    slowest = max(each.wall_ms for each in from_pack.values())
    return HEAD.format(
        threads=threads,
        torch=torch.__version__,
        bar=BAR_MS,
        slowest=slowest,
        missed=sum(each.wall_ms > BAR_MS for each in from_pack.values()),
        pack=table(from_pack),
        logits=table(from_logits),
    )


def table(costs: dict[str, Cost]) -> str:
    """One row for each rule, the slowest first."""
    ordered = sorted(costs.items(), key=lambda each: (-each[1].cpu_ms, each[0]))
    rows = (
        f"| {' | '.join(name.split(' ', 1))} | {each.wall_ms:.3f} | {each.cpu_ms:.3f} |\n"
        for name, each in ordered
    )
    return "| role | rule | wall, ms | processor, ms |\n|---|---|---|---|\n" + "".join(rows)


HEAD = """\
<!-- Written by tests/benchmarks/decision_time.py --write; do not edit. -->

# Time to decide

What each rule takes to decide one step, from a prediction that is already there: one row, a block
of 32 positions, a vocabulary of 126464 tokens. Each line is the median of a call of the rule's
method, with the update of its memory where it has one: time that passes, and processor time of all
threads. Every registered component of these roles is there; combinators hold plain members.

    python tests/benchmarks/decision_time.py --write

Measured with --threads {threads} and PyTorch {torch}. Where other processes share the cores,
processor time is the number to read.

## From the score pack

The bar is {bar} ms. The slowest takes {slowest} ms; {missed} miss the bar.

{pack}
## From full logits

These read the distribution over the whole vocabulary at every position, 4 million numbers here, so
they cost passes over memory: at least one, some many. There is no bar for them, and what they cost
comes on top of what an engine spends on handing logits out. `categorical` draws a Gumbel number in
float64 for each of the numbers; `top-p` sorts them.

{logits}"""


if __name__ == "__main__":
    main()
