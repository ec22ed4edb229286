"""The door of `python -m fgvedit.check_editor`: check that an editor keeps to its contract."""

from fgvedit.cli.check_editor import main
from fgvedit.util.errors import command_line

if __name__ == "__main__":
    command_line(main)
