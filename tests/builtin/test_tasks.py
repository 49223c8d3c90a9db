"""The task generators: what they promise, against slow and obvious oracles."""

from __future__ import annotations

import random
import re
from itertools import islice

import pytest

from dlmkit.builtin.tasks import MASK, TASKS, Example, draw, is_held_out
from dlmkit.builtin.tasks.words import CATEGORIES


def _some(task: str, count: int = 300, seed: str = "test") -> list[Example]:
    return list(islice(draw(TASKS[task], seed, held_out=False), count))


@pytest.mark.parametrize("task", TASKS)
def test_the_same_seed_gives_the_same_examples(task: str) -> None:
    """Generators depend on nothing but their seed."""
    assert _some(task, 50) == _some(task, 50)


@pytest.mark.parametrize("task", TASKS)
def test_another_seed_gives_other_examples(task: str) -> None:
    """Seeds are not ignored."""
    assert _some(task, 50) != _some(task, 50, seed="another")


@pytest.mark.parametrize("task", TASKS)
def test_training_never_draws_a_held_out_text(task: str) -> None:
    """No evaluation text occurs in training, whatever the seeds."""
    trained = {example.key for example in _some(task, 2000)}
    held_out = {example.key for example in islice(draw(TASKS[task], "x", held_out=True), 200)}
    assert set() == trained & held_out


def test_the_split_is_decided_by_the_text_alone() -> None:
    """About one text in sixteen is held out, and always the same ones."""
    held_out = [is_held_out(str(n)) for n in range(1600)]
    assert held_out == [is_held_out(str(n)) for n in range(1600)]
    assert 60 < sum(held_out) < 140


@pytest.mark.parametrize("task", TASKS)
def test_an_answer_solves_its_example_and_another_one_does_not(task: str) -> None:
    """Scoring is exact match, apart from outer white space."""
    for example in _some(task, 20):
        assert example.solved_by(example.answer)
        assert example.solved_by(f" {example.answer}\n")
        assert not example.solved_by(example.answer + "0")
        assert not example.solved_by("")


def test_worked_steps_of_word_problems_are_right() -> None:
    """Every step is a true equation, and the answer is the result of the last one."""
    for example in _some("word problems"):
        *steps, final = example.answer.split("\n")
        for step in steps:
            left, right = step.split("=")
            a, sign, b = re.fullmatch(r"(\d+)([-+*])(\d+)", left).groups()
            assert {"+": int(a) + int(b), "-": int(a) - int(b), "*": int(a) * int(b)}[sign] == int(
                right
            )
        assert final == f"#### {steps[-1].split('=')[1]}"
        assert example.size == len(steps)


def test_amounts_in_word_problems_are_never_negative() -> None:
    """Nobody gives away more than there is."""
    assert all("-" not in e.answer.replace("-", "", 3) for e in _some("word problems"))


def _listed(example: Example) -> list[str]:
    return example.prompt.split(": ", 1)[1].split(" ")


def _expected(example: Example) -> list[str]:
    words, items = example.prompt.split(":")[0].split(" "), _listed(example)
    match example.kind:
        case "copy":
            return items
        case "reverse":
            return [items[len(items) - 1 - i] for i in range(len(items))]
        case "sort":
            return sorted(items)
        case "replace":
            return [words[3] if item == words[1] else item for item in items]
        case "insert":
            items.insert(int(words[3]) - 1, words[1])
            return items
        case _:
            return [item for item in items if item != words[1]]


def test_list_operations_do_what_their_prompt_says() -> None:
    """Each operation agrees with a second implementation that reads the prompt."""
    examples = _some("lists", 600)
    assert {"copy", "reverse", "sort", "replace", "insert", "remove"} == {e.kind for e in examples}
    for example in examples:
        assert " ".join(_expected(example)) == example.answer
        assert len(_listed(example)) == example.size


def test_multiple_choice_has_one_right_option() -> None:
    """Numbers and sums are checked; members and odd ones out by their categories."""
    category = {word: name for name, members in CATEGORIES.items() for word in members}
    for example in _some("choice"):
        options = dict(re.findall(r"([A-D])\) (\w+)", example.prompt))
        right = options.pop(example.answer)
        wrong = list(options.values())
        match example.kind:
            case "largest":
                assert int(right) > max(map(int, wrong))
            case "smallest":
                assert int(right) < min(map(int, wrong))
            case "sum":
                a, b = re.findall(r"(\d+) \+ (\d+)\?", example.prompt)[0]
                assert int(right) == int(a) + int(b)
                assert right not in wrong
            case "odd one out":
                assert len({category[word] for word in wrong} - {category[right]}) == 1
            case _:
                assert f" {category[right]}?" in example.prompt
                assert category[right] not in {category[word] for word in wrong}


def test_infilling_shows_the_answer_apart_from_the_masks() -> None:
    """Filling the masks of a prompt one by one can give the answer, and something is masked."""
    for example in _some("infill"):
        assert MASK in example.prompt
        pattern = "".join(
            r"(?: ?\w)" if part == MASK else re.escape(part)
            for part in re.split(f"({re.escape(MASK)})", example.prompt)
        ).replace(r"(?: ?\w)", r" ?\w+?")
        assert re.fullmatch(pattern, example.answer)


def test_generators_leave_the_global_random_state_alone() -> None:
    """Drawing examples does not disturb other users of `random`."""
    before = random.getstate()
    _some("lists", 10)
    assert before == random.getstate()
