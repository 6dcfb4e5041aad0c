"""`phrases:`: the sentences of the home and the names in them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, SecretStr, StringConstraints, model_validator

from stt_mqtt.config.section import Section

MAX_PATHS = 64
MAX_LISTS = 100
ListName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Values = Annotated[
    tuple[Annotated[str, Field(min_length=1, max_length=100)], ...], Field(max_length=10_000)
]
PathText = Annotated[str, Field(min_length=1, max_length=1024)]
_HOST = r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9_.-]{1,253})"
HomeAssistantUrl = Annotated[
    str,
    StringConstraints(pattern=rf"^https?://{_HOST}(:[0-9]{{1,5}})?(/[A-Za-z0-9_.~/-]{{0,200}})?$"),
]


class NamesFromHomeAssistantConfig(Section):
    """Names from Home Assistant, by its WebSocket API."""

    url: HomeAssistantUrl = "http://homeassistant.local:8123"
    """Address of Home Assistant, as a browser needs it."""
    token_file: str | None = Field(default=None, min_length=1, max_length=1024)
    """File whose first line is a long-lived access token of an administrator."""
    token: SecretStr | None = None
    """The token itself. Prefer `token_file` or the environment."""
    ca_file: str | None = Field(default=None, min_length=1, max_length=1024)
    """PEM file with the certificate authority of an https `url`. Default: those of the system."""

    @model_validator(mode="after")
    def _one_token(self) -> NamesFromHomeAssistantConfig:
        if self.token is not None and self.token_file is not None:
            raise ValueError("give token or token_file, not both")
        if self.token is None and self.token_file is None:
            raise ValueError(
                "needs token_file: a file with a long-lived access token, which Home Assistant "
                "makes on the page of your profile, under Security"
            )
        return self

    @property
    def is_encrypted(self) -> bool:
        """Whether the connection uses TLS."""
        return self.url.startswith("https:")

    @property
    def websocket_url(self) -> str:
        """Address of the WebSocket API."""
        return self.url.rstrip("/") + "/api/websocket"


class PhrasesConfig(Section):
    """The phrase book: sentences that the home knows. Without one, nothing changes."""

    paths: tuple[PathText, ...] = Field(default=(), max_length=MAX_PATHS)
    """Files, or folders of files, in the format of Home Assistant's custom sentences."""
    builtin: bool = False
    """Use the starter book, which has sentences for lights, covers, climate, media and timers."""
    names: dict[ListName, Values] = Field(default_factory=dict, max_length=MAX_LISTS)
    """Values by the name of their list, such as `drink: [tea, coffee]` for `{drink}`."""
    home_assistant: NamesFromHomeAssistantConfig | None = None
    """Names of exposed entities, areas and floors from Home Assistant. null: none."""

    @property
    def has_book(self) -> bool:
        """Whether there are sentences."""
        return self.builtin or bool(self.paths)
