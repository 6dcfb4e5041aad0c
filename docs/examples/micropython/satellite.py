"""A microphone that sends speech, and only speech, to stt-mqtt: MicroPython on ESP32 or RP2040.

Copy it to the board as main.py, with the configuration below. It needs umqtt.simple
(`mpremote mip install umqtt.simple`) and an I2S microphone such as the INMP441.
The wire is described in docs/satellites.md, "The wire, for firmware authors".

All buffers are made at the start. While nobody speaks a frame costs no allocation but a few
integers, so the garbage collector has next to nothing to do.
"""

import json
import struct
from array import array

WIFI_SSID = "my-network"
WIFI_PASSWORD = ""
BROKER = "192.168.1.10"
PORT = 1883
DEVICE = "micropython"  # the name in the topics, and the MQTT client id: unique in the house
USER = None  # the MQTT user; with the ACL of docs/topics.md it is the same as DEVICE
PASSWORD = None
LANGUAGE = None  # such as "en"; None: what the service is configured for
I2S_ID, SCK, WS, SD = 0, 26, 25, 33  # on a Raspberry Pi Pico 0, 14, 15, 13: WS is SCK + 1 there
LED = 2  # "LED" on a Raspberry Pi Pico W
# Each makes the microphone 6 dB louder. With 3, what is louder than -18 dBFS wraps around: take
# less for a mouth close to it. See "Pitfalls" in docs/satellites.md.
GAIN_BITS = 3

MODEL = "MicroPython example"
VERSION = "0.1.0"

RATE = 16000  # Hz
FRAME = 512  # samples of a frame, which is a chunk on the wire: 32 ms
NUMBER = 2  # the sequence number before the samples takes the place of so many of them

PRE_ROLL = 10  # frames before the first sound that are sent, 320 ms
WINDOW = 8  # frames in which the beginning is looked for, 256 ms
MIN_SPEECH = 4  # loud ones among them that make a beginning, 128 ms
HANGOVER = 19  # quiet frames that end an utterance, 608 ms
LONGEST = 469  # frames that an utterance may have, 15 s

BEGIN_EIGHTHS = 32  # so many eighths of the floor begin an utterance: 12 dB
GO_ON_EIGHTHS = 18  # so many let it go on: 7 dB
LOWEST_FLOOR = 16  # digital silence is no room
FIRST_GUESS = 256  # a room is not louder while only a moment of it was heard
SPAN = 16  # frames of which the least is remembered, 0.5 s
SPANS = 16  # so many of them: people speak for 5 s without a gap between two words, not for 8 s
UNKNOWN = 1 << 29  # above every level

ZEROS = 313  # frames of digital silence at the start, 10 s: there is no microphone
PLAYING_MS = 60000  # deaf at most so long because a sound plays, if nobody says that it ended
HELD_UP_MS = 3000  # after 5 s without a chunk the service has ended the utterance
RETRY_MS = 1000  # first pause between attempts to reach the broker; it doubles
RETRY_MOST_MS = 60000
CONNECT_S = 2  # an attempt takes no longer
KEEPALIVE_S = 30


class Vad:
    """Finds speech: the level of a frame in the band of voices against the floor of the room.

    Integers only, and no product above 2**30, so that MicroPython makes no objects of them.
    """

    def __init__(self):
        self._low = 0
        self._smooth = -1
        self._least = 0
        self._age = 0  # frames of the span that is being heard
        self._spans = array("l", [UNKNOWN] * SPANS)
        self._known = 0
        self.level = 0
        self.floor = 0

    def hear(self, frame):
        """Take the samples behind the number; sets `level` and `floor`, both in the same unit."""
        # Four samples are one at 4 kHz, which takes out the hiss; less their running mean, the hum.
        low = self._low
        total = 0
        for at in range(NUMBER, NUMBER + FRAME, 4):
            voice = frame[at] + frame[at + 1] + frame[at + 2] + frame[at + 3] - (low >> 2)
            low += voice
            total += voice if voice >= 0 else -voice
        self._low = low
        self.level = total * 4 // FRAME
        self._follow(self.level)

    def begins(self):
        """Whether the frame is loud enough for an utterance to begin."""
        return self.level * 8 >= self.floor * BEGIN_EIGHTHS

    def goes_on(self):
        """Whether it is loud enough for one to go on."""
        return self.level * 8 >= self.floor * GO_ON_EIGHTHS

    def _follow(self, level):
        """The floor is the least of the smoothed levels of the last seconds."""
        level *= 16
        if self._smooth < 0:
            self._smooth = self._least = level
        self._smooth += (level - self._smooth) >> 2
        self._least = min(self._least, self._smooth)
        floor = min(self._spans)
        floor = min(floor, self._least) // 16
        if self._known < 2:
            floor = min(floor, FIRST_GUESS)
        self.floor = max(floor, LOWEST_FLOOR)
        self._age += 1
        if self._age == SPAN:
            self._spans[self._known % SPANS] = self._least
            self._known = self._known + 1 if self._known + 1 < 2 * SPANS else SPANS
            self._least = self._smooth
            self._age = 0


class Satellite:
    """Listens, and sends what is said.

    `microphone.readinto(buffer)` fills 16-bit samples and returns 0 at the end of a recording.
    `connect(will_topic, hear)` gives a client like umqtt.simple's, connected, its last will
    `offline`, retained; or raises. `hear(topic, payload)` is to be called by its `check_msg`, which
    returns the first byte of the packet: the last bit of that says whether it was retained.
    `boot` is a number that the last start of the board did not have.
    """

    def __init__(self, microphone, connect, ticks_ms, boot=0, show=None):
        self._microphone = microphone
        self._connect = connect
        self._ticks_ms = ticks_ms
        self._boot = boot
        self._show = show
        prefix = "stt/" + DEVICE
        self._audio = (prefix + "/audio").encode()
        self._availability = (prefix + "/availability").encode()
        self._state = (prefix + "/satellite/state").encode()
        self._set = (prefix + "/satellite/set").encode()
        self._text = (prefix + "/text").encode()

        self._vad = Vad()
        self._ring = [array("h", [0] * (NUMBER + FRAME)) for _ in range(PRE_ROLL + WINDOW)]
        self._chunks = [bytes_of(frame) for frame in self._ring]
        self._samples = [memoryview(frame)[NUMBER:] for frame in self._ring]
        self._ones = bytes(sum(i >> bit & 1 for bit in range(WINDOW)) for i in range(1 << WINDOW))
        self._next = 0
        self._filled = 0
        self._recent = 0

        self._id = None  # of the open utterance
        self._utterances = 0
        self._sent = 0
        self._quiet = 0
        self._muted = False
        self._playing = False
        self._playing_since = 0
        self._zeros = -SPAN  # frames of silence, once an offset has died away; None: it hears
        self._heard = []  # messages that were not acted upon yet

        self._client = None
        self._retry_ms = 0
        self._heard_at = self._tried_at = self._pinged_at = ticks_ms()

    def run(self):
        """Listen until the recording ends, which a microphone never does."""
        while self.step():
            pass

    def step(self):
        """Take one frame; False at the end of the recording."""
        place = self._next
        if not self._microphone.readinto(self._samples[place]):
            self._close(b"/stop")
            return False
        self._next = (place + 1) % len(self._ring)
        self._filled = min(self._filled + 1, len(self._ring))
        self._vad.hear(self._ring[place])
        self._look_for_zeros()
        now = self._ticks_ms()
        if self._id is not None and elapsed_ms(now, self._heard_at) > HELD_UP_MS:
            # The service may have taken what came late for the beginning of another utterance.
            self._publish(self._audio + b"/abort", b"")
            self._id = None
            self._light(False)
        self._heard_at = now
        self._serve_network(now)
        if self._client is None or self._muted or self._playing:
            self._forget()
        elif self._id is None:
            self._wait()
        else:
            self._go_on(place)
        return True

    def _look_for_zeros(self):
        """Without a microphone, or with one on the other channel, all samples are alike."""
        if self._zeros is None:
            return
        was_deaf = self._zeros == ZEROS
        if self._zeros >= 0 and self._vad.level:
            self._zeros = None
        elif not was_deaf:
            self._zeros += 1
        if was_deaf != (self._zeros == ZEROS):
            self._publish_state()

    def _wait(self):
        self._recent = (self._recent << 1 | self._vad.begins()) & ((1 << WINDOW) - 1)
        if self._ones[self._recent] < MIN_SPEECH:
            return
        self._utterances += 1
        self._id = f"{self._boot:08x}-{self._utterances}"
        self._sent = self._quiet = 0
        start = {"id": self._id, "codec": "pcm_s16le", "rate": RATE, "channels": 1}
        start["framing"] = "seq32"
        if LANGUAGE:
            start["language"] = LANGUAGE
        self._light(True)
        self._publish(self._audio + b"/start", json.dumps(start).encode())
        for back in range(self._filled, 0, -1):
            self._send((self._next - back) % len(self._ring))

    def _go_on(self, place):
        self._send(place)
        self._quiet = 0 if self._vad.goes_on() else self._quiet + 1
        if self._quiet >= HANGOVER or self._sent >= LONGEST:
            self._close(b"/stop")

    def _send(self, place):
        struct.pack_into("<I", self._ring[place], 0, self._sent)
        self._sent += 1
        self._publish(self._audio, self._chunks[place])

    def _close(self, mark):
        """End the utterance, if one is open: it is over, or nobody is to hear it."""
        if self._id is None:
            return
        fields = {"id": self._id}
        if mark == b"/stop":
            fields["chunks"] = self._sent
        self._publish(self._audio + mark, json.dumps(fields).encode())
        self._id = None
        self._forget()
        self._light(False)

    def _forget(self):
        """What was heard so far belongs to no utterance."""
        self._filled = self._recent = 0

    def _light(self, on):
        if self._show is not None:
            self._show(on)

    # The network ---------------------------------------------------------------------------

    def _serve_network(self, now):
        if self._playing and elapsed_ms(now, self._playing_since) >= PLAYING_MS:
            self._playing = False
            self._publish_state()
        if self._client is None:
            if elapsed_ms(now, self._tried_at) >= self._retry_ms:
                self._try_to_connect()
            return
        try:
            packet = self._client.check_msg()
            self._heed(bool(packet and packet & 1))
            if elapsed_ms(now, self._pinged_at) >= KEEPALIVE_S * 500:
                self._pinged_at = now
                self._client.ping()
        except Exception as error:  # umqtt raises whatever it stumbles over
            self._lost(error)

    def _try_to_connect(self):
        try:
            self._client = self._connect(self._availability, self._hear)
            self._client.subscribe(self._set)
            self._client.subscribe(self._text)
            # Only what is retained comes so early, or next to nothing else.
            self._heed(True)
            self._client.publish(self._availability, b"online", True)
        except Exception as error:
            self._lost(error)
            return
        self._retry_ms = 0
        self._pinged_at = self._ticks_ms()
        self._publish_state()
        self._forget()  # what was not heard meanwhile makes a hole in it

    def _lost(self, error):
        """The open utterance is lost with the connection: the last will has ended it."""
        print("mqtt:", error)
        self._client = None
        self._heard.clear()
        self._id = None
        self._light(False)
        self._retry_ms = min(max(self._retry_ms * 2, RETRY_MS), RETRY_MOST_MS)
        self._tried_at = self._ticks_ms()

    def _publish(self, topic, payload, retain=False):
        if self._client is None:
            return
        try:
            self._client.publish(topic, payload, retain)
        except Exception as error:
            self._lost(error)

    def _publish_state(self):
        deaf = self._zeros == ZEROS
        state = {"v": 1, "model": MODEL, "version": VERSION, "mode": "always", "codec": "pcm_s16le"}
        state["muted"] = self._muted
        state["playing"] = self._playing
        state["listening"] = not (self._muted or self._playing or deaf)
        state["reason"] = "no microphone: only zeros" if deaf else None
        self._publish(self._state, json.dumps(state).encode(), True)

    def _hear(self, topic, payload):
        """Called by the client, which tells only afterwards whether the message was retained."""
        self._heard.append((topic, payload))

    def _heed(self, retained):
        while self._heard:
            self._act(*self._heard.pop(0), retained)

    def _act(self, topic, payload, retained):
        if topic == self._text:
            print("heard:", bytes(payload).decode())
            return
        try:
            wanted = json.loads(payload)
        except ValueError:
            return
        if not isinstance(wanted, dict):
            return
        if isinstance(wanted.get("muted"), bool):
            self._muted = wanted["muted"]
        if isinstance(wanted.get("playing"), bool) and not retained:
            self._playing = wanted["playing"]
            self._playing_since = self._ticks_ms()
        if self._muted:
            self._close(b"/abort")
        elif self._playing:
            self._close(b"/stop")
        self._publish_state()


def elapsed_ms(now, then):
    """Milliseconds between two `ticks_ms`, which begin again at 0 after 2**30 of them."""
    return (now - then) & 0x3FFFFFFF


def bytes_of(frame):
    """The bytes of an array, without a copy of them."""
    view = memoryview(frame)
    if hasattr(view, "cast"):
        return view.cast("B")
    import uctypes

    return uctypes.bytearray_at(uctypes.addressof(frame), 2 * len(frame))


class Microphone:
    """An I2S microphone."""

    def __init__(self):
        from machine import I2S, Pin

        self._shift = I2S.shift
        self._i2s = I2S(
            I2S_ID,
            sck=Pin(SCK),
            ws=Pin(WS),
            sd=Pin(SD),
            mode=I2S.RX,
            bits=16,
            format=I2S.MONO,
            rate=RATE,
            ibuf=32768,  # a quarter of a second, for as long as the network takes
        )

    def readinto(self, samples):
        """Wait for samples; how many bytes they are."""
        count = self._i2s.readinto(samples)
        self._shift(buf=samples, bits=16, shift=GAIN_BITS)
        return count


def main():
    """Run on a board."""
    import os
    import time

    import network
    from machine import Pin
    from umqtt.simple import MQTTClient

    wlan = network.WLAN(network.STA_IF)
    wlan.active(True)
    wlan.connect(WIFI_SSID, WIFI_PASSWORD)

    def connect(will_topic, hear):
        if not wlan.isconnected():
            wlan.connect(WIFI_SSID, WIFI_PASSWORD)
            raise OSError("no Wi-Fi yet")
        client = MQTTClient(DEVICE, BROKER, PORT, USER, PASSWORD, KEEPALIVE_S)
        client.set_last_will(will_topic, b"offline", True)
        client.set_callback(hear)
        client.connect(True, CONNECT_S)
        return client

    led = Pin(LED, Pin.OUT)
    boot = int.from_bytes(os.urandom(4), "little")
    Satellite(Microphone(), connect, time.ticks_ms, boot, led.value).run()


if __name__ == "__main__":
    main()
