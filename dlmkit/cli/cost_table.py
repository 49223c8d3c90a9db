"""What a decode cost, as a small table, and below it what became of its drafts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.padding import Padding
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dlmkit.accounts.results import Result

__all__ = ["cost_report"]

_MOST_ROWS = 20


def cost_report(results: Sequence[Result]) -> Group:
    """Return the table of costs, and what is to be said about them."""
    notes = [note for note in (_drafts(results), _unweighted(results)) if note]
    return Group(_table(results), *(Padding(note, (0, 0, 0, 2), style="dim") for note in notes))


def _table(results: Sequence[Result]) -> Table:
    """Return one line for each prompt (the first twenty), and the whole for several.

    Seconds are those of the prompt's batch; the whole counts each batch once.
    """
    networks = list(results[0].nfe)
    table = Table(
        box=box.SIMPLE_HEAD,
        show_footer=len(results) > 1,
        header_style="dim",
    )
    if len(results) > 1:
        table.add_column("prompt", "all", justify="right")
    table.add_column("tokens", str(sum(each.tokens for each in results)), justify="right")
    for name in networks:
        table.add_column(_forwards(name, networks), justify="right")
    if results[0].weighted_nfe is not None:
        weighted = sum(each.weighted_nfe or 0 for each in results)
        table.add_column("weighted", f"{weighted:.1f}", justify="right")
    table.add_column("tokens per forward", f"{_overall_rate(results):.2f}", justify="right")
    table.add_column("seconds", f"{_batch_seconds(results):.2f}", justify="right")
    for number, result in enumerate(results[:_MOST_ROWS], 1):
        cells = [
            str(result.tokens),
            *(str(result.nfe[name]) for name in networks),
            *([] if result.weighted_nfe is None else [f"{result.weighted_nfe:.1f}"]),
            f"{result.tokens_per_forward:.2f}",
            f"{result.seconds:.2f}",
        ]
        table.add_row(*([str(number)] if len(results) > 1 else []), *cells)
    return table


def _drafts(results: Sequence[Result]) -> str | None:
    """What the ledgers of all prompts say of the drafts; None where nothing was drafted."""
    ledgers = [each.ledger for each in results if each.ledger.rounds]
    if not ledgers:
        return None
    drafted = sum(each.proposed for each in ledgers)
    kept, corrected = sum(each.accepted for each in ledgers), sum(x.corrected for x in ledgers)
    returned, own = sum(each.remasked for each in ledgers), sum(each.bonus for each in ledgers)
    lost = sum(each.lost for each in ledgers)
    return (
        f"drafted {drafted}: kept {kept}, corrected {corrected}, sent back {returned}; "
        f"the verifier's own {own}" + (f"; lost on the bridge {lost}" if lost else "")
    )


def _unweighted(results: Sequence[Result]) -> str | None:
    """What passes of unlike sizes may add up to where nobody has measured what they cost."""
    missing = results[0].unweighted
    memory, arithmetic = (sum(each.weighted_bounds[side] for each in results) for side in (0, 1))
    alike = len(results[0].nfe) == 1 and round(memory, 1) == round(arithmetic, 1)
    if missing is None or alike:
        return None
    return f"weighted {memory:.1f} to {arithmetic:.1f}, by sizes alone; {missing}"


def _forwards(name: str, networks: Sequence[str]) -> str:
    return "forwards" if len(networks) == 1 else f"forwards of {name}"


def _overall_rate(results: Sequence[Result]) -> float:
    forwards = sum(sum(each.nfe.values()) for each in results)
    return sum(each.tokens for each in results) / max(forwards, 1)


def _batch_seconds(results: Sequence[Result]) -> float:
    return sum(each.seconds / each.batch_size for each in results)
