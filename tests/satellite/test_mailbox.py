from __future__ import annotations

import threading

from stt_mqtt.satellite.mailbox import MAX_CALLS, MAX_FRAMES, Mailbox


def nothing() -> None:
    """A call."""


def test_frames_come_out_in_their_order_and_calls_before_them() -> None:
    mailbox = Mailbox()
    assert mailbox.put_frame(b"1")
    assert mailbox.put_frame(b"2")
    assert mailbox.post(nothing)
    assert [mailbox.take(0) for _ in range(4)] == [nothing, b"1", b"2", None]


def test_frames_that_are_not_wanted_stay() -> None:
    mailbox = Mailbox()
    mailbox.put_frame(b"1")
    assert mailbox.take(0, frames=False) is None
    assert mailbox.has_frames
    assert mailbox.take(0) == b"1"
    assert not mailbox.has_frames


def test_messages_are_bounded_and_what_must_be_known_is_not_dropped() -> None:
    mailbox = Mailbox()
    assert all(mailbox.post(nothing, droppable=True) for _ in range(MAX_CALLS))
    assert not mailbox.post(nothing, droppable=True)
    assert mailbox.post(nothing)


def test_a_source_waits_for_room_and_no_longer_than_the_loop_lives() -> None:
    mailbox = Mailbox()
    for number in range(MAX_FRAMES):
        mailbox.put_frame(bytes([number]))
    results: list[bool] = []
    source = threading.Thread(
        target=lambda: results.extend(mailbox.put_frame(b"last") for _ in range(2))
    )
    source.start()
    assert mailbox.take(0) == b"\0"
    taken = [mailbox.take(5) for _ in range(MAX_FRAMES)]
    assert taken[-1] == b"last"
    mailbox.close()
    source.join(60)
    assert not source.is_alive()
    assert results[0] is True


def test_after_the_end_no_frame_is_taken() -> None:
    mailbox = Mailbox()
    mailbox.close()
    assert not mailbox.put_frame(b"1")
