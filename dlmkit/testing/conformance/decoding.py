"""Whole decodes of toy prompts, with everything counted from outside.

Legend: B rows, N canvas positions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import attrs

from dlmkit.accounts.records import Counts
from dlmkit.canvas import Canvas
from dlmkit.context import Context
from dlmkit.passes.session import Session
from dlmkit.testing.conformance.case import require

if TYPE_CHECKING:
    from dlmkit.need import Need
    from dlmkit.network import Network, NetworkInfo, NetworkInputs, NetworkOutput
    from dlmkit.roles import Procedure

__all__ = ["GEN_LENGTH", "PROMPTS", "CountedNetwork", "Decoded", "decode", "refuse_strays"]

PROMPTS = ((3, 1, 4), (1, 5, 9, 2, 6), (5,))
GEN_LENGTH = 8
MOST_STEPS = 400


class CountedNetwork:
    """A network that keeps its own account of the calls it gets."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.counts = Counts()

    @property
    def info(self) -> NetworkInfo:
        """Facts about the network."""
        return self.network.info

    def forward(self, inputs: NetworkInputs, need: Need) -> NetworkOutput:
        """Count the call and pass it on."""
        rows, _ = inputs.ids_BQ.shape
        self.counts = self.counts.plus(rows=rows, fed=inputs.ids_BQ.numel())
        return self.network.forward(inputs, need)


@attrs.frozen(kw_only=True)
class Decoded:
    """A finished decode.

    `rows` are token ids with the prompt, up to each row's end; `trace` lists the changes of each
    pass as `(row, position, token)`; `reported` are the counts of the sessions and `executed`
    those of the networks, by name; `mask_id` of the canvas.
    """

    rows: tuple[tuple[int, ...], ...]
    trace: tuple[tuple[tuple[int, int, int], ...], ...]
    reported: Mapping[str, Counts]
    executed: Mapping[str, Counts]
    mask_id: int


def decode(
    procedure: Procedure,
    networks: Mapping[str, Network],
    prompts: Sequence[Sequence[int]] = PROMPTS,
    *,
    seed: int = 3,
    first_sample: int = 0,
) -> Decoded:
    """Decode prompts to the end; a decode that does not end breaks the promise."""
    counted = {name: CountedNetwork(network) for name, network in networks.items()}
    sessions = {name: Session(network) for name, network in counted.items()}
    mask_id = next(iter(networks.values())).info.mask_id
    require(mask_id is not None, "the first network has no mask token to decode with")
    canvas = Canvas.create(prompts, GEN_LENGTH, mask_id or 0, first_sample=first_sample)
    steps = procedure.steps(Context(sessions, seed), canvas)
    records = list(islice(steps, MOST_STEPS + 1))
    require(len(records) <= MOST_STEPS, f"the decode does not end within {MOST_STEPS} passes")
    pairs = zip(canvas.tokens_BN.tolist(), canvas.length_B.tolist(), strict=True)
    return Decoded(
        rows=tuple(tuple(tokens[:length]) for tokens, length in pairs),
        trace=tuple(
            tuple((each.row, each.position, each.token) for each in record.changes())
            for record in records
        ),
        reported={name: session.counts for name, session in sessions.items()},
        executed={name: network.counts for name, network in counted.items()},
        mask_id=canvas.mask_id,
    )


def refuse_strays(found: Sequence[str]) -> None:
    """Break the promise if tensors of the host met those of the canvas."""
    places = ", ".join(sorted(set(found)))
    require(not found, f"made without `device=`, a tensor meets those of the canvas: {places}")
