"""Makes `python -m stt_mqtt` the same as `stt-mqtt`."""

import sys

from stt_mqtt.cli import main

if __name__ == "__main__":
    sys.exit(main())
