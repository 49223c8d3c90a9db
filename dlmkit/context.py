"""What a procedure may use while it decodes: networks by name, and the seed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs

from dlmkit.accounts.records import Counts
from dlmkit.errors import RequestError
from dlmkit.passes.session import Session

if TYPE_CHECKING:
    from dlmkit.models.tokenizer import Tokenizer

__all__ = ["Context"]


@attrs.frozen
class Context:
    """One decode's sessions by the names that the spec gives its models, and its seed.

    `tokenizers` are those of the models, by the same names; None where a model has none.
    """

    sessions: Mapping[str, Session]
    seed: int = 0
    tokenizers: Mapping[str, Tokenizer | None] = attrs.field(factory=dict)

    def session(self, name: str) -> Session:
        """Return the session of a model.

        Raises:
            RequestError: the spec has no model of that name.
        """
        if name not in self.sessions:
            raise RequestError(
                f"no model is called '{name}'",
                hint=f"name it under `models`; there are: {', '.join(sorted(self.sessions))}",
            )
        return self.sessions[name]

    def counts(self) -> dict[str, Counts]:
        """What each network has executed so far."""
        return {name: session.counts for name, session in self.sessions.items()}
