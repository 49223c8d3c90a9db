"""Counting where decodes go: `python -m dlmkit_strategies.self_speculation.count_ranks PIPELINE`.

Prints the graph of states that the drafter `rank-graph` is best given, for one model and one way of
decoding.  Source: Spiffy (arXiv:2509.18085), its offline calibration.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice

import attrs
import click
from rich.console import Console
from rich.progress import track

from dlmkit import Runner, load_spec
from dlmkit.builtin.tasks import TASKS, draw
from dlmkit.canvas import Canvas
from dlmkit.denoise import Denoise
from dlmkit.draft_verify.kernel import DraftVerify
from dlmkit.draft_verify.stepper import Mark, Stepper
from dlmkit.errors import DlmkitError, RequestError
from dlmkit.need import Need
from dlmkit.outcome import Outcome
from dlmkit.passes.session import Session
from dlmkit_strategies.kernels import rank

__all__ = ["RankCounts", "taken_steps"]

Reveal = tuple[int, int]
State = tuple[Reveal, ...]

BATCH = 25
"""Prompts that are decoded together."""


@attrs.frozen
class RankCounts:
    """How often decodes came to each state, and to which states after which."""

    counts: dict[State, int] = attrs.field(factory=dict)
    parents: dict[State, set[State]] = attrs.field(factory=dict)

    def add(self, steps: Sequence[Outcome], depth: int, tokens: int) -> None:
        """Count every state within so many steps of each, tokens up to that rank."""
        for number, reference in enumerate(steps):
            for row in range(len(reference.before_BN)):
                state: State = ()
                for added in _reveals(
                    reference, steps[number + 1 : number + 1 + depth], row, tokens
                ):
                    before, state = state, tuple(sorted((*state, *added)))
                    self.counts[state] = self.counts.get(state, 0) + 1
                    self.parents.setdefault(state, set()).add(before)

    def graph(self, nodes: int) -> list[State]:
        """The states come to most often, each after one that is in; ties: the shorter one."""
        chosen: list[State] = []
        while len(chosen) < nodes:
            within = {(), *chosen}
            open_ = [each for each in self.counts if each not in within]
            open_ = [each for each in open_ if self.parents[each] & within]
            if not open_:
                break
            chosen.append(min(open_, key=lambda each: (-self.counts[each], len(each), each)))
        return chosen


def _reveals(
    reference: Outcome, later: Sequence[Outcome], row: int, tokens: int
) -> Iterator[list[Reveal]]:
    """What each later step decided, in ranks of the reference; up to what it did not name."""
    view = reference.view
    left_BP = view.eligible_BP & ~reference.commit_BP
    rank_P = rank(reference.confidence_BP, left_BP)[row].tolist()
    named = {
        position: rank_P[column] + 1
        for column, position in enumerate(view.positions_BP[row].tolist())
        if left_BP[row, column]
    }
    columns = {each: column for column, each in enumerate(view.positions_BP[row].tolist())}
    ids_PK = reference.prediction.filtered.pack.top_ids_BPK[row].tolist()
    for step in later:
        changed_N = step.before_BN[row] != step.after_BN[row]
        places = changed_N.nonzero()[:, 0].tolist()
        chosen = [int(step.after_BN[row, place]) for place in places]
        candidates = [
            [each for each in ids_PK[columns[place]] if each != view.info.mask_id][:tokens]
            if place in named
            else []
            for place in places
        ]
        pairs = list(zip(places, chosen, candidates, strict=True))
        if not pairs or any(token not in known for _, token, known in pairs):
            return
        yield [(named[place], known.index(token) + 1) for place, token, known in pairs]


def taken_steps(pipeline: Denoise, session: Session, canvas: Canvas, tokens: int) -> list[Outcome]:
    """Decode the canvas in place, without a cache, and return every step."""
    stepper = Stepper(attrs.evolve(pipeline, cache=None), session, 0, Need(top=tokens + 1))
    past, steps = Mark.none(canvas.start_B), list[Outcome]()
    while bool((canvas.masked_BN & canvas.undone_B1).any()):
        view = stepper.view(stepper.first(canvas, len(steps)), past)
        view, prediction = stepper.predict(view)
        steps.append(stepper.decide(view, prediction, canvas))
        past = Mark.of(view)
    return steps


def task_prompts(count: int) -> list[str]:
    """So many prompts of each built-in task that has any, from its training side."""
    return [
        each.prompt
        for task, generator in TASKS.items()
        for each in islice(draw(generator, f"ranks {task}", held_out=False), count)
        if not each.whole_text
    ]


def counted(runner: Runner, prompts: list[str], depth: int, tokens: int) -> RankCounts:
    """Decode the prompts as the verifier of the pipeline would alone, and count its states.

    Raises:
        RequestError: there are no prompts, or the pipeline checks no drafts.
    """
    procedure, found = runner.document.pipeline, RankCounts()
    if not isinstance(procedure, DraftVerify):
        raise RequestError("the pipeline checks no drafts", hint="choose one, such as spiffy")
    if not prompts:
        raise RequestError("no prompt was given", hint="give some, or write --tasks 20")
    console = Console(stderr=True)
    batches = [prompts[first : first + BATCH] for first in range(0, len(prompts), BATCH)]
    for batch in track(batches, "counting", console=console, disable=not console.is_terminal):
        decode = runner.start(runner.encode(batch))
        session = decode.context.session(procedure.verifier.model)
        steps = taken_steps(procedure.verifier, session, decode.canvas, tokens)
        found.add(steps, depth, tokens)
    return found


@click.command()
@click.argument("pipeline")
@click.argument("prompts", nargs=-1)
@click.option("--tasks", type=click.IntRange(0), default=0, help="Prompts of each built-in task.")
@click.option("--nodes", type=click.IntRange(1), default=8, show_default=True, help="States.")
@click.option("--depth", type=click.IntRange(1), default=4, show_default=True, help="Steps ahead.")
@click.option("--tokens", type=click.IntRange(1), default=3, show_default=True, help="Token ranks.")
@click.option("--set", "changes", multiple=True, help="Change the pipeline, KEY=VALUE.")
def main(
    pipeline: str,
    prompts: tuple[str, ...],
    tasks: int,
    nodes: int,
    depth: int,
    tokens: int,
    changes: tuple[str, ...],
) -> None:
    """Count the states of the verifier's decodes and print the best graph."""
    try:
        runner = Runner.load(load_spec(pipeline, list(changes)))
        found = counted(runner, [*prompts, *task_prompts(tasks)], depth, tokens)
    except DlmkitError as error:
        raise click.ClickException(str(error)) from error
    click.echo(json.dumps(found.graph(nodes)))


if __name__ == "__main__":
    main()
