"""The keys a caller presses, put together."""

from __future__ import annotations

_QUIET_S = 1.0
_MOST = 32
_ENTER = "#"


class Keys:
    """Collects keys until the caller presses no more for a second, or presses `#`. No I/O.

    At most 32 are kept; those beyond are dropped.
    """

    def __init__(self) -> None:
        self._pressed: list[str] = []
        self._entered = False
        self._last_at = 0.0

    def __bool__(self) -> bool:
        return bool(self._pressed)

    def press(self, key: str, now: float) -> None:
        """One more. A `#` behind others only ends them."""
        self._last_at = now
        if key == _ENTER:
            self._entered = True
            if self._pressed:
                return
        if len(self._pressed) < _MOST:
            self._pressed.append(key)

    def complete(self, now: float) -> bool:
        """Whether there are some, and no more are expected."""
        return bool(self._pressed) and (self._entered or now - self._last_at >= _QUIET_S)

    def take(self) -> str:
        """All of them as a text, such as "5 5 0"; they are forgotten here."""
        text = " ".join(self._pressed)
        self._pressed = []
        self._entered = False
        return text
