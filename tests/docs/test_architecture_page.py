"""The map of rooms on the architecture page is the house as it stands."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/explanation/architecture.md"
ROOM = re.compile(r"^\| `(dlmkit/[a-z_/]*)` \| (.+) \|$", re.MULTILINE)


def _rooms():
    return {ROOT / folder: text for folder, text in ROOM.findall(PAGE.read_text("utf-8"))}


def test_every_folder_of_the_core_has_its_line():
    """A room that is built, moved or torn down is so on the map too."""
    folders = {file.parent for file in (ROOT / "dlmkit").glob("*/__init__.py")}
    assert {ROOT / "dlmkit", *folders} == set(_rooms())


def test_every_file_on_the_map_lies_in_its_room():
    """A file that a line names is in the folder that the line is about."""
    for folder, text in _rooms().items():
        named = re.findall(r"`(\w+\.py)`", text)
        assert not [name for name in named if not (folder / name).is_file()], folder
