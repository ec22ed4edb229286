"""The door of `python -m fgvedit.study`: run a study."""

from fgvedit.cli.study import main
from fgvedit.util.errors import command_line

if __name__ == "__main__":
    command_line(main)
