"""Errors that users meet: what is wrong, where, and what to do next.

Each carries a plain message; the command line prints it without a stack trace and exits with
the class's `exit_code` (2: the request was wrong, 1: the run failed).
"""

from __future__ import annotations

__all__ = [
    "DlmkitError",
    "EngineError",
    "ModelError",
    "PluginError",
    "RequestError",
    "StrategyError",
]


class DlmkitError(Exception):
    """Base of every error that dlmkit raises on purpose.

    `hint` is the next step, shown on a line of its own.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message}\n  hint: {self.hint}" if self.hint else message


class RequestError(DlmkitError):
    """What was asked for cannot be done: bad arguments, prompts or sizes."""

    exit_code = 2


class PluginError(DlmkitError):
    """A plugin is broken, ambiguous or offers something that breaks the rules."""

    exit_code = 2


class ModelError(DlmkitError):
    """A checkpoint cannot be read: missing, truncated, misnamed, misshapen, unknown."""

    exit_code = 2


class EngineError(DlmkitError):
    """An engine is unknown, unusable here, or too small for what was asked (out of memory)."""

    exit_code = 2


class StrategyError(DlmkitError):
    """A strategy broke its contract while decoding; names the component and the step."""
