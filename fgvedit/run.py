"""The door of `python -m fgvedit.run`: score an editor."""

from fgvedit.cli.run import main
from fgvedit.util.errors import command_line

if __name__ == "__main__":
    command_line(main)
