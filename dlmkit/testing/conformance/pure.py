"""Promises of every strategy about its pure method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import torch
from torch import Tensor

from dlmkit.loop.memory import Memory, parts
from dlmkit.outcome import Outcome
from dlmkit.roles import Strategy
from dlmkit.testing.conformance.calls import Output, call, difference, outputs
from dlmkit.testing.conformance.case import Check, require
from dlmkit.testing.conformance.scenes import ALL, EVERYTHING, Scene, rows, scene
from dlmkit.testing.host_reads import host_reads

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PURE", "scenes_for"]


def scenes_for(strategy: Any, *names: str) -> Iterator[Scene]:
    """The rows of these names (default: all) in each kind of window the strategy may meet.

    A strategy that reads the current block also meets windows over the whole region, when
    another one asks for them.
    """
    for region in (True,) if strategy.span == "region" else (False, True):
        yield scene(strategy, rows(*names), region=region)


def _writes_to_no_input(strategy: Any) -> None:
    for each in scenes_for(strategy):
        before = [(name, tensor, tensor.clone()) for name, tensor in _tensors("", each)]
        call(strategy, each)
        for name, now, then in before:
            require(
                torch.equal(now.nan_to_num(), then.nan_to_num()), f"it changed its input {name}"
            )


def _tensors(name: str, value: Any) -> Iterator[tuple[str, Tensor]]:
    """Every tensor below a value, with its path."""
    if isinstance(value, Tensor):
        yield name.lstrip("."), value
    elif attrs.has(type(value)):
        for field in attrs.fields(type(value)):
            yield from _tensors(f"{name}.{field.name}", getattr(value, field.name))


def _gives_the_same_result_twice(strategy: Any) -> None:
    twin = attrs.evolve(strategy)
    for one, other in zip(scenes_for(strategy), scenes_for(twin), strict=True):
        found = difference(outputs(strategy, one), outputs(twin, other))
        require(found is None, f"two objects with the same options differ: {found}")


def _gives_a_row_what_it_gives_it_alone(strategy: Any) -> None:
    for number, name in enumerate(ALL):
        for together, alone in zip(scenes_for(strategy), scenes_for(strategy, name), strict=True):
            left = _row(outputs(strategy, together), number, together, alone)
            right = _row(outputs(strategy, alone), 0, alone, alone)
            found = difference(left, right)
            require(found is None, f"row '{name}' in a batch and alone: {found}")


def _row(found: list[Output], number: int, scene: Scene, alone: Scene) -> list[Output]:
    """Cut results to one row, without filler and padding."""
    columns = alone.view.tokens_BN.shape[1]
    inside_P = scene.view.inside_BP[number]
    cut = {
        "row": lambda x: x[number],
        "window": lambda x: x[number][inside_P],
        "canvas": lambda x: x[number, :columns],
    }
    return [attrs.evolve(each, tensor=cut[each.per](each.tensor)) for each in found]


def _works_for_a_row_with_nothing_eligible(strategy: Any) -> None:
    for name in ("everything decided", "stopped row"):
        for each in scenes_for(strategy, name):
            call(strategy, each)


def _reads_nothing_on_the_host(strategy: Any) -> None:
    for each in scenes_for(strategy):
        with host_reads() as reads:
            call(strategy, each)
        require(not reads, f"it reads tensor values on the host: {', '.join(reads)}")


def _reads_only_what_it_declares(strategy: Any) -> None:
    region = strategy.span == "region"
    lean = scene(strategy, rows(), region=region)
    rich = scene(strategy, rows(), region=region, need=EVERYTHING)
    found = difference(outputs(strategy, lean), outputs(strategy, rich))
    require(found is None, f"more statistics than it declares change the result: {found}")


def _keeps_its_state_as_declared(strategy: Any) -> None:
    for each in scenes_for(strategy):
        info = each.view.info
        memory = Memory(strategy, each.view.canvas, info.vocab_size, layers=info.layers)
        view = attrs.evolve(each.view, memory=memory.values)
        before = _state(strategy, view)
        memory.advance(_outcome(each, view))
        after = _state(strategy, attrs.evolve(view, memory=memory.values))
        for name, tensor in before.items():
            require(
                (tensor.shape, tensor.dtype) == (after[name].shape, after[name].dtype),
                f"state {name} is {tensor.dtype} {tuple(tensor.shape)}, but it returned "
                f"{after[name].dtype} {tuple(after[name].shape)}",
            )


def _state(strategy: Any, view: Any) -> dict[str, Tensor]:
    return {
        f"{part.name}.{name}": tensor
        for part in parts(strategy)
        if isinstance(part, Strategy) and id(part) in view.memory
        for name, tensor in view.recall(part).items()
    }


def _outcome(scene: Scene, view: Any) -> Outcome:
    return Outcome(
        view=view,
        prediction=scene.prediction,
        proposals_BP=scene.proposals_BP,
        confidence_BP=scene.confidence_BP,
        commit_BP=scene.commit_BP,
        before_BN=view.tokens_BN,
        after_BN=view.tokens_BN,
    )


PURE: dict[str, Check] = {
    "writes to no input": _writes_to_no_input,
    "gives the same result twice": _gives_the_same_result_twice,
    "gives a row what it gives it alone": _gives_a_row_what_it_gives_it_alone,
    "works for a row with nothing eligible": _works_for_a_row_with_nothing_eligible,
    "reads nothing on the host": _reads_nothing_on_the_host,
    "reads only what it declares": _reads_only_what_it_declares,
    "keeps its state as declared": _keeps_its_state_as_declared,
}
