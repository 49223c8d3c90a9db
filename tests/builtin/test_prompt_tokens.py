"""Training prompt tokens: what they see, what they are taught, and what is shipped."""

from __future__ import annotations

import io
import json

import pytest
import torch
from click.testing import CliRunner
from rich.console import Console
from safetensors import safe_open

from dlmkit.builtin.batches import Batches
from dlmkit.builtin.prompt_tokens import (
    COUNT,
    agreement,
    answers,
    built_in_guide,
    lesson,
    main,
    taught,
)
from dlmkit.builtin.tokenizer import builtin_tokenizer
from dlmkit.models.derivation import EMBEDDINGS
from dlmkit.spec import load_spec
from dlmkit.testing.toy import toy_network


@pytest.fixture(scope="module")
def batches():
    return Batches(builtin_tokenizer(), 3, 128)


@pytest.fixture(scope="module")
def network():
    """A decoder of the built-in vocabulary."""
    return toy_network(1, vocabulary=800, dtype=torch.float32).decoder


def test_a_prompt_token_sees_its_text_and_those_before_it(batches, network):
    """Against a pass over the beginning of the text and the prompt tokens, for every place."""
    batch = next(batches.from_step(0))
    made = lesson(batch, COUNT, torch.Generator().manual_seed(0))
    prompts_MD = torch.randn(COUNT, 16, generator=torch.Generator().manual_seed(1))
    said_XV, itself_XV = answers(network, prompts_MD, batch, made)
    found = 0
    for row, text in enumerate(batch.ids_BL):
        whole = network.head(causal(network, network.embed(text[None])))[0]
        for place in range(made.told_BAM.shape[1]):
            begin = int(made.row_BAM[row, place, 0])
            alone = torch.cat((network.embed(text[None, :begin]), prompts_MD[None]), dim=1)
            logits = network.head(causal(network, alone))[0, begin:]
            for number in torch.nonzero(made.told_BAM[row, place])[:, 0].tolist():
                assert torch.allclose(logits[number], said_XV[found], atol=1e-4)
                teacher = whole[int(made.row_BAM[row, place, number])]
                assert torch.allclose(teacher, itself_XV[found], atol=1e-4)
                found += 1
    assert len(said_XV) == found


def causal(network, embeds):
    positions = torch.arange(embeds.shape[1])[None]
    mask = (positions[0, :, None] >= positions[0])[None, None]
    return network(torch.zeros_like(positions), positions, mask, embeds_BQD=embeds)[0]


def test_training_helps_and_repeats_itself():
    """Forty steps agree more often with the guide than one, which goes alike twice."""
    guide, batches = built_in_guide(), Batches(builtin_tokenizer(), 3, 512)
    silent = Console(file=io.StringIO())
    few = taught(guide, batches, 40, 1, silent)
    begun, again = (taught(guide, batches, 1, 1, silent) for _ in range(2))
    assert torch.equal(begun, again)
    measured = (agreement(guide, each, batches, 2, 7) for each in (begun, few))
    rates = [sum(row[0] for row in rows) for rows in measured]
    assert rates[0] < rates[1]


def test_the_preset_has_the_agreement_that_was_measured():
    """The shipped file says how it was trained and how often its candidates are right."""
    with safe_open(EMBEDDINGS / "guide.safetensors", "pt") as file:
        about = json.loads(file.metadata()["about"])
    tree = load_spec("parallel-prompt").pipeline.draft
    pairs = zip(about["agreement"], tree.agreement, strict=True)
    assert all(tuple(row[: len(used)]) == used for row, used in pairs)


def test_the_script_writes_what_is_loaded(tmp_path):
    """One step for the built-in guide."""
    done = CliRunner().invoke(
        main, ["--steps", "1", "--measured", "1", "--out", str(tmp_path / "out.safetensors")]
    )
    assert 0 == done.exit_code, done.output
    with safe_open(tmp_path / "out.safetensors", "pt") as file:
        assert (COUNT, 96) == tuple(file.get_tensor("prompts_MD").shape)
