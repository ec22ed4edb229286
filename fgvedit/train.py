"""The door of `python -m fgvedit.train`: train an editor."""

from fgvedit.cli.train import main
from fgvedit.util.errors import command_line

if __name__ == "__main__":
    command_line(main)
