"""Device and number format: `auto` follows one rule, and anything else must be possible here."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dlmkit.errors import EngineError, ModelError
from dlmkit.models.config import Config
from dlmkit.models.placement import choose_device, choose_dtype
from dlmkit.models.tensor_files import StoredTensor

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
STORED = [StoredTensor(name, Path("f"), (1,), torch.bfloat16) for name in "ab"]


@pytest.mark.parametrize("field", ["dtype", "torch_dtype"])
def test_auto_is_what_the_config_states(field):
    """Both spellings are read."""
    chosen = choose_dtype("auto", Config({field: "float16"}), STORED, CUDA)
    assert (torch.float16, "stated in the config") == chosen


def test_auto_without_statement_is_what_is_stored():
    """Most tensors decide."""
    odd = StoredTensor("c", Path("f"), (1,), torch.float32)
    assert torch.bfloat16 == choose_dtype("auto", Config({}), [odd, *STORED], CUDA)[0]


def test_auto_widens_half_precision_on_the_cpu():
    """Half precision is slow there; the reason is recorded."""
    dtype, reason = choose_dtype("auto", Config({"dtype": "bfloat16"}), STORED, CPU)
    assert torch.float32 == dtype
    assert "bfloat16; float32 is faster on the CPU" in reason


def test_an_explicit_format_is_never_changed():
    """Half precision on the CPU is slow, but it is what was asked for."""
    chosen = choose_dtype("float16", Config({"dtype": "float32"}), STORED, CPU)
    assert (torch.float16, "given by the user") == chosen


@pytest.mark.parametrize(("wanted", "stated"), [("int8", "float32"), ("auto", "float8")])
def test_unknown_formats_are_errors(wanted, stated):
    """From the user or from the file."""
    with pytest.raises(ModelError, match="is unknown"):
        choose_dtype(wanted, Config({"dtype": stated}), STORED, CPU)


@pytest.mark.parametrize("wanted", ["gpu", "meta", "cuda:99", "cpu:1"])
def test_unusable_devices_are_errors(wanted):
    """Misspelt, unsupported, or not in this machine."""
    with pytest.raises(EngineError) as caught:
        choose_device(wanted)
    assert caught.value.hint


def test_auto_takes_cuda_where_there_is_one(monkeypatch):
    """Otherwise the CPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert CPU == choose_device("auto")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert CUDA == choose_device("auto")
