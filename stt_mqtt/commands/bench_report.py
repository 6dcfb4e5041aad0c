"""The report of `stt-mqtt bench`, as a table and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table

from stt_mqtt.commands.bench_rooms import Level
from stt_mqtt.engine.calibration_search import Score
from stt_mqtt.engine.resources import Parallelism
from stt_mqtt.rungs import Rung

ALL = "all"


@dataclass(frozen=True, slots=True)
class Setting:
    """What was measured, and on how many cores."""

    rung: Rung
    parallelism: Parallelism
    max_batch: int
    cores: float

    def __str__(self) -> str:
        shared = self.parallelism
        return (
            f"{self.rung.model}, {self.rung.compute_type}, beam {self.rung.beam_size}; "
            f"{_several(shared.workers, 'worker')} of {_several(shared.threads, 'thread')}, "
            f"batches of up to {self.max_batch}; {_several(self.cores, 'core')}"
        )


@dataclass(frozen=True, slots=True)
class Report:
    """The results. `start_mb`: resident memory with the model loaded, before any utterance.

    `words`: scores per corpus and of `ALL`; empty without a manifest.
    """

    setting: Setting
    start_mb: float
    levels: Sequence[Level]
    words: Mapping[str, Score]

    @property
    def peak_mb(self) -> float:
        """Highest resident memory during the measurement."""
        return max(level.peak_mb for level in self.levels)

    def as_json(self) -> dict[str, object]:
        """All results as JSON."""
        rung, shared = self.setting.rung, self.setting.parallelism
        return {
            "model": rung.model,
            "compute_type": rung.compute_type,
            "beam_size": rung.beam_size,
            "cores": self.setting.cores,
            "workers": shared.workers,
            "threads": shared.threads,
            "max_batch": self.setting.max_batch,
            "memory_start_mb": round(self.start_mb, 1),
            "memory_peak_mb": round(self.peak_mb, 1),
            "rooms": [
                {
                    "rooms": level.rooms,
                    "utterances": level.utterances,
                    "utterances_per_s": round(level.per_s, 2),
                    "latency_p50_s": round(level.latency_s(50), 4),
                    "latency_p95_s": round(level.latency_s(95), 4),
                    "cpu_s_per_utterance": round(level.cpu_s_each, 4),
                    "work_s_per_utterance": round(level.work_s_each, 4),
                    "mean_batch": round(level.batch_size, 2),
                    "memory_peak_mb": round(level.peak_mb, 1),
                }
                for level in self.levels
            ],
            "words": {
                corpus: {
                    "clips": score.clips,
                    "wer": round(score.wer, 4),
                    "exact": round(score.exact_share, 4),
                }
                for corpus, score in self.words.items()
            },
        }


def rooms_table(levels: Sequence[Level]) -> Table:
    """A table with a row per number of rooms."""
    columns = (
        "rooms",
        "utterances/s",
        "median ms",
        "95 % ms",
        "CPU ms each",
        "work ms each",
        "mean batch",
        "peak MB",
    )
    table = _table(*columns)
    for level in levels:
        table.add_row(
            str(level.rooms),
            f"{level.per_s:.1f}",
            _ms(level.latency_s(50)),
            _ms(level.latency_s(95)),
            _ms(level.cpu_s_each),
            _ms(level.work_s_each),
            f"{level.batch_size:.1f}",
            f"{level.peak_mb:.0f}",
        )
    return table


def words_table(words: Mapping[str, Score]) -> Table:
    """A table with a row per corpus, and one for all clips."""
    table = _table("clips", "WER %", "exact %", first="corpus")
    for corpus, score in words.items():
        table.add_row(
            corpus,
            str(score.clips),
            f"{100 * score.wer:.1f}",
            f"{100 * score.exact_share:.1f}",
            style="bold" if corpus == ALL else None,
        )
    return table


def _table(*numbers: str, first: str | None = None) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    if first is not None:
        table.add_column(first)
    for name in numbers:
        table.add_column(name, justify="right")
    return table


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f}"


def _several(number: float, what: str) -> str:
    return f"{number:g} {what}{'' if number == 1 else 's'}"
