"""The names of the home from all sources: configuration, MQTT and Home Assistant."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from stt_mqtt.app.sources import resolve_authorities, resolve_token
from stt_mqtt.config import NamesFromHomeAssistantConfig, PhrasesConfig
from stt_mqtt.errors import MissingExtraError
from stt_mqtt.names.store import NamesStore, default_state_dir
from stt_mqtt.phrases.names import NO_NAMES, HomeNames, merged, names_in_lists

if TYPE_CHECKING:
    from stt_mqtt.names.client import NamesClient, NamesStatus


class NameSources:
    """Joins the names of the sources. Calls `changed` with all of them when they differ.

    Runs on the event loop. `names` are all of them, at first with those of the last run. Calls
    `status_changed` when Home Assistant comes or goes. Raises `ConfigError` if the token or the
    certificates for Home Assistant cannot be read, `MissingExtraError` without aiohttp.
    """

    def __init__(
        self,
        config: PhrasesConfig,
        changed: Callable[[HomeNames], None],
        status_changed: Callable[[], None],
    ) -> None:
        self._changed = changed
        self._client: NamesClient | None = None
        self._configured, _ = names_in_lists(config.names)
        self._published = NO_NAMES
        self._home_assistant = NO_NAMES
        if config.home_assistant is not None:
            self._client = _names_client(
                config.home_assistant, self.set_home_assistant, status_changed
            )
            self._home_assistant = self._client.load()
        self.names = self._joined()

    @property
    def status(self) -> NamesStatus | None:
        """How up to date the names of Home Assistant are; None: it is not a source."""
        return None if self._client is None else self._client.status

    @property
    def info(self) -> dict[str, object]:
        """Where the names are from and how many there are, without any name."""
        status, names = self.status, self.names
        home_assistant = None
        if status is not None:
            waiting = status.waiting
            home_assistant = "connected" if waiting is None else f"waiting: {waiting}"
        return {
            "home_assistant": home_assistant,
            "entities": len(names.entities),
            "areas": len(names.areas),
            "floors": len(names.floors),
            "lists": len(names.lists),
        }

    async def follow(self) -> None:
        """Follow Home Assistant until cancelled. Returns at once if it is not a source."""
        if self._client is not None:
            await self._client.run()

    def set_published(self, names: HomeNames) -> None:
        """Replace the names of the retained topic."""
        self._published = names
        self._update()

    def set_home_assistant(self, names: HomeNames) -> None:
        """Replace the names of Home Assistant."""
        self._home_assistant = names
        self._update()

    def _update(self) -> None:
        names = self._joined()
        if names != self.names:
            self.names = names
            self._changed(names)

    def _joined(self) -> HomeNames:
        return merged(self._configured, self._published, self._home_assistant)


def _names_client(
    config: NamesFromHomeAssistantConfig,
    on_names: Callable[[HomeNames], None],
    on_status: Callable[[], None],
) -> NamesClient:
    try:
        from stt_mqtt.names.client import HomeAssistantAccess, NamesClient
    except ImportError as error:
        raise MissingExtraError(error.name, "phrases") from error
    resolve_token(config)
    access = HomeAssistantAccess(
        config.websocket_url, partial(resolve_token, config), resolve_authorities(config)
    )
    return NamesClient(access, NamesStore(default_state_dir()), on_names, on_status)
