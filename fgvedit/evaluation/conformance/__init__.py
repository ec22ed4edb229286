"""The checks that any editor can be put through: what the rest of the house relies on an editor to keep to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fgvedit.editors.contract import Editor
from fgvedit.evaluation.conformance.bench import Bench, Broken, Skipped, raised, two_records
from fgvedit.evaluation.conformance.checks import CHECKS
from fgvedit.evaluation.runs.probing import set_seed
from fgvedit.schema import Record


@dataclass(frozen=True)
class Finding:
    """What came of a check. `passed`: None where it was skipped; `why`: what is wrong, or a remark."""

    check: str
    passed: bool | None
    why: str = ""

    def __str__(self) -> str:
        word = {True: "ok", False: "FAILED", None: "skipped"}[self.passed]
        return f"{word:8}{self.check}" + (f": {self.why}" if self.why else "")


def check(
    open_editor: Callable[[], Editor],
    records: Sequence[Record],
    *,
    seed: int = 0,
    report: Callable[[Finding], object] = lambda finding: None,
) -> list[Finding]:
    """Put an editor through every check, in order; each finding goes to `report` as soon as it is known.

    `open_editor` gives a new editor, ready to edit, on a backbone that was newly opened too, whenever it is called.
    `records` may be many: the first one is used, and one that is as unlike it as there is (see `two_records`). Whatever
    the editor raises is a finding. Raises `FGVEditError` where all records share an image, and for what `open_editor`
    raises at first.
    """
    open_editor()  # whatever is wrong with its options is no finding
    bench = Bench(open_editor, two_records(records), seed)
    findings = []
    for function in CHECKS:
        findings.append(examine(function, bench))
        report(findings[-1])
    return findings


def examine(function: Callable[[Bench], str | None], bench: Bench) -> Finding:
    """What one of `CHECKS` finds."""
    set_seed(bench.seed, function.__name__)
    name = (function.__doc__ or "").partition("\n")[0].rstrip(".")
    try:
        return Finding(name, True, function(bench) or "")
    except Skipped as skipped:
        return Finding(name, None, str(skipped))
    except Broken as broken:
        return Finding(name, False, str(broken))
    except Exception as error:  # the editor's own, of any type
        return Finding(name, False, raised(error))
