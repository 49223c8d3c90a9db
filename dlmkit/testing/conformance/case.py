"""A conformance case: one component, one promise, and how to find out."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from dlmkit.component import Component

__all__ = ["BrokenPromiseError", "Check", "ConformanceCase", "require"]

Check = Callable[[Component], None]


class BrokenPromiseError(AssertionError):
    """A component does not keep one of the promises of its role."""


def require(kept: bool, otherwise: str) -> None:
    """Raise `BrokenPromiseError` with an explanation unless the condition holds."""
    if not kept:
        raise BrokenPromiseError(otherwise)


@attrs.frozen(eq=False)
class ConformanceCase:
    """One promise of one component; `str` gives the promise, for test ids."""

    component: Component
    promise: str
    check: Check

    def run(self) -> None:
        """Find out whether the promise is kept.

        Raises:
            BrokenPromiseError: it is not; the message says which promise, and how it broke.
        """
        try:
            self.check(self.component)
        except BrokenPromiseError as broken:
            raise BrokenPromiseError(self._message(str(broken))) from None
        except Exception as error:
            raise BrokenPromiseError(self._message(f"{type(error).__name__}: {error}")) from error

    def _message(self, how: str) -> str:
        owner = f"{self.component.role} '{self.component.name}'"
        return f"{owner} breaks the promise '{self.promise}': {how}"

    def __str__(self) -> str:
        return self.promise.replace(" ", "-")
