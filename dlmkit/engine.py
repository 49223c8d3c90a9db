"""Engines turn a model reference into a network that can be called.

An engine is a plugin; the torch engine is part of the core, compiled engines come from outside.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from dlmkit.component import Component
from dlmkit.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from dlmkit.models.derivation import Derivation
    from dlmkit.models.family import ModelFamily
    from dlmkit.models.reach import RopeScaling
    from dlmkit.models.special_ids import SpecialIds
    from dlmkit.models.tokenizer import Tokenizer
    from dlmkit.network import Network, NetworkInfo

__all__ = ["Engine", "LoadOptions", "LoadedModel", "Provenance", "find_engine"]


@attrs.frozen(kw_only=True)
class LoadOptions:
    """What a user may say about loading a model, the same for every engine.

    `device` is `auto`, `cpu`, `cuda` or `cuda:N`; `dtype` is `auto`, `float32`, `bfloat16`,
    `float16` or `float64`.  `revision` is a branch, tag or commit of a hub repository, and
    `local_files_only` forbids the network.  `mask_id` overrules what the files say.  `progress`
    is called with bytes read and bytes in all.  `family` is used whatever architecture the config
    names, and `families` replaces the registered ones.  `rope` stretches the context.
    `abilities` are those of the optional ones (`NetworkInfo.capabilities`) that the network will
    be asked for: an engine may prepare for these and no others.
    """

    device: str = "auto"
    dtype: str = "auto"
    revision: str | None = None
    local_files_only: bool = False
    mask_id: int | None = None
    progress: Callable[[int, int], None] | None = None
    family: ModelFamily | None = None
    families: Iterable[type[ModelFamily]] | None = None
    rope: RopeScaling | None = None
    abilities: frozenset[str] = frozenset()


@attrs.frozen(kw_only=True)
class Provenance:
    """Where a loaded model came from and how its settings were decided, for reports and locks.

    `revision` is the commit of a hub snapshot where known.  `dtype_reason` says why the number
    format was chosen; `special_ids.provenance` says the same for token ids.  `derivation`
    says what was changed after loading, in words.
    """

    reference: str
    path: Path
    revision: str | None
    family: str
    architecture: str
    special_ids: SpecialIds
    dtype_reason: str
    derivation: str = ""


@attrs.frozen(kw_only=True)
class LoadedModel:
    """A network ready to be called, its tokenizer (None where the folder has none), its origin."""

    network: Network
    tokenizer: Tokenizer | None
    provenance: Provenance


class Engine(Component):
    """Base of engines; subclasses are plugins registered under the role `engine`.

    `derives` lists the options of a spec's `derive` that the engine understands; what it can do
    with one model, `refuse_derivation`, `refuse_rope` and `refuse_unable` say before anything is
    loaded.
    `for_builtin` says that `dlmkit generate` takes it for built-in models on a processor if nobody
    names one.
    """

    role = "engine"
    for_builtin: ClassVar[bool] = False
    derives: ClassVar[frozenset[str]] = frozenset()
    elsewhere = "run `dlmkit doctor` to see which engines are usable here, and what to install"

    def abilities(self) -> frozenset[str]:
        """Optional abilities of this engine's networks, with its options; see `NetworkInfo`.

        A model may lack one all the same.
        """
        return frozenset()

    @abstractmethod
    def load(self, reference: str, options: LoadOptions) -> LoadedModel:
        """Load the model that `reference` names.

        Raises:
            ModelError: the checkpoint cannot be found or read.
            EngineError: this engine cannot run it here.
        """

    def known_info(self, reference: str) -> NetworkInfo | None:
        """Facts about a network that the engine can tell without loading it; None: not here."""
        return None

    def refuse_derivation(self, reference: str, derivation: Derivation) -> None:
        """Refuse what `derive` would refuse for that model, where this is known beforehand.

        Raises:
            EngineError: this engine cannot do it.
        """
        beyond = [f"`{name}`" for name in derivation.asked if name not in self.derives]
        if beyond:
            raise EngineError(
                f"engine {self.name!r} cannot derive a model by {', '.join(beyond)}",
                hint="load the source with the engine torch",
            )

    def refuse_rope(self, reference: str, rope: RopeScaling) -> None:
        """Refuse to stretch the context of that model, where this is known beforehand.

        Raises:
            EngineError: this engine cannot do it.
        """

    def refuse_unable(self, reference: str, abilities: frozenset[str]) -> None:
        """Refuse a model that was prepared without one of these, where this is known beforehand.

        Raises:
            EngineError: the engine offers them, but not with this model as it is.
        """

    def derive(self, source: LoadedModel, derivation: Derivation) -> LoadedModel:
        """Make a model from one that this engine loaded, sharing what does not change.

        Raises:
            ModelError: the source has no such layers.
            EngineError: this engine cannot do it.
        """
        raise EngineError(
            f"engine {self.name!r} cannot derive one model from another",
            hint="give the derived model a `repo` of its own, or use the engine torch",
        )


def find_engine(name: str) -> Engine:
    """Return the registered engine of that name, with its default options.

    Raises:
        EngineError: no plugin offers it.
    """
    from dlmkit.plugins import get_plugins  # plugins name engines, which load models

    registry = get_plugins().registry
    cls: Any = registry.find(Engine.role, name)
    if cls is None:
        known = ", ".join(sorted(registry.of_role(Engine.role))) or "none"
        raise EngineError(
            f"no engine is called {name!r}; known are: {known}", hint=Engine.elsewhere
        )
    engine: Engine = cls()
    return engine
