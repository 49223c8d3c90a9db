"""Draw docs/images/decode.svg: four moments of a real decode on the built-in verifier.

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
from dlmkit.cli.canvas_text import row_text

PROMPT = "Tom has 12 apples. He buys 7 more and gives 5 to Anna. How many apples does Tom have now?"
TARGET = Path(__file__).parent / "images" / "decode.svg"
MOMENTS = 4


def frames() -> list[Text]:
    """The canvas after evenly spaced steps, with what the step before changed highlighted."""
    runner = Runner.load(load_spec("llada", ["gen_length=32"]))
    decode = runner.start(runner.encode([PROMPT]))
    shown = []
    for record in decode:
        row = row_states(decode, record)[0]
        text = row_text(row, runner.tokenizer.decode, record.step, record.step)
        shown.append(Text(f"pass {record.step + 1:2}   ", "dim").append_text(_on_one_line(text)))
    last = len(shown) - 1
    return [shown[round(last * moment / (MOMENTS - 1))] for moment in range(MOMENTS)]


def _on_one_line(text: Text) -> Text:
    joined = Text()
    for number, line in enumerate(text.split("\n")):
        joined.append(" ⏎ " if number else "", "dim").append_text(line)
    return joined


def main() -> None:
    """Render the frames with rich and write the picture."""
    console = Console(record=True, width=100, file=StringIO(), force_terminal=True)
    body = Group(*frames())
    console.print(Panel(body, title=f"[dim]{PROMPT}[/]", border_style="grey30"))
    TARGET.parent.mkdir(exist_ok=True)
    svg = console.export_svg(title="dlmkit generate")
    # Class names hold a hash of the run; a fixed one keeps the file comparable.
    TARGET.write_text(re.sub(r"terminal-\d+", "terminal-dlmkit", svg), encoding="utf-8")


if __name__ == "__main__":
    main()
