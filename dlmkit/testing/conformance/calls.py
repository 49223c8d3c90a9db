"""Calling the pure method of any strategy, with the results laid out for comparison.

Legend: B rows, N canvas positions, P window positions, Q fed positions, V vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import attrs
import torch
from torch import Tensor

from dlmkit.passes.plan import Plan
from dlmkit.prediction import Prediction
from dlmkit.roles import Exit, Mixture, Resize, Revision, Strategy
from dlmkit.testing.conformance.case import BrokenPromiseError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dlmkit.testing.conformance.scenes import Scene

__all__ = ["Output", "call", "difference", "logits_of", "outputs"]


@attrs.frozen(eq=False)
class Output:
    """One tensor that a call returned; its second dimension counts what `per` says."""

    name: str
    tensor: Tensor
    per: Literal["row", "window", "canvas"]


def call(strategy: Any, scene: Scene) -> Any:
    """Call the pure method of the strategy's role and return what it returns."""
    view, prediction = scene.view, scene.prediction
    calls: dict[str, Callable[[], Any]] = {
        "blocks": lambda: strategy.current(view.canvas),
        "inputs": lambda: (strategy.apply(view.tokens_BN, view), strategy.mix(view)),
        "cache": lambda: strategy.plan(view),
        "guide": lambda: _guided(strategy, scene),
        "logits": lambda: strategy.edit(logits_of(prediction), view),
        "sample": lambda: strategy.propose(prediction, view),
        "confidence": lambda: strategy.score(scene.proposals_BP, prediction, view),
        "exit": lambda: strategy.decide(prediction, scene.confidence_BP, view),
        "transfer": lambda: strategy.select(scene.confidence_BP, view),
        "guard": lambda: strategy.guard(scene.commit_BP, scene.confidence_BP, view),
        "revise": lambda: strategy.revise(prediction, view),
        "length": lambda: (strategy.waits(prediction, view), strategy.resize(prediction, view)),
        "stop": lambda: strategy.stop(view),
    }
    return calls[strategy.role]()


def _guided(guide: Any, scene: Scene) -> tuple[list[Tensor], Tensor]:
    variants = list(guide.variants(scene.view.tokens_BN, scene.view))
    logits_BPV = logits_of(scene.prediction)
    # Any two different distributions will do as the predictions under two inputs.
    logits = [logits_BPV * 0.5**number for number in range(len(variants))]
    return variants, guide.combine(logits, scene.view)


def logits_of(prediction: Prediction) -> Tensor:
    """The logits, which a strategy that edits them must have declared.

    Raises:
        BrokenPromiseError: it has not declared them.
    """
    if prediction.logits_BPV is None:
        raise BrokenPromiseError("it must declare `need = Need(logits=True)`")
    return prediction.logits_BPV


def outputs(strategy: Strategy, scene: Scene) -> list[Output]:
    """Call a strategy and name the tensors that it returned."""
    result = call(strategy, scene)
    if result is None:
        return []
    if strategy.role == "blocks":
        fields = ("start_B", "stop_B", "index_B")
        return [Output(name, getattr(result, name), "row") for name in fields]
    if isinstance(result, Plan):
        return _plan(result, scene.view.tokens_BN)
    if isinstance(result, Exit):
        return [Output("rows_B", result.rows_B, "row")]
    if isinstance(result, Revision):
        tokens_BP = result.tokens_BP.masked_fill(~result.where_BP, 0)
        return [
            Output("where_BP", result.where_BP, "window"),
            Output("tokens_BP", tokens_BP, "window"),
        ]
    if strategy.role == "length":
        return _lengths(*result)
    if strategy.role == "inputs":
        return _fed(*result)
    if strategy.role == "guide":
        variants = [Output(f"variant {n}", each, "canvas") for n, each in enumerate(result[0])]
        return [*variants, Output("combined logits", result[1], "window")]
    per: dict[str, Literal["row", "window", "canvas"]] = {"stop": "row"}
    return [Output("the result", result, per.get(strategy.role, "window"))]


def _fed(ids_BN: Tensor, mixture: Mixture | None) -> list[Output]:
    found = [Output("the tokens fed", ids_BN, "canvas")]
    if mixture is None:
        return found
    mixed = Output("mixed tokens", mixture.ids_BNK, "canvas")
    return [*found, mixed, Output("their shares", mixture.weights_BNK, "canvas")]


def _lengths(waiting_B: Tensor | None, resize: Resize | None) -> list[Output]:
    found = [] if waiting_B is None else [Output("waiting rows", waiting_B, "row")]
    if resize is None:
        return found
    inserted = Output("insert_BN", resize.insert_BN, "canvas")
    return [*found, inserted, Output("delete_BN", resize.delete_BN, "canvas")]


def _plan(plan: Plan, tokens_BN: Tensor) -> list[Output]:
    """Which canvas positions are fed, read and kept; the order of feeding does not count."""
    everywhere_BQ = torch.ones_like(plan.feed_BQ, dtype=torch.bool)
    valid_BQ = everywhere_BQ if plan.feed_valid_BQ is None else plan.feed_valid_BQ
    keep_BQ = ~everywhere_BQ if plan.commit_BQ is None else plan.commit_BQ
    cached_BN = torch.zeros_like(tokens_BN, dtype=torch.bool)
    return [
        Output("fed positions", _spread(plan.feed_BQ, valid_BQ, tokens_BN), "canvas"),
        Output("kept positions", _spread(plan.feed_BQ, keep_BQ & valid_BQ, tokens_BN), "canvas"),
        Output("read positions", cached_BN if plan.cached_BN is None else plan.cached_BN, "canvas"),
    ]


def _spread(feed_BQ: Tensor, where_BQ: Tensor, tokens_BN: Tensor) -> Tensor:
    rows, columns = tokens_BN.shape
    target_BQ = torch.where(where_BQ, feed_BQ, columns)
    marks_BM = torch.zeros(rows, columns + 1, dtype=torch.bool)
    return marks_BM.scatter(1, target_BQ, where_BQ)[:, :columns]


def difference(one: list[Output], other: list[Output]) -> str | None:
    """Say where two results differ, or None; floats may differ in their last digits."""
    if [each.name for each in one] != [each.name for each in other]:
        return "one call returned something and the other did not"
    for left, right in zip(one, other, strict=True):
        if left.tensor.shape != right.tensor.shape:
            return f"{left.name} has shapes {_size(left)} and {_size(right)}"
        if not torch.allclose(
            left.tensor.double(), right.tensor.double(), rtol=1e-6, atol=1e-6, equal_nan=True
        ):
            return f"{left.name} is {left.tensor.tolist()} and {right.tensor.tolist()}"
    return None


def _size(output: Output) -> tuple[int, ...]:
    return tuple(output.tensor.shape)
