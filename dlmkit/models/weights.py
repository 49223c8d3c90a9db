"""Filling a model with the tensors of a checkpoint: everything once, nothing twice.

The model is built without memory (on the meta device).  A plan that assigns every stored tensor
to parameters is checked completely before the first weight is read.  Where type and device
already fit, the parameter *is* the memory-mapped file; elsewhere tensors are converted one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, TypeVar

import attrs
import torch
from torch import Tensor, nn

from dlmkit.errors import EngineError, ModelError
from dlmkit.models.free_memory import free_bytes
from dlmkit.models.names import Piece
from dlmkit.models.tensor_files import StoredTensor, TensorReader

if TYPE_CHECKING:
    from dlmkit.models.names import NameMap

__all__ = ["Progress", "fill", "plan_weights"]

Module = TypeVar("Module", bound=nn.Module)

Progress = Callable[[int, int], None]
"""Called with the bytes read so far and the bytes in all."""

_Slots = dict[int | None, StoredTensor]
"""What fills a parameter: slots of its first dimension, or None for the whole of it."""

_SHOWN = 5
"""Problems spelled out in one error; the rest are counted."""


@attrs.frozen
class Assignment:
    """One stored tensor and the parameters that it fills."""

    stored: StoredTensor
    pieces: tuple[Piece, ...]


def fill(
    module: Module,
    names: NameMap,
    tensors: Iterable[StoredTensor],
    *,
    device: torch.device,
    dtype: torch.dtype,
    progress: Progress | None = None,
) -> Module:
    """Fill a module that was built without memory from the files, for inference.

    Peak memory is that of the weights in `dtype` on `device` plus one tensor.

    Raises:
        ModelError: tensors are missing, unexpected, misshapen or assigned twice.
        EngineError: the weights do not fit into the device's memory.
    """
    shapes = {name: tuple(value.shape) for name, value in module.named_parameters()}
    plan = plan_weights(shapes, names, tensors)
    _require_memory(plan, device, dtype)
    module.load_state_dict(_read(plan, shapes, device, dtype, progress), assign=True)
    return module.requires_grad_(False).eval()


def plan_weights(
    shapes: Mapping[str, tuple[int, ...]], names: NameMap, tensors: Iterable[StoredTensor]
) -> tuple[Assignment, ...]:
    """Assign every stored tensor; check names and shapes without reading weights.

    Args:
        shapes: the model's parameters.
        names: the family's layout.
        tensors: what the files hold.

    Raises:
        ModelError: lists what does not fit, with file, tensor, expected and found shape.
    """
    plan, problems = [], []
    filled: dict[str, _Slots] = {name: {} for name in shapes}
    for stored in tensors:
        pieces = names.pieces(stored.name)
        if pieces is None or any(piece.parameter not in shapes for piece in pieces):
            problems.append(f"{stored.path.name}: tensor {stored.name!r} is unexpected")
            continue
        for piece in pieces:
            slots = filled[piece.parameter]
            problems += _misfit(stored, piece, shapes[piece.parameter], slots)
            slots[piece.slot] = stored
        problems += _leftover_rows(stored, pieces)
        plan.append(Assignment(stored, pieces))
    for name in sorted(shapes):
        for slot in _unfilled(shapes[name], filled[name]):
            source = names.to_source(name, slot)
            problems.append(f"tensor {source!r} is missing (parameter {name})")
    if problems:
        more = f"\n  and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise ModelError(
            "the weights do not fit the config:\n  " + "\n  ".join(problems[:_SHOWN]) + more,
            hint="config.json and weights must come from the same release; for tensors of the "
            "head see the config's weight-tying flag",
        )
    return tuple(plan)


def _misfit(
    stored: StoredTensor, piece: Piece, expected: tuple[int, ...], slots: _Slots
) -> list[str]:
    """Say what is wrong with putting (a piece of) a tensor into a parameter."""
    problems = []
    earlier = _already(piece, slots)
    if earlier is not None:
        problems.append(
            f"{stored.path.name}: tensor {stored.name!r} fills {piece.parameter}, which "
            f"{earlier.name!r} fills already"
        )
    if piece.slot is not None:
        if piece.slot >= expected[0]:
            problems.append(
                f"{stored.path.name}: tensor {stored.name!r} is number {piece.slot} of "
                f"{piece.parameter}, which holds {expected[0]}"
            )
        expected = expected[1:]
    rows = piece.rows
    found = stored.shape if rows is None else (rows[1] - rows[0], *stored.shape[1:])
    if found != expected:
        problems.append(
            f"{stored.path.name}: tensor {stored.name!r} has shape {list(found)}, but "
            f"{piece.parameter} needs {list(expected)}"
        )
    return problems


def _already(piece: Piece, slots: _Slots) -> StoredTensor | None:
    """Return a tensor that already fills what the piece is for."""
    if piece.slot is None:
        return next(iter(slots.values()), None)
    return slots.get(piece.slot, slots.get(None))


def _unfilled(shape: tuple[int, ...], slots: _Slots) -> list[int]:
    """Slots of a parameter that no tensor fills; slot 0 stands for all of them."""
    if not slots:
        return [0]
    return [] if None in slots else [slot for slot in range(shape[0]) if slot not in slots]


def _leftover_rows(stored: StoredTensor, pieces: tuple[Piece, ...]) -> list[str]:
    """Check that the pieces of a split tensor use all of its rows."""
    ends = [piece.rows[1] for piece in pieces if piece.rows is not None]
    if not ends or max(ends) == stored.shape[0]:
        return []
    return [
        f"{stored.path.name}: tensor {stored.name!r} has {stored.shape[0]} rows, but its parts "
        f"take {max(ends)}"
    ]


def _require_memory(plan: tuple[Assignment, ...], device: torch.device, dtype: torch.dtype) -> None:
    """Refuse to start a load that would swap or be killed; mapped weights need no room."""
    mapped = dtype if device.type == "cpu" else None
    copied = [
        each.stored
        for each in plan
        if any(piece.slot is not None or each.stored.dtype != mapped for piece in each.pieces)
    ]
    need = sum(stored.nbytes // stored.dtype.itemsize * dtype.itemsize for stored in copied)
    free = free_bytes(device)
    if need > free:
        stored_as = next((each.dtype for each in copied if each.dtype != mapped), None)
        advice = (
            f"use --dtype {str(stored_as)[6:]}, as stored: it is mapped, not copied"
            if stored_as
            else "use a machine with more memory: stacked experts are copied"
        )
        raise EngineError(
            f"the weights need {need / 2**30:.1f} GiB as {str(dtype)[6:]}, but only "
            f"{free / 2**30:.1f} GiB are free on {device}",
            hint=advice
            if device.type == "cpu"
            else "use a smaller --dtype, another device, or end what else runs on this one",
        )


def _read(
    plan: tuple[Assignment, ...],
    shapes: Mapping[str, tuple[int, ...]],
    device: torch.device,
    dtype: torch.dtype,
    progress: Progress | None,
) -> dict[str, Tensor]:
    """Read the planned tensors in file order."""
    total = sum(each.stored.nbytes for each in plan)
    values: dict[str, Tensor] = {}
    reader, done = TensorReader(), 0
    for each in sorted(plan, key=lambda each: (each.stored.path, each.stored.name)):
        if each.pieces:
            source = reader.read(each.stored)
            for piece in each.pieces:
                part = source if piece.rows is None else source[slice(*piece.rows)]
                if piece.slot is None:
                    values[piece.parameter] = part.to(device=device, dtype=dtype)
                    continue
                if piece.parameter not in values:
                    shape = shapes[piece.parameter]
                    values[piece.parameter] = torch.empty(shape, device=device, dtype=dtype)
                values[piece.parameter][piece.slot] = part
            del source, part
        done += each.stored.nbytes
        if progress is not None:
            progress(done, total)
    return values
