"""A checkpoint's `config.json`, read with checks: every complaint names the file and the field.

Two generations of field names are in circulation; readers give all spellings they accept and the
first one present wins.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

from dlmkit.errors import ModelError
from dlmkit.models.arch import RotarySpec
from dlmkit.models.rotary_fields import read_scaling

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Config", "read_config", "read_json"]

_MISSING: Any = object()


@attrs.frozen
class Config:
    """The fields of a `config.json`; `origin` is the file named in errors.

    A field that is `null` counts as absent, as it does in the libraries that write these files.
    """

    fields: Mapping[str, Any]
    origin: str = "config.json"

    @property
    def architecture(self) -> str:
        """The one published model class that this checkpoint belongs to.

        Raises:
            ModelError: `architectures` is missing or not a list of names.
        """
        names = self.fields.get("architectures")
        if isinstance(names, list) and names and isinstance(names[0], str):
            return names[0]
        raise ModelError(
            f"{self.origin} does not say which architecture the model has: field 'architectures' "
            f"is {'missing' if names is None else f'{names!r}, not a list of names'}",
            hint='add the model class of the original release, e.g. "architectures": '
            '["LLaDAModelLM"]; `model_type` is not enough, several models share one',
        )

    def integer(self, *names: str, default: int | None = None) -> int:
        """Return a positive whole number; without a default the field is required.

        Raises:
            ModelError: the field is something else, or missing.
        """
        value = self._take(names, default)
        if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
            raise self._wrong(names, "a positive whole number", value)
        return value

    def number(self, *names: str, default: float | None = None) -> float:
        """Return a number; without a default the field is required.

        Raises:
            ModelError: the field is something else, or missing.
        """
        value = self._take(names, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(names, "a number", value)
        return float(value)

    def flag(self, *names: str) -> bool | None:
        """Return true or false, or None where the field is absent.

        Raises:
            ModelError: the field is something else.
        """
        name = self._name(names)
        value = self.fields[name] if name else None
        if value is None or isinstance(value, bool):
            return value
        raise self._wrong(names, "true or false", value)

    def ids(self, *names: str) -> tuple[int, ...]:
        """Return token ids given as one number or a list of them; empty where absent.

        Raises:
            ModelError: the field is something else.
        """
        value = self._take(names, [])
        listed = value if isinstance(value, list) else [value]
        if all(isinstance(each, int) and not isinstance(each, bool) for each in listed):
            return tuple(listed)
        raise self._wrong(names, "a token id or a list of token ids", value)

    def require(self, constants: Mapping[str, Any], architecture: str) -> None:
        """Check that switches the decoder does not implement are off where they are present.

        Raises:
            ModelError: a field of `constants` has another value than the one given there.
        """
        for name, expected in constants.items():
            found = self.fields.get(name)
            if found is not None and found != expected:
                raise ModelError(
                    f"{self.origin}: {name} is {json.dumps(found)}, but {architecture} is only "
                    f"supported with {json.dumps(expected)}",
                    hint="no published checkpoint of this architecture switches it on; if yours "
                    "does, it needs a family plugin of its own",
                )

    def rotary(self, dim: int) -> RotarySpec:
        """Return the rotary embedding over `dim` dimensions, from either spelling.

        Raises:
            ModelError: the config asks for an unknown variant, or gives no base.
        """
        nested = self.nested("rope_parameters", "rope_scaling")
        holder = nested if nested.fields.get("rope_theta") else self
        return RotarySpec(base=holder.number("rope_theta"), dim=dim, scaling=read_scaling(nested))

    def nested(self, *names: str) -> Config:
        """Return the fields of a mapping inside the config; none where it is absent.

        Raises:
            ModelError: the field is something else.
        """
        value = self._take(names, {})
        if not isinstance(value, Mapping):
            raise self._wrong(names, "a mapping", value)
        return Config(value, f"{self.origin}: {self._name(names)}")

    def _name(self, names: tuple[str, ...]) -> str | None:
        return next((name for name in names if self.fields.get(name) is not None), None)

    def _take(self, names: tuple[str, ...], default: Any) -> Any:
        name = self._name(names)
        if name is not None:
            return self.fields[name]
        if default is None:
            raise ModelError(
                f"{self.origin}: field {' or '.join(map(repr, names))} is missing",
                hint="download the checkpoint again, or copy the field from the original release",
            )
        return default

    def _wrong(self, names: tuple[str, ...], expected: str, found: Any) -> ModelError:
        return ModelError(f"{self.origin}: {self._name(names)} must be {expected}; got {found!r}")


def read_config(folder: Path) -> Config:
    """Read `config.json` of a checkpoint folder.

    Raises:
        ModelError: the file is missing, not JSON, or not an object.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise ModelError(
            f"{folder} is not a checkpoint: it has no config.json",
            hint="give the folder that holds config.json and the .safetensors files",
        )
    return Config(read_json(path), origin=str(path))


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; a key given twice is an error.

    Raises:
        ModelError: the file cannot be read, is not JSON, or is not an object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_unique)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"cannot read {path}: {error}", hint="download the file again, or repair it"
        ) from error
    if not isinstance(value, dict):
        raise ModelError(f"{path} must hold a JSON object; got {type(value).__name__}")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"key {key!r} is given twice")
        found[key] = value
    return found
