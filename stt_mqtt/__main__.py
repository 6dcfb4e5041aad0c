"""`python -m stt_mqtt` is `stt-mqtt`."""

import sys

from stt_mqtt.cli import main

if __name__ == "__main__":
    sys.exit(main())
