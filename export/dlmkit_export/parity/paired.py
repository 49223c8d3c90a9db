"""Two networks asked the same questions; the first one's answers are used.

Legend: B rows, S wanted rows, K candidates.
"""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from dlmkit.key_values.in_place import WritingNetwork
from dlmkit.need import Need
from dlmkit.network import Network, NetworkInfo, NetworkInputs, NetworkOutput
from dlmkit_export.parity.probes import probes

__all__ = ["Comparison", "Divergence", "PairedNetwork"]

_SEEN = Need(top=2, entropy=True)
"""What is compared in every call, beside what the decode itself reads."""


@attrs.frozen
class Divergence:
    """The first decision that differs: number of the call, and how close the choice was.

    `margin` is the difference of the two largest log-probabilities in the reference, in nats.
    """

    call: int
    margin: float


@attrs.define
class Comparison:
    """What has been compared so far; errors are largest absolute differences, by output."""

    calls: int = 0
    decisions: int = 0
    differing: int = 0
    widest_margin: float = 0.0
    first: Divergence | None = None
    errors: dict[str, float] = attrs.field(factory=dict)

    def add(self, expected: NetworkOutput, found: NetworkOutput) -> None:
        """Take in one call."""
        self.calls += 1
        for name, pair in _outputs(expected, found).items():
            self.errors[name] = max(self.errors.get(name, 0.0), _largest_difference(*pair))
        top = expected.pack.top_logp_BPK
        margin_BS = top[..., 0] - top[..., 1]
        differs_BS = expected.pack.top_ids_BPK[..., 0] != found.pack.top_ids_BPK[..., 0]
        self.decisions += differs_BS.numel()
        if bool(differs_BS.any()):
            margins = margin_BS[differs_BS]
            self.differing += margins.numel()
            self.widest_margin = max(self.widest_margin, float(margins.max()))
            self.first = self.first or Divergence(self.calls, float(margins[0]))


class PairedNetwork:
    """Answers like the reference, and notes where the candidate would have answered otherwise."""

    def __init__(self, reference: Network, candidate: Network) -> None:
        slots = candidate.info.cache_slots
        self.reference = reference if slots is None else WritingNetwork(reference, slots)
        self.candidate = candidate
        self.comparison = Comparison()

    @property
    def info(self) -> NetworkInfo:
        """Facts about the reference, with abilities that both have."""
        known = self.reference.info
        shared = known.capabilities & self.candidate.info.capabilities
        return attrs.evolve(known, capabilities=shared)

    def forward(self, inputs: NetworkInputs, need: Need) -> NetworkOutput:
        """Run both on the reference's keys and values."""
        wide = Need.union((need, _SEEN))
        with torch.inference_mode():
            for given, asked in probes(inputs, wide, self.info.capabilities):
                apart = _apart(given, self.info)
                found, expected = (
                    _with_fresh(network.forward(each, asked), each)
                    for network, each in ((self.candidate, apart), (self.reference, given))
                )
                self.comparison.add(expected, found)
        return self.reference.forward(inputs, need)


def _apart(inputs: NetworkInputs, info: NetworkInfo) -> NetworkInputs:
    """The same inputs with a cache of their own, where networks write into it."""
    if info.cache_slots is None or inputs.past is None:
        return inputs
    return attrs.evolve(inputs, past=inputs.past.copied())


def _with_fresh(output: NetworkOutput, inputs: NetworkInputs) -> NetworkOutput:
    """The output with the keys and values that were computed, also where they were written."""
    return output if output.fresh is not None else attrs.evolve(output, fresh=inputs.past)


def _outputs(expected: NetworkOutput, found: NetworkOutput) -> dict[str, tuple[Tensor, Tensor]]:
    """Pairs of every output that is a number."""
    before, after = expected.fresh, found.fresh
    assert before is not None and after is not None  # noqa: S101, PT018 - `_with_fresh`
    pairs: dict[str, tuple[Tensor | None, Tensor | None]] = {
        "top_logp": (expected.pack.top_logp_BPK, found.pack.top_logp_BPK),
        "lse": (expected.pack.lse_BP, found.pack.lse_BP),
        "entropy": (expected.pack.entropy_BP, found.pack.entropy_BP),
        "logits": (expected.logits_BSV, found.logits_BSV),
        "fresh_keys": (before.keys_YBGCE, after.keys_YBGCE),
        "fresh_values": (before.values_YBGCE, after.values_YBGCE),
        "attention": (expected.attention_YBQK, found.attention_YBQK),
        "relevance": (expected.relevance_YBQ, found.relevance_YBQ),
    }
    return {
        name: (first, second)
        for name, (first, second) in pairs.items()
        if first is not None and second is not None
    }


def _largest_difference(first: Tensor, second: Tensor) -> float:
    if not first.numel():
        return 0.0
    return float((first.double() - second.double()).abs().max())
