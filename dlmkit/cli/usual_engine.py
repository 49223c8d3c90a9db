"""The engine of built-in models where nobody names one.

On a processor they run on the engine that says it is meant for that, compiled when they are first
used.  A model whose pipeline asks for what that engine lacks runs on PyTorch, and that is said.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import attrs

from dlmkit.builtin import PREFIX
from dlmkit.engine import Engine
from dlmkit.errors import EngineError
from dlmkit.models.placement import choose_device
from dlmkit.requirements import demands, without

if TYPE_CHECKING:
    from dlmkit.spec import Document
    from dlmkit.spec.documents import ModelRef

__all__ = ["with_usual_engine"]


def with_usual_engine(document: Document) -> tuple[Document, list[str]]:
    """Name the engine of built-in models that have none; say which could not have it, and why."""
    engine = _usual()
    if engine is None:
        return document, []
    models, notes = dict(document.models), []
    for name, ref in document.models.items():
        if not _open(ref):
            continue
        reasons = list(_obstacles(document, name, engine))
        if reasons:
            notes.append(f"model {name!r} runs on PyTorch: {reasons[0]}")
        else:
            models[name] = attrs.evolve(ref, engine=engine)
    return attrs.evolve(document, models=models), notes


def _usual() -> Engine | None:
    """The engine that is meant for built-in models, if one is installed."""
    from dlmkit.plugins import get_plugins

    offered: Any = get_plugins().registry.of_role(Engine.role)
    meant: list[type[Engine]] = [each for each in offered.values() if each.for_builtin]
    return meant[0]() if meant else None


def _open(ref: ModelRef) -> bool:
    """Whether a model is built in, on the processor, and leaves everything else to us."""
    named = (ref.engine, ref.family, ref.revision)
    plain = all(each is None for each in named) and ref.dtype in (None, "float32")
    builtin = ref.repo is not None and ref.repo.startswith(PREFIX)
    return builtin and plain and choose_device(ref.device or "auto").type == "cpu"


def _obstacles(document: Document, name: str, engine: Engine) -> Iterator[str]:
    """What of the pipeline the engine cannot do with this model."""
    derived = {
        other: ref.derive
        for other, ref in document.models.items()
        if ref.derive is not None and ref.derive.source == name
    }
    for strategy, model, wanted in demands(document.pipeline):
        missing = wanted - engine.abilities()
        if missing and (model == name or model in derived):
            yield (
                f"{strategy.role} {strategy.name!r} needs {', '.join(sorted(missing))}, which "
                f"{engine.name} does not offer: {without(missing)}"
            )
    for other, derivation in derived.items():
        try:
            engine.refuse_derivation(document.models[name].repo or "", derivation)
        except EngineError as error:
            yield f"model {other!r} is derived from it, and {error.args[0]}"
