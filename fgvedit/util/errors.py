"""The one exception that a user is meant to read, and the exit code that goes with it."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Iterable

BAD_INPUT = 2


class FGVEditError(Exception):
    """Bad input or an unusable environment, said in one sentence.

    The sentence names the file, record or option, what was found, what was expected and, where there is one,
    the nearest valid choice. Command lines print it without a traceback and exit with `BAD_INPUT`.
    """


def unknown(what: str, found: str, valid: Iterable[str]) -> FGVEditError:
    """The error for a name that is not among `valid`, with the nearest valid name."""
    choices = sorted(valid)
    near = difflib.get_close_matches(found, choices, n=1, cutoff=0.5)
    hint = f"; did you mean '{near[0]}'?" if near else "."
    return FGVEditError(f"unknown {what} '{found}': expected one of {', '.join(choices)}{hint}")


def one_line(error: BaseException) -> str:
    """What a library's error says, for use within one of ours."""
    return " ".join(str(error).split()) or type(error).__name__


def printable(text: str) -> str:
    """A text as a terminal may be given it: characters that would steer the terminal are spelled out; lines stay."""
    return "".join(char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in text)


def command_line(main: Callable[[list[str] | None], int | None]) -> None:
    """Run `main(argv)` as a program: `FGVEditError` and file-system errors become one line and exit code 2."""
    try:
        sys.exit(main(None) or 0)
    except FGVEditError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            sys.exit(141)
        where = f"'{error.filename}': " if error.filename else ""
        print(f"error: {printable(f'{where}{error.strerror or error}')}", file=sys.stderr)
    sys.exit(BAD_INPUT)
