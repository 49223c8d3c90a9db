"""The training script: data, masks, losses, and runs that continue exactly."""

from __future__ import annotations

import io
import re
from importlib.resources import files
from itertools import count
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import torch
from click.testing import CliRunner
from rich.console import Console
from safetensors.torch import load_file

from dlmkit.builtin import CHECKPOINTS
from dlmkit.builtin.accuracy import held_out
from dlmkit.builtin.batches import POOL_BATCHES, Batch, Batches
from dlmkit.builtin.objective import diffusion_loss, draw_masks, next_token_loss
from dlmkit.builtin.recipe import FIRST, LATEST, RECIPES, Mixture, Rate, Stage, usual_rate
from dlmkit.builtin.state import ResumeError, TrainingState
from dlmkit.builtin.tasks import MASK, TASKS, Example
from dlmkit.builtin.tokenizer import EOS, builtin_tokenizer, special_id
from dlmkit.builtin.train import Run, main, train

if TYPE_CHECKING:
    from pathlib import Path

    from tokenizers import Tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """The built-in tokenizer."""
    return builtin_tokenizer()


@pytest.fixture(scope="module")
def batch(tokenizer: Tokenizer) -> Batch:
    """The first batch of a small run."""
    return next(Batches(tokenizer, seed=1, tokens=512).from_step(0))


TWO_STAGES = (
    Stage(until=2, mixture=FIRST, rate=usual_rate(3)),
    Stage(until=4, mixture=LATEST, rate=Rate(2, 4, 0.2)),
)


def _run(out: Path, *, resume: bool = False, minutes: float | None = None) -> TrainingState:
    run = Run(
        model="drafter",
        stages=TWO_STAGES,
        out=out,
        tokens=256,
        minutes=minutes,
        resume=resume,
        measure_prompts=0,
    )
    return train(run, Console(file=io.StringIO()))


def test_drills_ask_for_results_only(tokenizer: Tokenizer) -> None:
    """The targets of a drill are the digits between an equals sign and the end of the line."""
    batches = Batches(tokenizer, seed=1, tokens=512).from_step(0)
    user = special_id(tokenizer, "<|user|>")
    rows = [
        (ids, answer)
        for _, each in zip(range(POOL_BATCHES), batches, strict=False)
        for ids, answer in zip(each.ids_BL.tolist(), each.answer_BL.tolist(), strict=True)
        if user not in ids and not answer[-1]
    ]
    assert rows
    for ids, answer in rows:
        text = tokenizer.decode(ids)
        marked = "".join(
            tokenizer.decode([token]) if target else " "
            for token, target in zip(ids, answer, strict=True)
        )
        results = [line.split("=")[1] for line in text.splitlines()]
        assert results == marked.split()


def test_everything_after_the_prompt_is_answer_and_ends_in_padding(
    batch: Batch, tokenizer: Tokenizer
) -> None:
    """Answers reach to the end of the row, and only end-of-text tokens follow the text."""
    eos = special_id(tokenizer, EOS)
    for ids, answer, first_pad in zip(
        batch.ids_BL.tolist(), batch.answer_BL.tolist(), batch.first_pad_B.tolist(), strict=True
    ):
        begin = answer.index(True)
        if not answer[-1]:
            continue  # a drill
        assert all(answer[begin:])
        assert eos not in ids[: first_pad - 1]
        assert {eos} >= set(ids[first_pad - 1 :])


def test_batches_continue_from_any_step(tokenizer: Tokenizer) -> None:
    """The batch of a step does not depend on where the run began, across pools too."""
    batches = Batches(tokenizer, seed=1, tokens=512)
    first = batches.from_step(0)
    for _ in range(POOL_BATCHES + 1):
        next(first)
    later = next(batches.from_step(POOL_BATCHES + 1))
    assert torch.equal(next(first).ids_BL, later.ids_BL)


def test_only_answers_are_masked_and_every_ratio_occurs(batch: Batch) -> None:
    """Prompts stay visible; rows of one batch range from hardly masked to fully masked."""
    masked_BL, t_B = draw_masks(batch, torch.Generator().manual_seed(0))
    assert not (masked_BL & ~batch.answer_BL).any()
    assert t_B.min() > 0
    share_B = masked_BL.sum(1) / batch.answer_BL.sum(1)
    assert share_B.min() < 0.35
    assert share_B.max() > 0.65


def test_the_diffusion_loss_ignores_visible_answers(batch: Batch, tokenizer: Tokenizer) -> None:
    """An untrained network has about the loss of guessing, whatever it is shown."""
    network = TrainingState("drafter", 1, torch.device("cpu")).network
    mask_id = special_id(tokenizer, MASK)
    generator = torch.Generator().manual_seed(0)
    loss = diffusion_loss(network, batch, mask_id, generator, torch.device("cpu"))
    assert torch.log(torch.tensor(800.0)).item() == pytest.approx(loss.item(), abs=1.0)


def test_the_guide_never_sees_the_token_it_predicts(batch: Batch) -> None:
    """Changing the last token of a row changes no loss but its own."""
    network = TrainingState("guide", 1, torch.device("cpu")).network
    loss = next_token_loss(network, batch, torch.device("cpu"))
    assert torch.log(torch.tensor(800.0)).item() == pytest.approx(loss.item(), abs=1.0)


def test_the_learning_rate_warms_up_stays_and_falls_to_nothing() -> None:
    """Warm-up, plateau and linear decay meet their ends."""
    rates = [usual_rate(10_000).at(step) for step in range(10_000)]
    assert rates[0] < 0.01
    assert max(rates) == rates[3_000] == 1.0
    assert 0 < rates[-1] < 0.001


@pytest.mark.slow
def test_a_resumed_run_equals_an_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that its time limit ends between two stages goes on as if nothing had happened."""
    whole = _run(tmp_path / "whole")
    with monkeypatch.context() as patch:
        seconds = count(-1)  # the first reading sets the limit
        patch.setattr("dlmkit.builtin.train.time", SimpleNamespace(monotonic=lambda: next(seconds)))
        assert _run(tmp_path / "parts", minutes=2.5 / 60).step == 2
    resumed = _run(tmp_path / "parts", resume=True)
    assert (whole.step, resumed.step) == (4, 4)
    expected = load_file(tmp_path / "whole" / "state.safetensors")
    actual = load_file(tmp_path / "parts" / "state.safetensors")
    assert expected.keys() == actual.keys()
    assert [name for name in expected if not torch.equal(expected[name], actual[name])] == []


def test_a_run_follows_its_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every step has the batch and the rate of the stage it belongs to."""
    rates, batches = [], []
    update, loss = TrainingState.update, diffusion_loss
    with monkeypatch.context() as patch:
        patch.setattr(
            TrainingState, "update", lambda self, rate: (rates.append(rate), update(self, rate))
        )
        patch.setattr(
            "dlmkit.builtin.train.diffusion_loss",
            lambda network, batch, *rest: (batches.append(batch), loss(network, batch, *rest))[1],
        )
        _run(tmp_path)
    assert rates == [1 / 200, 0.6, 0.2, 0.1]
    for step, batch in enumerate(batches):
        mixture = TWO_STAGES[step // 2].mixture
        expected = next(Batches(builtin_tokenizer(), 1, 256, mixture).from_step(step))
        assert torch.equal(expected.ids_BL, batch.ids_BL)


@pytest.mark.parametrize("model", CHECKPOINTS)
def test_the_recipes_are_those_of_the_model_card(model: str) -> None:
    """The same stages, and the numbers of steps that each was planned for."""
    card = (files("dlmkit.builtin") / "MODEL_CARD.md").read_text(encoding="utf-8")
    told = re.findall(rf"\| {model} \| (\d+) to (\d+) \|.*?`--steps (\d+)", card)
    begin, stages = 0, []
    for stage in RECIPES[model]:
        stages.append((begin, stage.until, stage.rate.end))
        begin = stage.until
    assert [tuple(map(int, each)) for each in told] == stages


def test_mixtures_share_out_every_task() -> None:
    """What is left is for drills."""
    mixtures = [stage.mixture for stages in RECIPES.values() for stage in stages]
    for mixture in mixtures:
        assert set(TASKS) == set(mixture.tasks)
        assert 0.7 < sum(mixture.tasks.values()) < 1.0001


@pytest.mark.parametrize(
    ("kind", "prompt", "chance", "expected"),
    [
        ("sort", "sort: 12 7", 0.1, False),
        ("sort", "sort: 1 7", 0.1, True),
        ("copy", "copy: 12 7", 0.1, True),
        ("copy", "copy: 12 7", 0.6, False),
    ],
)
def test_a_mixture_leaves_out_what_it_says(
    kind: str, prompt: str, chance: float, expected: bool
) -> None:
    """Numbers of two digits in some kinds, and a share of the easy ones."""
    mixture = Mixture(tasks={}, canvases=(), kept={"copy": 0.5}, no_numbers=frozenset({"sort"}))
    example = Example(task="lists", kind=kind, prompt=prompt, answer="", size=2)
    assert expected == mixture.admits(example, chance)


def test_resuming_nothing_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    """There is a clear message when the folder holds no state."""
    state = TrainingState("drafter", 1, torch.device("cpu"))
    with pytest.raises(ResumeError, match="start without --resume"):
        state.load(tmp_path)


def test_resuming_another_run_is_refused(tmp_path: Path) -> None:
    """A state of another seed or model is not continued silently."""
    TrainingState("drafter", 1, torch.device("cpu")).save(tmp_path)
    with pytest.raises(ResumeError, match="--model drafter --seed 1"):
        TrainingState("drafter", 2, torch.device("cpu")).load(tmp_path)
    with pytest.raises(ResumeError, match="--model drafter --seed 1"):
        TrainingState("guide", 1, torch.device("cpu")).load(tmp_path)


def test_the_command_refuses_an_unknown_model() -> None:
    """A misspelt model is a usage error."""
    result = CliRunner().invoke(main, ["--model", "verfier"])
    assert (result.exit_code, "verifier" in result.output) == (2, True)


def test_evaluation_prompts_are_the_same_every_time() -> None:
    """The held-out prompts of a seed are fixed."""
    assert held_out("lists", 20, 3) == held_out("lists", 20, 3)
