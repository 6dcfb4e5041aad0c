"""How much a client may send, and how long everything may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bytes are checked before they are read; times are seconds."""

    header_bytes: int = 64 * 1024
    """The reference client stays under 200; others write the data into the header."""
    data_bytes: int = 64 * 1024
    """`transcribe` may carry lists of names."""
    payload_bytes: int = 1024 * 1024
    """A whole utterance of 30 s in one chunk has 0.96 MB."""
    large_payloads_bytes: int = 16 * 1024 * 1024
    """Payloads over 64 KiB that are being read at the same time, all connections together."""
    event_s: float = 10.0
    """From the first byte of an event to its last."""
    idle_s: float = 60.0
    """Silence with nothing open and nothing unanswered."""
    outgoing_bytes: int = 256 * 1024
    """Answers that a client has not taken yet."""
    write_s: float = 10.0
    """How long a client may take for what is sent to it."""
    linger_s: float = 1.0
    """How long a client that was told of an error may take to hang up."""
    last_answers_s: float = 300.0
    """How long a client that has said everything may be kept for its answers."""
    gone_s: float = 0.5
    """Pause between two looks whether such a client has gone meanwhile."""
    connections: int = 256
    bind_s: float = 5.0
    """How long it may take to find out whether an address can be listened on."""
    retry_s: float = 10.0
    """Pause before an address that could not be listened on is tried again."""
    close_s: float = 2.0
    """How long the last answers may take to go out when the service ends."""
