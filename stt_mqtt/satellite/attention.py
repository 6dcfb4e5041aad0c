"""When the satellite listens: its mode, who woke it, who muted it, and what it plays itself.

`now` is monotonic seconds.
"""

from __future__ import annotations

from stt_mqtt.config import ListenMode, SatelliteConfig
from stt_mqtt.satellite.events import ListenState


class ListenPolicy:
    """Decides with which ear each frame is heard."""

    def __init__(self, config: SatelliteConfig) -> None:
        self._mode = config.mode
        self._listen_timeout_s = config.listen_timeout_s
        self._press_timeout_s = config.vad.max_utterance_s
        self._playing_timeout_s = config.playing_timeout_s
        self._listens_until = 0.0
        self._plays_until = 0.0
        self.muted = False

    def ear(self, now: float, speaking: bool) -> ListenState:
        """How the next frame is heard; `speaking`: an utterance is open."""
        if self.muted or self.is_playing(now):
            return ListenState.DEAF
        if self._mode is ListenMode.ALWAYS:
            return ListenState.OPEN
        if now >= self._listens_until and not (speaking and self._listens_until):
            return ListenState.WAITING
        return ListenState.HELD if self._mode is ListenMode.PUSH_TO_TALK else ListenState.OPEN

    def is_playing(self, now: float) -> bool:
        """Whether a sound plays that must not be heard."""
        return now < self._plays_until

    def listen(self, now: float) -> None:
        """Woken up, or the button is pressed: listen for a while, in vain or to one utterance.

        A button that nobody releases is released after the longest utterance.
        """
        held = self._mode is ListenMode.PUSH_TO_TALK
        self._listens_until = now + (self._press_timeout_s if held else self._listen_timeout_s)

    def stop_listening(self) -> None:
        """The button is released, or the utterance has ended that was waited for."""
        self._listens_until = 0.0

    def play(self, playing: bool, now: float) -> None:
        """A sound begins to play, or ends; one that never ends is forgotten after a while."""
        self._plays_until = now + self._playing_timeout_s if playing else 0.0
