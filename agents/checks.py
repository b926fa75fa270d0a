"""Checks of parameters that several agents have: the value in, what is wrong with it out, or None."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def positive(value: float) -> str | None:
    """A number or time that is not 0."""
    return None if value > 0 else "not greater than 0"


def port(value: int) -> str | None:
    """A TCP or UDP port."""
    return None if 1 <= value <= 65535 else "not between 1 and 65535"


def path(value: str) -> str | None:
    """The absolute path of a file or directory, without steps upwards."""
    return None if value.startswith("/") and len(value) > 1 and ".." not in value.split("/") else "not an absolute path"


def within(lowest: float, highest: float, allowed: str) -> Callable[[float], str | None]:
    """The check of a number or time between two bounds; ``allowed`` are these in words, such as ``1s to 15s``."""
    return lambda value: None if lowest <= value <= highest else f"out of range; allowed: {allowed}"


def parsed_by(parser: Callable[[str], object], said: str = "") -> Callable[[str], str | None]:
    """The check of a text that ``parser`` must accept; its ValueError says what is wrong, behind ``said``."""

    def check(value: str) -> str | None:
        try:
            parser(value)
        except ValueError as error:
            return f"{said}{error}"
        return None

    return check
