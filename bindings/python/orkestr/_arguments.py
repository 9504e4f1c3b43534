"""Types of arguments, checked before anything is sent. Ranges are the native library's business: one place decides.

Strings that go to a guest are bytes there. They are encoded as UTF-8 with surrogateescape, as ``os.fsencode`` does,
so that a file name that ``files.list`` returned can be passed back even where it is not UTF-8.
"""

from __future__ import annotations

import math
from typing import Any, Mapping

from .errors import InvalidArgument, InvalidArgumentType

_MOST_SECONDS = 10**9  # beyond every limit of the library, within its integers
# What the library allows, for values that do not even fit into its integers.
_ALLOWED = {"memory_mb": "256 to 65536 MiB", "disk_mb": "8192 to 131072 MiB"}


def wrong_type(name: str, value: object, allowed: str) -> InvalidArgumentType:
    return InvalidArgumentType(f"{name} is {type(value).__name__} {_shown(value)}; allowed: {allowed}")


def text(name: str, value: object) -> bytes:
    """A string for the guest."""
    if not isinstance(value, str):
        raise wrong_type(name, value, "str")
    try:
        return value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise InvalidArgument(
            f"{name} {_shown(value)} holds a lone surrogate at index {error.start}; allowed: text that UTF-8 can encode"
        ) from None


def optional_text(name: str, value: object) -> bytes | None:
    return None if value is None else text(name, value)


def texts(name: str, value: object) -> list[bytes]:
    """A list of strings. A single string is a mistake here, not a list of characters."""
    if isinstance(value, (str, bytes)) or not isinstance(value, (list, tuple)):
        raise wrong_type(name, value, "a list of str")
    return [text(f"{name}[{index}]", item) for index, item in enumerate(value)]


def text_map(name: str, value: object) -> dict[bytes, bytes]:
    """A mapping of strings to strings; None is empty."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise wrong_type(name, value, "a mapping of str to str")
    encoded = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise wrong_type(f"a key of {name}", key, "str")
        encoded[text(f"a key of {name}", key)] = text(f"{name}[{key!r}]", item)
    return encoded


def content(name: str, value: object) -> Any:
    """Bytes, or text as UTF-8."""
    if isinstance(value, str):
        try:
            return value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise InvalidArgument(
                f"{name} holds a lone surrogate at index {error.start}; allowed: text that UTF-8 can encode, or bytes"
            ) from None
    return bytes_like(name, value, "str or bytes")


def is_iterable_of_pieces(value: object) -> bool:
    """True for what is gone through piece by piece, not for one piece (bytes, text, a buffer)."""
    if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
        return False
    try:
        memoryview(value)  # type: ignore[arg-type]
    except TypeError:
        return True
    return False


def bytes_like(name: str, value: object, allowed: str = "bytes") -> Any:
    """Bytes, bytearray, memoryview, array: without a copy where the memory is contiguous."""
    if isinstance(value, bytes):
        return value
    try:
        view = memoryview(value)  # type: ignore[arg-type]
    except TypeError:
        raise wrong_type(name, value, allowed) from None
    return view if view.contiguous else view.tobytes()


def integer(name: str, value: object, low: int = -(2**31), high: int = 2**31 - 1) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise wrong_type(name, value, "int")
    number: int = value.__index__()
    if not low <= number <= high:
        raise InvalidArgument(f"{name} is {number}; allowed: {_ALLOWED.get(name, f'{low} to {high}')}")
    return number


def number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise wrong_type(name, value, "a number")
    if not math.isfinite(value):
        raise InvalidArgument(f"{name} is {value}; allowed: a finite number")
    return value


def flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise wrong_type(name, value, "True or False")
    return value


def seconds(name: str, value: object) -> int:
    """Whole seconds, rounded up: what is asked for is the least that is given."""
    return math.ceil(max(-_MOST_SECONDS, min(number(name, value), _MOST_SECONDS)))


def optional_seconds(name: str, value: object) -> int | None:
    return None if value is None else seconds(name, value)


def milliseconds(name: str, value: object) -> int:
    return math.ceil(max(-_MOST_SECONDS, min(number(name, value), _MOST_SECONDS)) * 1000)


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else shown[:77] + "..."
