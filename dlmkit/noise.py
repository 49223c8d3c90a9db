"""Random numbers that belong to a place, not to a moment.

Every draw is a pure function of (seed, sample, step, position), so a row decodes the same alone,
in any batch, in any order, and on any device.  The generator is Philox-4x32 with ten rounds
(Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011), written in int64 tensor
arithmetic.

Legend: B rows, P window positions, V vocabulary, W words drawn at one place.
"""

from __future__ import annotations

import zlib

import attrs
import torch
from torch import Tensor

from dlmkit.errors import RequestError

__all__ = ["SEED_LIMIT", "Noise", "philox"]

SEED_LIMIT = 2**32
_LOW = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10


def philox(
    counter: tuple[Tensor | int, ...], key: tuple[Tensor | int, Tensor | int]
) -> tuple[Tensor, ...]:
    """Philox-4x32-10: four counter words and two key words in, four random words out.

    All are int64 tensors holding values below 2**32, broadcast against each other, or numbers.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        first, second = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            ((second >> 32) & _LOW) ^ c1 ^ k0,
            second & _LOW,
            ((first >> 32) & _LOW) ^ c3 ^ k1,
            first & _LOW,
        )
        k0, k1 = (k0 + _KEY_STEPS[0]) & _LOW, (k1 + _KEY_STEPS[1]) & _LOW
    return c0, c1, c2, c3  # type: ignore[return-value]


@attrs.frozen(eq=False)
class Noise:
    """The random numbers of one step: `seed` below 2**32, `samples_B` int64 row identities.

    `step` is a number, or a tensor: one for each row (int64) where rows are in different steps.
    `stream` in the methods names who draws, so that two components never share numbers.
    """

    seed: int
    samples_B: Tensor
    step: int | Tensor

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.seed < SEED_LIMIT:
            raise RequestError(
                f"seed {self.seed} is outside 0 to {SEED_LIMIT - 1}", hint="choose a smaller seed"
            )

    def uniform_BP(self, stream: str, positions_BP: Tensor) -> Tensor:
        """One number for each position, float64, strictly between 0 and 1."""
        return self._uniform_BPW(stream, positions_BP, 1)[..., 0]

    def gumbel_BP(self, stream: str, positions_BP: Tensor) -> Tensor:
        """One standard Gumbel number for each position, float64."""
        return _gumbel(self.uniform_BP(stream, positions_BP))

    def gumbel_BPV(self, stream: str, positions_BP: Tensor, vocabulary: int) -> Tensor:
        """One standard Gumbel number for each position and token, float64."""
        return _gumbel(self._uniform_BPW(stream, positions_BP, vocabulary))

    def normal_BPW(self, stream: str, positions_BP: Tensor, words: int) -> Tensor:
        """So many standard normal numbers for each position, float64."""
        normal_BPW: Tensor = torch.special.ndtri(self._uniform_BPW(stream, positions_BP, words))
        return normal_BPW

    def _uniform_BPW(self, stream: str, positions_BP: Tensor, words: int) -> Tensor:
        device = positions_BP.device
        pairs = (words + 1) // 2
        index_BPW = torch.arange(pairs, device=device).expand(*positions_BP.shape, pairs)
        counter = (index_BPW, positions_BP[..., None], self._step(), zlib.crc32(stream.encode()))
        a, b, c, d = philox(counter, (self.seed, self.samples_B[:, None, None] & _LOW))
        both_BPW2 = torch.stack((_unit(a, b), _unit(c, d)), dim=-1)
        return both_BPW2.flatten(-2)[..., :words]

    def _step(self) -> Tensor | int:
        step = self.step
        return step.reshape(-1, 1, 1) & _LOW if isinstance(step, Tensor) else step & _LOW


def _unit(high: Tensor, low: Tensor) -> Tensor:
    """Two 32-bit words to a float64 in (0, 1), from their leading 53 bits."""
    return (((high << 21) | (low >> 11)).double() + 0.5) * 2.0**-53


def _gumbel(uniform: Tensor) -> Tensor:
    return -torch.log(-torch.log(uniform))
