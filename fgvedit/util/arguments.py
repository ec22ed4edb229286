"""How every command of the project reads its arguments: errors of one line, which name the nearest option."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from fgvedit.util.errors import BAD_INPUT, unknown


class ArgumentParser(argparse.ArgumentParser):
    """argparse, with errors of one line that name the nearest option, and the epilog left as it was written."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **kwargs)

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """As argparse has it, after a look for an option that is not known."""
        # A misspelt option comes before whatever argparse would miss because of it.
        for argument in sys.argv[1:] if args is None else args:
            option = argument.partition("=")[0]
            if option == "--":
                break
            if option.startswith("--") and option not in self._option_string_actions:
                self.error(str(unknown("option", option, (o for o in self._option_string_actions if o[:2] == "--"))))
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """End the program with `message` in one line and exit code 2."""
        self.exit(BAD_INPUT, f"error: {message} (see {self.prog} --help)\n")
