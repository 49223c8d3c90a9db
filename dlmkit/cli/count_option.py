"""Options that take a whole number, all in one form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["count_option"]


def count_option(
    *names: str, says: str, default: int | None = None, least: int = 1
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """An option for a number of something, `least` or more; help `says` what it is."""
    number = click.IntRange(least)
    return click.option(*names, type=number, default=default, show_default=True, help=says)
