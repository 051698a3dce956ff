"""The shapes that signatures state with jaxtyping are checked while the tests run, and cost users nothing.

``tests/conftest.py`` names ``check_stated`` to jaxtyping's import hook, which hands it every function and every
dataclass's constructor. Only those that state a shape are wrapped. Plain types are pyright's work: checked here too,
they would hide the errors that our calls raise for a user's wrong types.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from beartype import BeartypeConf, beartype

Function = TypeVar("Function", bound=Callable[..., object])

STATED_SHAPE = re.compile(r"\[(torch\.)?Tensor, ['\"]")
CHECK = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is welcome where a float is


def check_stated(function: Function) -> Function:
    """``function``, checking its arguments and result when its annotations state a tensor's shape."""
    stated = STATED_SHAPE.search(str(getattr(function, "__annotations__", {})))
    return CHECK(function) if stated else function
