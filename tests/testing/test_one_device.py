"""Tensors of the host among those of a decode are found without a GPU."""

from __future__ import annotations

import pytest
import torch

from dlmkit.generation import Runner
from dlmkit.spec import load_spec
from dlmkit.testing.one_device import strays

REFUSED = {
    "add": lambda x: x + torch.arange(4),
    "where": lambda x: torch.where(x > 1, x, torch.zeros(1, 4).long()[0]),
    "gather": lambda x: x.gather(0, torch.tensor([2, 1])),
    "isin": lambda x: torch.isin(x, torch.tensor(2)),
    "__getitem__": lambda x: torch.arange(4)[x],
    "mul": lambda x: x.cpu() * x,
    "sub": lambda x: torch.as_tensor(3).expand_as(x) - x,
    "__eq__": lambda x: x == x.to("cpu", torch.int32),
}
ALLOWED = {
    "a named device": lambda x: x + torch.arange(4, device=x.device),
    "made like another": lambda x: x + torch.zeros_like(x) + x.new_ones(4),
    "moved": lambda x: x + torch.arange(4).to(x.device),
    "a single number": lambda x: torch.where(x > torch.tensor(1), x, 0) + torch.tensor(2),
    "an index": lambda x: x[torch.arange(2)],
    "all on the host": lambda x: x.cpu() + torch.arange(4),
    "a shape": lambda x: torch.arange(4).expand_as(x) + torch.ones(4),
    "a number format": lambda x: x.to(torch.float64) + x,
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_gpu_refuses_is_listed_with_its_place(name):
    """Once, by the name of the call; the tensor itself is not touched."""
    x = torch.arange(4)
    with strays() as found:
        REFUSED[name](x)
        _ = x + x
    assert [name] == [each.split(" at ")[0] for each in found]
    assert found[0].split(" at ")[1].startswith("test_one_device.py:")


@pytest.mark.parametrize("name", ALLOWED)
def test_what_a_gpu_takes_is_not_listed(name):
    """Named devices, single numbers, indices, and whatever stays on the host."""
    x = torch.arange(4)
    with strays() as found:
        ALLOWED[name](x)
    assert [] == found


@pytest.mark.parametrize(
    "preset", ["dual-diffusion-fast", "llada-sampling", "free-dave", "prophet"]
)
def test_a_whole_decode_stays_on_the_device(preset):
    """From the prompts to the results and their ledgers, on the built-in models."""
    runner = Runner.load(load_spec(preset, ["gen_length=32"]))
    ids = runner.encode(["sort: 5 2 9 1", "copy: a b"])
    with strays() as found:
        decode = runner.start(ids)
        for record in decode:
            record.changes()
        decode.results()
    assert [] == found
