"""Draw docs/images/decode.svg: rounds of a real decode by the built-in drafter and verifier.

Run `python docs/draw_decode.py` to draw it again; the caption on the home page names this command.
"""

from __future__ import annotations

import re
from io import StringIO
from pathlib import Path

from rich.console import Console, Group
from rich.panel import Panel
from rich.text import Text

from dlmkit import Runner, load_spec
from dlmkit.cli.canvas_display import row_states
from dlmkit.cli.canvas_text import legend, row_text
from dlmkit.defaults import DEFAULT_PIPELINE

PROMPT = "Tom has 12 apples. He buys 7 more and gives 5 to Anna. How many apples does Tom have now?"
TARGET = Path(__file__).parent / "images" / "decode.svg"
ROUNDS = 4


def rounds() -> list[list[Text]]:
    """For each round the canvas as the drafter left it, and after the verifier's pass."""
    runner = Runner.load(load_spec(DEFAULT_PIPELINE, ["gen_length=32"]))
    decode = runner.start(runner.encode([PROMPT]))
    found: list[list[Text]] = []
    drafted: list[Text] = []
    passes: dict[str, int] = {}
    for record in decode:
        row = row_states(decode, record)[0]
        text = _on_one_line(row_text(row, runner.tokenizer.decode, record.step, record.step))
        passes[record.network] = passes.get(record.network, 0) + 1
        label = f"{record.network:>8}, pass {passes[record.network]:2}   "
        line = Text(label, "dim").append_text(text)
        if record.phase == "draft":
            drafted = [line]
        else:
            found.append([*drafted, line])
            drafted = []
    return found


def frames() -> list[Text]:
    """Evenly spaced rounds, the first and the last among them."""
    found = rounds()
    last = len(found) - 1
    return [line for number in range(ROUNDS) for line in found[round(last * number / (ROUNDS - 1))]]


def _on_one_line(text: Text) -> Text:
    joined = Text()
    for number, line in enumerate(text.split("\n")):
        joined.append(" ⏎ " if number else "", "dim").append_text(line)
    return joined


def main() -> None:
    """Render the frames with rich and write the picture."""
    console = Console(record=True, width=108, file=StringIO(), force_terminal=True)
    body = Group(*frames(), Text(), legend())
    console.print(Panel(body, title=f"[dim]{PROMPT}[/]", border_style="grey30"))
    TARGET.parent.mkdir(exist_ok=True)
    svg = console.export_svg(title="dlmkit generate")
    # Class names hold a hash of the run; a fixed one keeps the file comparable.
    TARGET.write_text(re.sub(r"terminal-\d+", "terminal-dlmkit", svg), encoding="utf-8")


if __name__ == "__main__":
    main()
