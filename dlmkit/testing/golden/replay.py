"""Replaying a case: the same prompts through a preset, on the same checkpoint.

Legend: B rows, N canvas positions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from dlmkit.canvas import Canvas
from dlmkit.context import Context
from dlmkit.errors import RequestError
from dlmkit.models.loading import load_model
from dlmkit.passes.session import Session
from dlmkit.testing.golden.traces import GoldenCase, Step

if TYPE_CHECKING:
    from pathlib import Path

    from dlmkit.models.family import ModelFamily
    from dlmkit.network import Network
    from dlmkit.spec import Document

__all__ = ["Networks", "Replay", "replay"]


@attrs.frozen
class Replay:
    """What dlmkit decoded: `outputs` and non-empty `steps` by row, and forward passes `nfe`."""

    outputs: tuple[tuple[int, ...], ...]
    steps: tuple[tuple[Step, ...], ...]
    nfe: int


@attrs.define
class Networks:
    """Checkpoints of a fixtures folder, each loaded once, in float32 on the CPU."""

    folder: Path
    _loaded: dict[tuple[str, int | None, ModelFamily | None], Network] = attrs.field(factory=dict)

    def get(
        self, checkpoint: str, mask_id: int | None, family: ModelFamily | None = None
    ) -> Network:
        """Return the network of a checkpoint, read as a family where one is named.

        Raises:
            RequestError: the folder has no such checkpoint.
            ModelError: the checkpoint cannot be read.
        """
        key = (checkpoint, mask_id, family)
        if key not in self._loaded:
            path = self.folder / checkpoint
            if not path.is_dir():
                raise RequestError(
                    f"there is no checkpoint {path}",
                    hint="--fixtures is the folder that holds the checkpoints of the traces",
                )
            model = load_model(
                str(path), device="cpu", dtype="float32", mask_id=mask_id, family=family
            )
            self._loaded[key] = model.network
        return self._loaded[key]


def replay(case: GoldenCase, document: Document, network: Network) -> Replay:
    """Decode the prompts of a case as the document says."""
    canvas = _canvas(case, document.gen_length)
    context = Context({"main": Session(network)})
    rows: list[list[Step]] = [[] for _ in case.prompts]
    for record in document.pipeline.steps(context, canvas):
        changes = record.changes()
        for number, row in enumerate(rows):
            mine = tuple((each.position, each.token) for each in changes if each.row == number)
            if mine:
                row.append(mine)
    return Replay(
        outputs=_outputs(canvas, case),
        steps=tuple(tuple(row) for row in rows),
        nfe=sum(counts.forwards for counts in context.counts().values()),
    )


def _canvas(case: GoldenCase, gen_length: int) -> Canvas:
    """Prompts and masks, with the given tokens among the masks.

    Where the reference returned rows of different lengths, each row gets as many masks.
    """
    if case.mask_id is None:
        raise RequestError(
            f"case {case.id} of '{case.sampler}' names no mask token to decode with",
            hint="autoregressive decodes have none; take the sampler out of samplers.yaml",
        )
    lengths = [len(output) for output in case.outputs]
    ragged = len(set(lengths)) > 1
    if not case.given and not ragged:
        return Canvas.create(case.prompts, gen_length, case.mask_id)
    given = dict(case.given)
    counts = lengths if ragged else [gen_length] * len(lengths)
    rest = [[given.get(offset, case.mask_id) for offset in range(count)] for count in counts]
    rows = [(*row, *more) for row, more in zip(case.prompts, rest, strict=True)]
    return Canvas.create(rows, 0, case.mask_id, infill=True)


def _outputs(canvas: Canvas, case: GoldenCase) -> tuple[tuple[int, ...], ...]:
    """Each row from the end of its prompt, as far as the reference returned it.

    Some cut their text after a stop token or before the end of a block; what they decided beyond
    that is in the steps.
    """
    rows = zip(canvas.tokens_BN.tolist(), canvas.length_B.tolist(), case.prompts, strict=True)
    found = (tokens[len(prompt) : length] for tokens, length, prompt in rows)
    pairs = zip(found, case.outputs, strict=True)
    return tuple(tuple(tokens[: len(output)]) for tokens, output in pairs)
