"""Which sites are not listened to, and why: text is being spoken there, sound played."""

from __future__ import annotations

from stt_mqtt.errors import OverloadedError

MAX_SITES = 1000
MAX_REASONS = 16

_NO_REASON = ""
"""Its `on` makes all the others void; for it there is always room."""
_NONE: frozenset[str] = frozenset()


class Toggles:
    """The reasons why each site is off; a site without any is on. `site` None means all."""

    def __init__(self) -> None:
        self._all: frozenset[str] = _NONE
        """The reasons of sites that have no entry of their own."""
        self._own: dict[str, frozenset[str]] = {}

    def is_off(self, site: str) -> bool:
        """Whether a site is not listened to."""
        return bool(self._own.get(site, self._all))

    def off(self, site: str | None, reason: str) -> None:
        """Do not listen, for this reason among others.

        Raises `OverloadedError` when more sites or reasons are off than are remembered.
        """
        if site is None:
            self._all = _with(self._all, reason)
            for name, reasons in list(self._own.items()):
                self._set(name, _with(reasons, reason))
        else:
            self._set(site, _with(self._own.get(site, self._all), reason))

    def on(self, site: str | None, reason: str) -> None:
        """This reason holds no more; the empty one: none does.

        Raises `OverloadedError` when more sites differ from the others than are remembered.
        """
        if site is None:
            self._all = _without(self._all, reason)
            for name, reasons in list(self._own.items()):
                self._set(name, _without(reasons, reason))
        else:
            self._set(site, _without(self._own.get(site, self._all), reason))

    def _set(self, site: str, reasons: frozenset[str]) -> None:
        if reasons == self._all:
            self._own.pop(site, None)
        elif site in self._own or len(self._own) < MAX_SITES:
            self._own[site] = reasons
        else:
            raise OverloadedError(f"{MAX_SITES} sites are toggled already, this one stays as it is")


def _with(reasons: frozenset[str], reason: str) -> frozenset[str]:
    if len(reasons) >= MAX_REASONS and reason not in {_NO_REASON, *reasons}:
        raise OverloadedError(f"a site is off for {MAX_REASONS} reasons already")
    return reasons | {reason}


def _without(reasons: frozenset[str], reason: str) -> frozenset[str]:
    return _NONE if reason == _NO_REASON else reasons - {reason}
