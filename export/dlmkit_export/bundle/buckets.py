"""Sizes that a compiled network is run at; what lies between is padded up.

Few sizes mean few compiled variants, few captured graphs and bounded memory.  Without buckets a
graph runs at exactly the sizes that are asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from dlmkit.errors import EngineError, RequestError

__all__ = ["Buckets"]


@attrs.frozen(kw_only=True)
class Buckets:
    """Sizes in ascending order: `fed` positions, cache `slots`, `wanted` rows; empty: any."""

    fed: tuple[int, ...] = ()
    slots: tuple[int, ...] = ()
    wanted: tuple[int, ...] = ()

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Buckets:
        """Read `fed=32,64,256` and the like.

        Raises:
            RequestError: a text is not of that form.
        """
        given: dict[str, tuple[int, ...]] = {}
        for text in texts:
            name, _, sizes = text.partition("=")
            numbers = sizes.split(",")
            known = name in {field.name for field in attrs.fields(cls)}
            if not known or not all(number.isdecimal() and int(number) for number in numbers):
                raise RequestError(
                    f"--buckets {text!r} is not a list of sizes",
                    hint="for example --buckets fed=32,64,256 --buckets slots=512 --buckets "
                    "wanted=32",
                )
            given[name] = tuple(sorted({int(number) for number in numbers}))
        return cls(**given)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Buckets:
        """Read what `as_json` wrote."""
        return cls(**{name: tuple(int(size) for size in sizes) for name, sizes in fields.items()})

    def as_json(self) -> dict[str, list[int]]:
        """Lists of sizes by name."""
        return {name: list(sizes) for name, sizes in attrs.asdict(self).items()}

    def fit(self, name: str, size: int) -> int:
        """Return the smallest bucket that holds `size`; nothing needs no bucket.

        Raises:
            EngineError: it is larger than the largest bucket.
        """
        sizes: tuple[int, ...] = getattr(self, name)
        if not sizes or (name == "slots" and size == 0):
            return size
        fitting = [each for each in sizes if each >= size]
        if not fitting:
            listed = ",".join(map(str, (*sizes, size)))
            raise EngineError(
                f"this decode needs {size} {_UNITS[name]}, but the largest bucket of the bundle "
                f"is {sizes[-1]}",
                hint=f"export again with --buckets {name}={listed}, or decode less at once",
            )
        return fitting[0]


_UNITS = {"fed": "fed positions", "slots": "cache slots", "wanted": "wanted rows"}
