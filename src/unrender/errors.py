"""The one family of exceptions: every refusal is a single line that helps."""

from __future__ import annotations

__all__ = ["CaptureError", "RunError", "SettingsError", "ShapeError", "UnrenderError"]


class UnrenderError(Exception):
    """Something the user can mend.

    The message is one line: what is wrong, where, what was expected, what was got, what to do.
    The command line prints it without a traceback and exits with status 2.
    """

    def __init__(
        self,
        what: str,
        *,
        where: object = None,
        expected: object = None,
        got: object = None,
        do: str | None = None,
    ) -> None:
        parts = [what if where is None else f"{where}: {what}"]
        if expected is not None:
            parts.append(f"expected {expected}")
        if got is not None:
            parts.append(f"got {got}")
        line = ", ".join(parts)
        if do is not None:
            line = f"{line}; {do}"
        super().__init__(" ".join(line.split()))


class CaptureError(UnrenderError):
    """The photos, cameras or points that were handed in cannot be used."""


class SettingsError(UnrenderError):
    """A setting is unknown, of the wrong type or out of range."""


class RunError(UnrenderError):
    """A run folder is missing, damaged or belongs to something else."""


class ShapeError(UnrenderError, ValueError):
    """An argument of a public call has the wrong shape, type or device."""
