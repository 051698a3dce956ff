"""Settings as a TOML file: complete when written, forgiving in what may be left out, strict in what is named.

The tree of frozen dataclasses is the schema; nothing is listed twice. None is written ``"none"``.
A field that holds one of several dataclasses (the network) says which in an entry ``kind``.
"""

from __future__ import annotations

import difflib
import os
import sys
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import tomli_w

from unrender.errors import SettingsError
from unrender.fit.settings import FitSettings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["read_settings", "read_table", "replace_text", "settings_from_table", "settings_to_table", "write_settings"]

_NONE = "none"
_KIND = "kind"


def write_settings(path: Path, settings: FitSettings) -> None:
    """Write every setting, also those with their default."""
    replace_text(path, tomli_w.dumps(settings_to_table(settings)))


def replace_text(path: Path, text: str) -> None:
    """Write a small file whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def read_settings(path: Path, base: FitSettings | None = None) -> FitSettings:
    """The settings in a TOML file; what it leaves out is as in ``base`` (or the default).

    Raises SettingsError, naming the file, for a missing file, a syntax error, an unknown setting or a wrong type.
    """
    return settings_from_table(read_table(path), base, where=path)


def read_table(path: Path) -> dict[str, Any]:
    """The table in a TOML file. Raises SettingsError when it is missing or not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot read the settings ({error})", where=path) from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"not TOML: {error}", where=path) from None


def settings_to_table(settings: FitSettings) -> dict[str, Any]:
    """Settings as nested dicts of plain values, those of TOML and JSON alike."""
    return _encode(settings)


def settings_from_table(table: Mapping[str, Any], base: FitSettings | None = None, where: object = None) -> FitSettings:
    """Settings from nested dicts over ``base``. Raises SettingsError for an unknown name or a wrong type."""
    base = base or FitSettings()
    # A new end takes the place of the old one, of whichever kind.
    if any(table.get(name, _NONE) != _NONE for name in ("steps", "minutes")):
        base = replace(base, steps=None, minutes=None)
    try:
        return _decode_dataclass(base, table, "")
    except SettingsError as error:
        raise error if where is None else SettingsError(str(error), where=where) from None


def _encode(value: Any) -> Any:
    if is_dataclass(value):
        return {field.name: _encode_field(value, field.name) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: _encode(entry) for key, entry in value.items()}
    if isinstance(value, tuple):
        return [_encode(entry) for entry in value]
    return _NONE if value is None else value


def _encode_field(owner: Any, name: str) -> Any:
    value = getattr(owner, name)
    choices = _dataclasses_in(get_type_hints(type(owner))[name])
    return {_KIND: _kind(type(value))} | _encode(value) if len(choices) > 1 else _encode(value)


def _decode_dataclass(base: Any, table: Mapping[str, Any], prefix: str) -> Any:
    """``base`` with the fields that ``table`` names."""
    hints = get_type_hints(type(base))
    names = [field.name for field in fields(base)]
    changes = {}
    for name, value in table.items():
        if name not in names:
            raise _unknown(prefix + name, [prefix + known for known in names])
        changes[name] = _decode(value, hints[name], getattr(base, name), prefix + name)
    kept = {name: getattr(base, name) for name in names if name not in changes}
    return type(base)(**kept, **changes)


def _decode(value: Any, hint: Any, base: Any, name: str) -> Any:
    """``value`` as the type ``hint`` asks for; ``base`` gives what a nested table leaves out."""
    if get_origin(hint) in (Union, types.UnionType):
        return _decode_union(value, get_args(hint), base, name)
    if is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise _wrong_type(name, "a table", value)
        return _decode_dataclass(base, value, f"{name}.")
    if get_origin(hint) is tuple:
        return _decode_tuple(value, get_args(hint), name)
    if isinstance(base, Mapping):
        if not isinstance(value, Mapping):
            raise _wrong_type(name, "a table", value)
        return dict(base) | {key: _decode(entry, float, None, f"{name}.{key}") for key, entry in _flatten(value)}
    return _decode_plain(value, hint, name)


def _decode_union(value: Any, choices: tuple[Any, ...], base: Any, name: str) -> Any:
    tables = _dataclasses_in(choices)
    if tables and isinstance(value, Mapping):
        return _decode_choice(value, tables, base, name)
    if type(None) in choices and value == _NONE:
        return None
    plain = [choice for choice in choices if choice is not type(None)]
    return _decode(value, plain[0], base, name)


def _decode_choice(value: Mapping[str, Any], tables: list[type], base: Any, name: str) -> Any:
    by_kind = {_kind(table): table for table in tables}
    kind = value.get(_KIND, _kind(type(base)))
    if kind not in by_kind:
        raise SettingsError(f"unknown {name}.{_KIND} {kind!r}", expected=f"one of {', '.join(by_kind)}")
    start = base if type(base) is by_kind[kind] else by_kind[kind]()
    return _decode_dataclass(start, {key: entry for key, entry in value.items() if key != _KIND}, f"{name}.")


def _decode_tuple(value: Any, hints: tuple[Any, ...], name: str) -> tuple[Any, ...]:
    repeated = len(hints) == 2 and hints[1] is Ellipsis
    if not isinstance(value, (list, tuple)) or not (repeated or len(value) == len(hints)):
        raise _wrong_type(name, "a list" if repeated else f"a list of {len(hints)}", value)
    each = [hints[0]] * len(value) if repeated else hints
    return tuple(_decode(entry, hint, None, name) for entry, hint in zip(value, each, strict=True))


def _decode_plain(value: Any, hint: Any, name: str) -> Any:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(hint, type):  # a Literal
        if value not in get_args(hint):
            raise SettingsError(f"setting {name}", expected=f"one of {get_args(hint)}", got=repr(value))
        return value
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise _wrong_type(name, hint.__name__, value)
    return value


def _flatten(table: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Dotted keys of TOML are nested tables; here they are names again."""
    flat = []
    for key, value in table.items():
        flat += _flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [(prefix + key, value)]
    return flat


def _dataclasses_in(hint: Any) -> list[type]:
    choices = hint if isinstance(hint, tuple) else get_args(hint)
    return [choice for choice in choices if is_dataclass(choice) and isinstance(choice, type)]


def _kind(table: type) -> str:
    return table.__name__.removesuffix("Settings").lower()


def _unknown(name: str, known: list[str]) -> SettingsError:
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    return SettingsError(f"unknown setting {name!r}", do=f"did you mean {nearest[0]!r}?" if nearest else None)


def _wrong_type(name: str, expected: str, got: Any) -> SettingsError:
    return SettingsError(f"setting {name} has the wrong type", expected=expected, got=repr(got))
