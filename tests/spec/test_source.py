"""The YAML reader: scalars of the 1.2 core schema, and nothing that hides what a spec says."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlmkit.spec.report import Source, SpecError
from dlmkit.spec.source import MAX_DEPTH, MappingNode, ScalarNode, SequenceNode, parse


def read(text: str):
    """The tree as plain values, and the messages of the problems."""
    node, problems = parse(Source("x.yaml", text))
    return plain(node), [f"{p.mark.line}:{p.mark.column} {p.message}" for p in problems]


def plain(node):
    """A node as the plain value it stands for."""
    if isinstance(node, ScalarNode):
        return node.value
    if isinstance(node, SequenceNode):
        return [plain(item) for item in node.items]
    return {key: plain(value) for key, (_, value) in node.entries.items()}


def failure(text: str) -> str:
    """First line of the error that reading the text gives."""
    with pytest.raises(SpecError) as caught:
        parse(Source("x.yaml", text))
    return str(caught.value).splitlines()[0]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E5", 1e5),
        (".5", 0.5),
        ("5.", 5.0),
        ("-2.5e+3", -2500.0),
        ("017", 17),
        ("0o17", 15),
        ("0xFF", 255),
        ("+3", 3),
        ("on", "on"),
        ("yes", "yes"),
        ("No", "No"),
        ("12:30:45", "12:30:45"),
        ("2026-11-22", "2026-11-22"),
        ("1_000", "1_000"),
        ("0b11", "0b11"),
        ("true", True),
        ("FALSE", False),
        ("null", None),
        ("~", None),
        ("'1'", "1"),
        ('"true"', "true"),
        (".inf", math.inf),
        ("-.Inf", -math.inf),
        ("1.2.3", "1.2.3"),
        ("=", "="),
    ],
)
def test_scalars_follow_the_yaml_1_2_core_schema(text: str, value) -> None:
    """Every spelling means what YAML 1.2 says, not what YAML 1.1 said."""
    found = read(f"- {text}")[0][0]
    assert (type(value), value) == (type(found), found)


def test_an_empty_value_is_null() -> None:
    """A key without a value holds null."""
    assert {"a": None} == read("a:\n")[0]


def test_a_very_long_number_stays_text() -> None:
    """Digits beyond any number we know are not converted."""
    assert isinstance(read("- " + "9" * 5000)[0][0], str)


def test_a_duplicate_key_is_a_problem_and_the_first_one_stands() -> None:
    """The later key is reported with the line of the earlier one."""
    value, problems = read("a: 1\nb: 2\na: 3\n")
    assert {"a": 1, "b": 2} == value
    assert ["3:1 duplicate key 'a'"] == problems


@pytest.mark.parametrize("text", ["a: !!int 3", "a: !thing {b: 1}", "a: !!python/name:os.system x"])
def test_a_tag_is_a_problem(text: str) -> None:
    """No tag means anything here."""
    assert ["1:4 tags (!...) are not supported"] == read(text)[1]


def test_a_merge_key_is_a_problem() -> None:
    """`<<` would hide where a value comes from."""
    assert ["2:5 merge keys (<<) are not supported"] == read("a: &x {b: 1}\nc: {<<: *x}\n")[1]


@pytest.mark.parametrize("key", ["1", "true", "[a]", "null"])
def test_a_key_must_be_text(key: str) -> None:
    """Numbers and lists are no keys."""
    assert ["1:1 a key must be text"] == read(f"{key}: x\n")[1]


def test_an_alias_keeps_the_position_of_its_anchor() -> None:
    """Both uses point to where the value was written."""
    node, _ = parse(Source("x.yaml", "a: &x [1]\nb: *x\n"))
    assert isinstance(node, MappingNode)
    assert node.get("a") is node.get("b")


def test_positions_are_one_based() -> None:
    """The first character of a text is 1:1."""
    node, _ = parse(Source("x.yaml", "a:\n  b: [x, y]\n"))
    items = node.get("a").get("b").items
    assert ["x.yaml:2:7", "x.yaml:2:10"] == [str(item.mark) for item in items]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "x.yaml:1:1: the document is empty"),
        ("# nothing\n", "x.yaml:1:1: the document is empty"),
        ("a: 1\n---\nb: 2\n", "x.yaml:2:1: a file holds one document only"),
        ("a: &x [*x]\n", "x.yaml:1:8: *x refers to a value that contains it"),
        ("a: *x\n", "x.yaml:1:4: nothing is anchored as &x before this"),
        ("a: [1\n", "x.yaml:2:1: not valid YAML: expected ',' or ']', but got '<stream end>'"),
        ("a: b: c\n", "x.yaml:1:5: not valid YAML: mapping values are not allowed here"),
        ("a: \x00\n", "x.yaml:1:4: the character '\\x00' is not allowed"),
    ],
)
def test_what_is_not_one_document_is_refused_with_its_position(text: str, message: str) -> None:
    """The error names the line and column at fault."""
    assert message == failure(text)


def test_a_tab_gets_a_hint() -> None:
    """Indentation with tabs is the commonest mistake of all."""
    with pytest.raises(SpecError, match="indent with spaces, never with tabs"):
        parse(Source("x.yaml", "a:\n\tb: 1\n"))


def test_an_alias_bomb_is_refused() -> None:
    """Nine lists of nine aliases each would be a billion values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
    assert "more than 20000 values once aliases are expanded" in failure("\n".join(lines))


def test_deep_nesting_is_refused() -> None:
    """Neither our reader nor a later stage runs out of stack."""
    assert f"nested more than {MAX_DEPTH} levels deep" in failure("[" * 5000)


@given(st.text(alphabet=" \n:-[]{},&*!|>'\"#?%@`~<.0123456789eExX+abtruefalsn\t", max_size=60))
def test_any_text_gives_a_tree_or_a_spec_error(text: str) -> None:
    """Nothing else escapes the reader."""
    try:
        parse(Source("x.yaml", text))
    except SpecError as error:
        assert error.problems
