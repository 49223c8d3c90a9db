"""Random numbers belong to a place: seed, sample, step, position, and who draws."""

from __future__ import annotations

import pytest
import torch

from dlmkit.errors import RequestError
from dlmkit.noise import Noise, philox

KNOWN = [
    ("00000000 " * 4, "00000000 " * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff " * 4, "ffffffff " * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    (
        "243f6a88 85a308d3 13198a2e 03707344",
        "a4093822 299f31d0",
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]
"""Counter, key and words of the known-answer file of Random123 for philox4x32-10."""

PLACES = torch.tensor([[3, 7, 9], [3, 4, 5]])


def words(text):
    return tuple(torch.tensor(int(each, 16)) for each in text.split())


def noise(seed=1, samples=(0, 1), step=2):
    return Noise(seed, torch.tensor(samples), step)


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_philox_gives_the_known_answers(counter, key, expected):
    """The generator is Philox-4x32-10 to the bit."""
    assert words(expected) == philox(words(counter), words(key))


def test_a_number_belongs_to_its_place():
    """Neither the batch nor the other positions matter."""
    both = noise().uniform_BP("who", PLACES)
    alone = noise(samples=(1,)).uniform_BP("who", PLACES[1:, 1:2])
    assert both[1, 1] == alone[0, 0]
    assert both[0, 0] != both[1, 0]


@pytest.mark.parametrize(
    "other",
    [noise(seed=2), noise(samples=(2, 3)), noise(step=3)],
    ids=["seed", "sample", "step"],
)
def test_every_part_of_the_key_counts(other):
    """Another seed, sample or step gives other numbers."""
    numbers = noise().uniform_BP("who", PLACES)
    assert not torch.isin(other.uniform_BP("who", PLACES), numbers).any()


def test_two_components_never_share_numbers():
    """The stream is part of the key."""
    one, other = noise().uniform_BP("one", PLACES), noise().uniform_BP("other", PLACES)
    assert not torch.isin(one, other).any()


def test_numbers_are_uniform_strictly_between_0_and_1():
    """Mean, spread and bounds of ten thousand draws."""
    draws = noise(samples=(0,)).uniform_BP("who", torch.arange(10_000)[None])
    assert torch.float64 == draws.dtype
    assert 0 < draws.min() < 0.01 < 0.99 < draws.max() < 1
    assert abs(float(draws.mean()) - 0.5) < 0.01
    assert abs(float(draws.var()) - 1 / 12) < 0.002


def test_gumbel_numbers_choose_tokens_in_proportion():
    """The largest of log-probability plus Gumbel noise is a draw from the distribution."""
    probabilities = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64)
    draws = noise(samples=(0,)).gumbel_BPV("who", torch.arange(8000)[None], 4)
    chosen = (probabilities.log() + draws[0]).argmax(dim=-1)
    shares = torch.bincount(chosen, minlength=4) / 8000
    assert torch.allclose(shares.double(), probabilities, atol=0.02)


def test_a_vocabulary_of_odd_size_gets_its_numbers():
    """Two numbers come from one call of the generator; the spare one is dropped."""
    three = noise().gumbel_BPV("who", PLACES, 3)
    four = noise().gumbel_BPV("who", PLACES, 4)
    assert (2, 3, 3) == three.shape
    assert torch.equal(four[..., :3], three)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_outside_32_bits_is_refused(seed):
    """It would silently be another seed."""
    with pytest.raises(RequestError, match=f"seed {seed} is outside 0 to 4294967295"):
        noise(seed=seed)
