"""The page of `codecs` for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import bench
from stt_mqtt.types import Codec

WHOLE = "PCM"
"""The way that codecs alone are compared with."""


def markdown(data: Mapping[str, Any]) -> list[str]:
    """The page."""
    results = data["ways"]
    whole = {name: row for name, row in results.items() if row["beside"] == WHOLE}
    ear = {name: row for name, row in results.items() if name not in whole}
    made = ", ".join(f"{name} {value}" for name, value in data["opus_options"].items())
    sends = data["default"]["codec"]
    if sends == Codec.OPUS.value:
        sends += f" at {data['default']['kbps']} kbit/s"
    return [
        "# What codec and ear cost",
        "",
        bench.describe(data["machine"]),
        "",
        f"{data['recordings']} recordings ({data['seconds']:.0f} s): "
        f"{data['recordings'] - data['orders']} sentences with {data['words']} words, right when "
        f"every word is, and {data['orders']} orders of many people, right when every value of "
        f"the order is in the text. Heard by {data['model']} ({data['rung']}), in batches of "
        f"{data['together']}. In brackets: 95 % intervals of the difference, over the choice of "
        "the recordings. Gained and lost: recordings that are right on this way only, or on the "
        "other only. Nats: how much surer the model is of each token of what was said in the "
        "sentences, which tells ways apart that give the same words. "
        f"A satellite sends {sends} unless it is told otherwise.",
        "",
        "## The codec alone",
        "",
        "Beside PCM. A shift by the 6.5 ms that libopus is late changes nothing that can be "
        "heard: what it gains and loses is chance, and shows how much of the rest may be. Opus is "
        f"coded with {made}; SILK: packets that libopus made with its coder for speech.",
        "",
        *_table(whole),
        "",
        "## The ear",
        "",
        "Each recording in a quiet room, heard whole, or as detector, segmenter and clean-up of "
        "the satellite send it. The ear is compared with the whole room: that is what cutting "
        "costs. Codecs behind it are compared with PCM behind it. Bytes are of the audio sent.",
        "",
        *_table(ear),
    ]


def _table(rows: Mapping[str, Any]) -> list[str]:
    header = [
        "",
        "bytes/s",
        "MB",
        "right",
        "points",
        "gained, lost",
        "orders right",
        "WER",
        "points",
        "nats",
        "SILK",
        "ms per s",
    ]
    return bench.table(
        header,
        [
            [
                name,
                row["bytes_per_s"],
                f"{row['bytes'] / 1e6:.2f}",
                row["understood"],
                _points(row["understood_points"], row["understood_points_95"]),
                f"{row['gained']}, {row['lost']}",
                row["orders_right"],
                f"{row['wer']:.1%}",
                _points(row["wer_points"], row["wer_points_95"]),
                _nats(row["nats"], row["nats_95"]),
                "" if row["silk_share"] is None else f"{row['silk_share']:.0%}",
                f"{row['cpu_ms_per_s']:.1f}",
            ]
            for name, row in rows.items()
        ],
    )


def _points(mean: float, limits: Sequence[float]) -> str:
    return f"{mean:+.1f} ({limits[0]:+.1f} to {limits[1]:+.1f})"


def _nats(mean: float, limits: Sequence[float]) -> str:
    return f"{mean:+.3f} ({limits[0]:+.3f} to {limits[1]:+.3f})"
