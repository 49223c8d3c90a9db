"""`--set path=value`: checked like the file, and named when it is wrong."""

from __future__ import annotations

import pytest

from dlmkit.spec import SpecError, load_spec


def changed(good, plugins, *overrides: str):
    """The document with overrides."""
    return load_spec(good, overrides, plugins=plugins)


def report(good, plugins, *overrides: str) -> str:
    """The message for wrong overrides."""
    with pytest.raises(SpecError) as caught:
        load_spec(good, overrides, plugins=plugins)
    return str(caught.value)


def test_a_value_deep_in_the_pipeline_is_replaced(good, plugins) -> None:
    """The value is YAML."""
    document = changed(good, plugins, "pipeline.transfer.threshold=1e-3")
    assert 0.001 == document.pipeline.transfer.threshold


def test_later_overrides_win(good, plugins) -> None:
    """They are applied in order."""
    assert 96 == changed(good, plugins, "gen_length=32", "gen_length=96").gen_length


def test_a_bare_name_opens_for_its_options(good, plugins) -> None:
    """`exit: prophet` takes an option as if it had been written with `use`."""
    document = changed(good, plugins, "pipeline.exit=prophet", "pipeline.exit.scope=canvas")
    assert ["canvas"] == [each.scope for each in document.pipeline.exit]


def test_an_item_of_a_list_is_replaced(good, plugins) -> None:
    """Indices count from 0."""
    document = changed(
        good, plugins, "pipeline.exit=[prophet, prophet]", "pipeline.exit[1].gaps=[1, 2]"
    )
    assert [(7.5,), (1.0, 2.0)] == [each.gaps for each in document.pipeline.exit]


def test_the_default_model_can_be_changed(good, plugins) -> None:
    """A document without `models` has `main`, the built-in verifier."""
    document = changed(good, plugins, "models.main.dtype=float32")
    assert ("builtin/verifier", "float32") == (
        document.models["main"].repo,
        document.models["main"].dtype,
    )


def test_a_slot_that_was_absent_is_added(good, plugins) -> None:
    """An option that the file leaves out can be given."""
    assert 100 == changed(good, plugins, "pipeline.max_steps=100").pipeline.max_steps


def test_null_takes_a_value_away(good, plugins) -> None:
    """An optional slot is emptied with null."""
    assert changed(good, plugins, "pipeline.blocks=null").pipeline.blocks is None


def test_a_wrong_value_points_into_the_override(good, plugins) -> None:
    """The position is that of the value in the argument."""
    expected = (
        "--set #2:1:29: pipeline.transfer.threshold must be at most 1; got 7\n"
        "     1 | pipeline.transfer.threshold=7\n"
        "       |                             ^"
    )
    assert expected == report(good, plugins, "gen_length=32", "pipeline.transfer.threshold=7")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("pipeline.transfer", "--set #1:1:1: an override is path=value"),
        ("=3", "--set #1:1:1: a path is missing before '='"),
        ("gen_length=", "--set #1:1:11: a value is missing after '='"),
        ("pipeline..x=3", "--set #1:1:10: not a path"),
        ("[0]=3", "--set #1:1:1: not a path"),
        ("pipeline.exit[2]=prophet", "--set #1:1:14: there is no item [2]; the list has 0 items"),
        ("gen_length.x=3", "--set #1:1:12: 'x' cannot be set inside a value"),
        ("gen_length=[", "--set #1:1:13: not valid YAML"),
        ("gen_lenght=3", "--set #1:1:1: the document has no option 'gen_lenght'"),
        ("pipeline.transfer.treshold=1",
         "--set #1:1:19: pipeline.transfer (threshold) has no option 'treshold'"),
        ("pipeline.transfer={use: threshold, use: x}", "--set #1:1:36: duplicate key 'use'"),
    ],
)  # fmt: skip
def test_each_wrong_override_says_what_and_where(override, message, good, plugins) -> None:
    """An override that cannot be used names itself and the column."""
    assert report(good, plugins, override).startswith(message)


def test_problems_of_the_file_come_before_those_of_overrides(good, plugins) -> None:
    """Overrides follow in the order in which they were given."""
    bad = good.replace("greedy", "gready")
    lines = report(bad, plugins, "pipeline.model=3", "gen_length=x").splitlines()
    starts = [line.split(": ")[0] for line in lines[::3]]
    assert ["<text>:6:11", "--set #1:1:16", "--set #2:1:12"] == starts
