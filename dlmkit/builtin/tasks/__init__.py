"""The tasks that the built-in models are trained and measured on; seeded, without data files."""

from __future__ import annotations

from dlmkit.builtin.tasks.choice import multiple_choice
from dlmkit.builtin.tasks.example import MASK, Example, Generator, draw, is_held_out
from dlmkit.builtin.tasks.infill import infilling
from dlmkit.builtin.tasks.lists import list_operation
from dlmkit.builtin.tasks.word_problems import word_problem

__all__ = ["MASK", "TASKS", "Example", "Generator", "draw", "is_held_out"]

TASKS: dict[str, Generator] = {
    "word problems": word_problem,
    "lists": list_operation,
    "choice": multiple_choice,
    "infill": infilling,
}
"""Every task's generator by name."""
