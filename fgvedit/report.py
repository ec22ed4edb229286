"""The door of `python -m fgvedit.report`: the page of a run."""

from fgvedit.cli.report import main
from fgvedit.util.errors import command_line

if __name__ == "__main__":
    command_line(main)
