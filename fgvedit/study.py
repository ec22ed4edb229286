"""The door of `python -m fgvedit.study`: run a study."""

import signal

from fgvedit.cli.study import main
from fgvedit.util.errors import command_line

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # however it is stopped, its processes end with it
    command_line(main)
