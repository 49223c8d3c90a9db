"""The checkpoints that are shipped: complete, small, in the layouts they claim, and useful."""

from __future__ import annotations

import json
from math import prod
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

import dlmkit.builtin
from dlmkit.builtin import CHECKPOINTS, UnknownBuiltinError, checkpoint_path
from dlmkit.builtin.accuracy import Accuracy, held_out
from dlmkit.builtin.decode import completions, continuations
from dlmkit.builtin.tasks import MASK
from dlmkit.builtin.tokenizer import EOS, builtin_tokenizer, special_id

FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
FIXTURES = Path(__file__).parents[2].parent / "shared/fixtures"


def _shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    with safe_open(folder / "model.safetensors", "pt") as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


def _parameters(name: str) -> int:
    return sum(map(prod, _shapes(checkpoint_path(name)).values()))


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_every_checkpoint_is_complete(name: str) -> None:
    """Config, weights and tokenizer are there."""
    assert [] == [file for file in FILES if not (checkpoint_path(name) / file).is_file()]


def test_an_unknown_name_is_an_error_that_lists_the_known_ones() -> None:
    """A misspelt name is answered with the names there are."""
    with pytest.raises(UnknownBuiltinError, match="verifier, drafter, guide"):
        checkpoint_path("verfier")


def test_all_checkpoints_together_are_at_most_30_megabytes() -> None:
    """Package data stays small."""
    root = Path(dlmkit.builtin.__file__).parent / "checkpoints"
    assert sum(path.stat().st_size for path in root.rglob("*")) <= 30_000_000


def test_sizes_are_as_promised() -> None:
    """The verifier has 3 to 8 million parameters, the drafter at most a quarter of it."""
    verifier = _parameters("verifier")
    assert 3_000_000 <= verifier <= 8_000_000
    assert 4 * _parameters("drafter") <= verifier


def test_all_checkpoints_have_the_same_tokenizer() -> None:
    """Drafter and guide can propose tokens to the verifier."""
    expected = (Path(dlmkit.builtin.__file__).parent / "tokenizer.json").read_bytes()
    files = [(checkpoint_path(name) / "tokenizer.json").read_bytes() for name in CHECKPOINTS]
    assert [expected] * len(CHECKPOINTS) == files


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_weights_are_float16(name: str) -> None:
    """Nothing is stored in another type, and nothing overflowed."""
    with safe_open(checkpoint_path(name) / "model.safetensors", "pt") as file:
        tensors = [file.get_tensor(key) for key in file.keys()]  # noqa: SIM118
    assert {torch.float16} == {tensor.dtype for tensor in tensors}
    assert all(tensor.isfinite().all() for tensor in tensors)


@pytest.mark.parametrize(
    ("name", "fixture"), [("verifier", "llada"), ("drafter", "llada"), ("guide", "qwen2_ar")]
)
def test_tensor_names_are_those_of_the_published_layout(name: str, fixture: str) -> None:
    """Names agree with a reference checkpoint of the family, layer by layer."""
    if not (FIXTURES / fixture).is_dir():
        pytest.skip(f"needs the reference checkpoint {fixture}")
    layers = (".blocks.", ".layers.")

    def of_first_layer(folder: Path) -> set[str]:
        names = _shapes(folder)
        return {
            n for n in names if not any(f"{part}{i}." in n for part in layers for i in range(1, 9))
        }

    assert of_first_layer(FIXTURES / fixture) == of_first_layer(checkpoint_path(name))


@pytest.mark.parametrize("name", ["verifier", "drafter"])
def test_config_has_the_fields_of_llada_and_names_its_tokens(name: str) -> None:
    """Field names are LLaDA's, and special tokens are those of the tokenizer."""
    folder = checkpoint_path(name)
    config = json.loads((folder / "config.json").read_text())
    tokenizer = builtin_tokenizer()
    assert ["LLaDAModelLM"] == config["architectures"]
    assert special_id(tokenizer, MASK) == config["mask_token_id"]
    assert special_id(tokenizer, EOS) == config["eos_token_id"] == config["pad_token_id"]
    if (FIXTURES / "llada").is_dir():
        reference = json.loads((FIXTURES / "llada/config.json").read_text())
        assert set() == config.keys() - reference.keys()


@pytest.mark.parametrize(("task", "least"), [("lists", 12), ("word problems", 12)])
def test_the_shipped_verifier_solves_held_out_prompts(task: str, least: int) -> None:
    """A small sample is enough to see that the weights are trained and fit the code."""
    examples = held_out(task, 24, seed=8)
    answers = completions(checkpoint_path("verifier"), examples, gen_length=32)
    assert Accuracy.of(examples, answers).solved >= least


def test_the_shipped_guide_writes_worked_steps() -> None:
    """The guide continues a chat turn with equations and a final answer."""
    examples = held_out("word problems", 4, seed=8)
    answers = continuations(checkpoint_path("guide"), examples, gen_length=32)
    assert all("=" in answer and "#### " in answer for answer in answers)
