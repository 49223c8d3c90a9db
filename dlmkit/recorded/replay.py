"""From a run to a recorded step and back: what goes in, what is recorded, what comes out.

Legend: B rows, N canvas positions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import attrs
import torch

from dlmkit.host.flags import EXPECTED
from dlmkit.host.kept import Kept
from dlmkit.loop.tracking import Look
from dlmkit.recorded.passes import account_for, for_recording
from dlmkit.recorded.recorder import SomeSteps
from dlmkit.recorded.step_graphs import After, Before, StepGraphs

if TYPE_CHECKING:
    from collections.abc import Hashable

    from dlmkit.accounts.records import StepRecord
    from dlmkit.loop.place import Place
    from dlmkit.loop.run import Run

__all__ = ["replayed_step"]


def replayed_step(run: Run, look: Look, graphs: StepGraphs) -> StepRecord | None:
    """Take the step from where the rows are to be; None: nothing was done, it has to be written."""
    limit = run.decision.max_steps
    final = limit is not None and run.number >= limit
    resized = run.decision.length is not None
    if run.number == 0 or final or resized or run.session.features is not None:
        return None
    after = graphs.step(_before(run, look), _host(run, look), lambda before: _work(run, before))
    return None if after is None else _taken(run, look, after)


def _before(run: Run, look: Look) -> Before:
    place, store = look.place.copy(), run.session.store
    place.kept, place.settled = Kept(), SomeSteps() if place.settled else 0
    return Before(
        canvas=attrs.evolve(run.canvas, masked=None, undone=None),
        place=place,
        memory=run.memory.values,
        held_B=look.held_B,
        tag_BN=None if store is None else store.tag_BN,
        proviso=run.session.proviso,
        step=torch.full((), run.number, dtype=torch.int64, device=run.canvas.tokens_BN.device),
    )


def _host(run: Run, look: Look) -> tuple[Hashable, ...]:
    """What a step depends on that no tensor says, in so far as it changes within a decode."""
    canvas, place = run.canvas, look.place
    absent = (look.held_B is None, run.session.store is None, run.session.proviso is None)
    sizes = (place.block.width, canvas.region_width, canvas.ragged, bool(place.settled))
    return (*absent, *sizes)


def _work(run: Run, before: Before) -> After:
    """The step and the look after it, of a twin of the run that leaves the run as it is."""
    canvas, place = attrs.evolve(before.canvas), before.place.copy()
    place.kept = Kept()  # what is recorded makes all that it uses
    twin = attrs.evolve(
        run,
        canvas=canvas,
        memory=run.memory.holding(before.memory),
        tracker=attrs.evolve(run.tracker, canvas=canvas, place=place),
        decision=attrs.evolve(run.decision, max_steps=None),
        number=cast("int", before.step),  # no branch can be taken on it
        held_B=before.held_B,
        graphs=None,
    )
    session = run.session
    with for_recording(session, before.tag_BN, before.proviso):
        earlier = session.counts
        look = Look(canvas.snapshot(), place, before.held_B, None, before.place.open_B, None)
        record = twin.written_step(look, EXPECTED)
        record = attrs.evolve(record, step=0, counts=session.counts.since(earlier))
        tag_BN = None if session.store is None else session.store.tag_BN
    reached = twin.tracker.look(twin.held_B, twin.stuck_B)
    return After(
        canvas=attrs.evolve(canvas, masked=None, undone=None),
        place=cast("Place", twin.tracker.place),
        memory=twin.memory.values,
        held_B=twin.held_B,
        stuck_B=twin.stuck_B,
        tag_BN=tag_BN,
        record=record,
        next_place=reached.place,
        moved_B=reached.moved_B,
        left_B=reached.left_B,
    )


def _taken(run: Run, look: Look, after: After) -> StepRecord:
    """Let the run stand where the repeated step has led to."""
    record, place, next_place = after.record, after.place, after.next_place
    run.canvas.take(after.canvas)
    run.memory.return_to(after.memory)
    run.held_B, run.stuck_B = after.held_B, after.stuck_B
    account_for(run.session, record.counts, after.tag_BN)
    place.kept, place.settled = look.place.kept, look.place.settled
    stays = next_place.settled > 0
    next_place.kept = place.kept if stays else Kept()
    next_place.settled = place.settled + 1 if stays else 0
    run.tracker.place = place
    run.next_look = Look(
        run.canvas.snapshot(),
        next_place,
        after.held_B,
        after.moved_B,
        after.left_B,
        after.stuck_B,
    )
    number, run.number = run.number, run.number + 1
    return attrs.evolve(record, step=number, counts=run.session.counts)
