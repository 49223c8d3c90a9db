"""PyTorch leaves the cores to networks that compute on threads of their own."""

import attrs
import pytest
import torch

from dlmkit import Runner, load_spec
from dlmkit.host.threads import LeftToNetworks
from dlmkit.testing.toy import toy_network


@pytest.fixture
def three_threads():
    """More than one, so that a change shows."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def info(*, own_threads):
    return attrs.evolve(toy_network().info, own_threads=own_threads)


@pytest.mark.parametrize(
    ("owners", "expected"), [((True, True), 1), ((True, False), 3), ((False,), 3)]
)
def test_one_thread_is_left_where_all_networks_have_their_own(three_threads, owners, expected):
    """One network on PyTorch's threads keeps them all."""
    with LeftToNetworks([info(own_threads=each) for each in owners]):
        assert expected == torch.get_num_threads()
    assert 3 == torch.get_num_threads()


def test_threads_come_back_after_an_error(three_threads):
    """Whatever a step raises."""
    with pytest.raises(KeyError), LeftToNetworks([info(own_threads=True)]):
        raise KeyError
    assert 3 == torch.get_num_threads()


def test_between_the_steps_of_a_decode_threads_are_as_before(three_threads):
    """A program that decodes has its own work to do."""
    runner = Runner.load(
        load_spec("llada", ["gen_length=32", "pipeline.transfer={use: top-k, k: 16}"])
    )
    model = runner.models["main"]
    model.network.info = attrs.evolve(model.network.info, own_threads=True)
    seen = []
    forward = model.network.forward

    def watched(*given):
        seen.append(torch.get_num_threads())
        return forward(*given)

    model.network.forward = watched
    for _ in runner.start(runner.encode(["sort: 2 1"])):
        assert 3 == torch.get_num_threads()
    assert {1} == set(seen)
