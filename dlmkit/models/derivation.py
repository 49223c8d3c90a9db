"""How one model of a spec is made from another without reading its weights again."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Literal

import attrs

from dlmkit.bounds import at_least, each, not_empty
from dlmkit.component import option

__all__ = ["EMBEDDINGS", "Derivation"]

EMBEDDINGS = Path(__file__).parent.parent / "builtin" / "embeddings"
"""Prompt tokens of the built-in models."""


def _once(values: tuple[int, ...]) -> str | None:
    twice = next((value for value, count in Counter(values).items() if count > 1), None)
    return None if twice is None else f"names layer {twice} twice"


@attrs.frozen(kw_only=True)
class Derivation:
    """A copy of a model: fewer layers, coarser numbers, more embeddings; the rest is shared.

    Sources: layers left out, Zhang et al., Draft & Verify (arXiv:2309.08168); eight-bit weights
    and activations, Dettmers et al. (arXiv:2208.07339); prompt tokens, parallel prompt decoding
    (arXiv:2405.18628).
    """

    source: str = option(key="from", doc="name of the model that it is made from", check=not_empty)
    skip_layers: tuple[int, ...] = option(
        (),
        doc="layers that are left out, counted from 0; their neighbours are joined",
        check=[each(at_least(0)), _once],
    )
    quantize: Literal["int8"] | None = option(
        None,
        doc="`int8`: linear maps in eight bits, activations quantised on the fly; takes a quarter "
        "of their float32 memory in addition to the source",
    )

    prompt_tokens: str | None = option(
        None,
        doc="safetensors file of embeddings that are fed and never written (prompt tokens); "
        "`builtin/guide`: those of the built-in guide",
    )

    @property
    def asked(self) -> tuple[str, ...]:
        """Names of the options that change something."""
        changes = [each for each in attrs.fields(Derivation) if each.default is not attrs.NOTHING]
        return tuple(each.name for each in changes if getattr(self, each.name) != each.default)

    @property
    def prompt_file(self) -> Path | None:
        """Where the prompt tokens are; `builtin/NAME` is the file that comes with dlmkit."""
        if self.prompt_tokens is None:
            return None
        kind, _, name = self.prompt_tokens.partition("/")
        builtin = kind == "builtin"
        return EMBEDDINGS / f"{name}.safetensors" if builtin else Path(self.prompt_tokens)

    @property
    def text(self) -> str:
        """What is done, in words: `without layers 1, 3, in int8`."""
        number = "layer" if len(self.skip_layers) == 1 else "layers"
        skipped = f"without {number} {', '.join(map(str, sorted(self.skip_layers)))}"
        done = [skipped] if self.skip_layers else []
        done += [f"in {self.quantize}"] if self.quantize else []
        done += [f"with the prompt tokens of {self.prompt_tokens}"] if self.prompt_tokens else []
        return ", ".join(done) or "as it is"
