"""Checks of models: each is loaded or derived, and what is derived fits its source."""

from __future__ import annotations

import attrs
import pytest

from dlmkit.engine import Engine
from dlmkit.spec import SpecError, load_spec


@pytest.fixture
def findings(good, plugins, tmp_path):
    """Id, place, message and hint of what is wrong with a `models` section."""

    def find(*lines: str) -> list[tuple[str, str, str, str]]:
        section = "".join(f"\n  {line}" for line in lines)
        text = good.replace("name: good", f"name: good\nmodels:{section}")
        try:
            load_spec(text, plugins=plugins)
        except SpecError as error:
            return [(e.check, str(e.mark), e.message, e.hint) for e in error.problems]
        return []

    return find


MAIN = "main: builtin/verifier"


def test_a_derived_model_is_fine(findings):
    """With or without changes."""
    assert [] == findings(MAIN, "thin: {derive: {from: main}}")
    assert [] == findings(MAIN, "thin: {derive: {from: main, skip_layers: [1, 3]}}")


def test_a_model_comes_from_somewhere(findings):
    """And from one place only."""
    hint = "`repo` names a checkpoint, `derive` another model of the spec"
    message = "models.thin needs `repo` or `derive`"
    assert [("model-origin", "<text>:5:9", message, hint)] == findings(
        MAIN, "thin: {dtype: float32}"
    )
    message = "models.thin has both `repo` and `derive`"
    assert [("model-origin", "<text>:5:29", message, hint)] == findings(
        MAIN, "thin: {repo: x/y, derive: {from: main}}"
    )


def test_what_a_derived_model_inherits_is_not_set_on_it(findings):
    """The message says where it is."""
    message = "models.thin is derived, so 'device' is that of its source"
    assert [("model-origin", "<text>:5:18", message, "set it on main")] == findings(
        MAIN, "thin: {device: cpu, derive: {from: main}}"
    )


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("mian", "is no model of the spec: 'mian'", "did you mean 'main'?"),
        ("thin", "is derived itself: 'thin'", "loaded are: main"),
        ("zzzzzz", "is no model of the spec: 'zzzzzz'", "loaded are: main"),
    ],
)
def test_the_source_is_a_loaded_model(findings, name, message, hint):
    """Chains of derivations would hide what is run."""
    found = findings(MAIN, f"thin: {{derive: {{from: {name}}}}}")
    full = f"models.thin.derive.from {message}"
    assert [("derive-source", "<text>:5:25", full, hint)] == found


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ("[4]", "names layer 4, but the model has layers 0 to 3"),
        ("[3, 2, 1, 0]", "leaves none of the 4 layers"),
    ],
)
def test_layers_are_those_of_the_source(findings, layers, message):
    """Known without reading a weight."""
    found = findings(MAIN, f"thin: {{derive: {{from: main, skip_layers: {layers}}}}}")
    full = f"models.thin.derive.skip_layers {message}"
    hint = "builtin/verifier has 4 layers, counted from 0"
    assert [("derive-layers", "<text>:5:44", full, hint)] == found


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("{from: main, skip_layers: [1, 1]}", "names layer 1 twice"),
        ("{from: main, skip_layers: [-1]}", "has an item that must be at least 0"),
        ("{from: main, skip_layers: [1.5]}", "must be a whole number"),
        ("{from: main, quantize: int4}", "must be one of 'int8' or null"),
        ("{skip_layers: [1]}", "needs 'from'"),
        ("{from: main, skip: [1]}", "has no option 'skip'"),
    ],
)
def test_malformed_derivations_are_refused(findings, written, message):
    """At the value that is wrong."""
    ((_, mark, text, _),) = findings(MAIN, f"thin: {{derive: {written}}}")
    assert mark.startswith("<text>:5:")
    assert message in text


def test_the_engine_of_the_source_must_be_able_to(findings, plugins):
    """Engines say which derivations they know."""

    @attrs.frozen
    class Compiled(Engine):
        """A compiled engine."""

        name = "compiled"

        def load(self, reference, options): ...

    plugins.registry.add(Compiled, "dlmkit")
    found = findings(
        "main: {repo: a/b, engine: compiled}", "thin: {derive: {from: main, skip_layers: [0]}}"
    )
    message = "models.thin.derive: engine 'compiled' cannot derive a model by `skip_layers`"
    hint = "load the source with the engine torch"
    assert [("derive-engine", "<text>:5:44", message, hint)] == found
