"""The door of `python -m fgvedit.demo`: a model to edit in the browser."""

from fgvedit.cli.demo import main
from fgvedit.util.errors import command_line

if __name__ == "__main__":
    command_line(main)
