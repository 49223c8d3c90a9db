"""The engine of a model is a slot: a name, or a name with options."""

from __future__ import annotations

import pytest

from dlmkit.engines.torch_engine import TorchEngine
from dlmkit.errors import EngineError
from dlmkit.spec import SpecError, load_spec
from dlmkit.spec.write import to_yaml

COMPILED = ["models.main.engine=torch", "models.main.engine.compile=true"]


@pytest.mark.parametrize(
    ("written", "engine"),
    [
        ("torch", TorchEngine()),
        ("{use: torch, compile: true}", TorchEngine(compile=True)),
        ("null", None),
    ],
)
def test_an_engine_is_a_name_or_a_name_with_options(written: str, engine: object) -> None:
    """Both forms give the object, and survive being written."""
    document = load_spec("llada", [f"models.main.engine={written}"])
    assert engine == document.models["main"].engine
    assert document == load_spec(to_yaml(document))


def test_an_override_opens_an_engine_given_by_name() -> None:
    """`engine: torch` becomes `{use: torch, ...}`, whereas a model's text is its `repo`."""
    assert TorchEngine(compile=True) == load_spec("llada", COMPILED).models["main"].engine
    repo = load_spec("llada", ["models.main=a/b", "models.main.engine=torch"]).models["main"].repo
    assert "a/b" == repo


def test_options_of_an_engine_do_not_change_the_id() -> None:
    """They decide the speed, not the tokens."""
    assert load_spec("llada").spec_id == load_spec("llada", COMPILED).spec_id


def test_an_unknown_engine_leads_to_doctor() -> None:
    """What is known, and where to learn what is missing."""
    with pytest.raises(SpecError, match="no engine is called 'tpu'") as caught:
        load_spec("llada", ["models.main.engine=tpu"])
    assert "torch" in str(caught.value)
    assert "dlmkit doctor" in str(caught.value)


def test_the_command_line_sets_the_engine_of_every_model() -> None:
    """`--engine` is the registered engine with its default options."""
    from dlmkit.cli.spec_options import document_from

    document = document_from("llada", (), (), engine="torch", device=None, dtype=None)
    assert {TorchEngine()} == {ref.engine for ref in document.models.values()}
    with pytest.raises(EngineError, match="no engine is called 'tpu'") as caught:
        document_from("llada", (), (), engine="tpu", device=None, dtype=None)
    assert "dlmkit doctor" in str(caught.value.hint)
