"""Metrics and protocols of others, whose code may be newer than a run, be missing here, or fail."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from results_folder import change, set_rows, write_run
from submitting import content, send

from fgvedit.evaluation.protocols import protocols
from fgvedit.evaluation.protocols.generation import Generation
from fgvedit.probes import Metric, metrics
from fgvedit.util.errors import FGVEditError
from leaderboard import check, reproduce, table
from leaderboard.data import Known
from leaderboard.site.write import write_site

ID = "mine-tiny-cards-dddddddd-0"
BREVITY = Metric("brevity", ("edit", "in_scope"), "how short it is", lambda row: 1 / (1 + len(row["after"])))


def site(results: Path) -> Path:
    write_site(results, results.parent / "site")
    return results.parent / "site"


def refused(folder: Path, results: Path, sentence: str) -> None:
    """A submission is, in a sentence, and nothing is written."""
    before = content(results)
    with pytest.raises(FGVEditError, match=sentence):
        send(folder, results)
    assert content(results) == before


def test_a_metric_of_others_is_no_fault_of_the_runs_that_are_older(
    mine: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(metrics(), "brevity", BREVITY)
    send(mine, results)
    newer = change(write_run(results.parent / "newer", "newer", skill=0.5), set_rows())
    send(newer, results)
    assert check.main([str(results)]) == 0
    found = table.read_table(results).set_index("editor")
    assert found["generation/brevity"].notna().to_dict() == {"mine": False, "newer": True, "other": False}
    assert "how short it is" in (site(results) / "index.html").read_text()
    # A maintainer who has the metric makes an older run again, and one who has it not a newer one.
    again = {ID: change(mine, set_rows()), ID.replace("mine", "newer"): write_run(mine / "again", "newer", skill=0.5)}
    for id, folder in again.items():
        about = ["--in", str(results), "--id", id, "--by", "Grace", "--link", "https://example.org"]
        assert reproduce.main([str(folder), *about]) == 0


@pytest.mark.parametrize("name", ["paper/specificity", "generation/in_scope", "brevity"])
def test_a_metric_that_is_changed_or_of_the_projects_own_and_missing_is_a_fault(
    name: str, mine: Path, shared_results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(metrics(), "brevity", BREVITY)

    def spoil(result: dict[str, Any], rows: list[Any]) -> None:
        if name == "brevity":
            result["metrics"]["paper/brevity"]["value"] += 1
        else:
            del result["metrics"][name]

    spoiled = change(change(mine, set_rows()), spoil, recompute=False)
    sentence = r"metric 'paper/brevity' is .* \(\+1\)" if name == "brevity" else f"metric '{name}' is missing"
    refused(spoiled, shared_results, sentence)


def test_a_metric_that_is_not_registered_is_refused_by_name(
    mine: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as installed:
        installed.setitem(metrics(), "retentions", Metric("retentions", ("edit",), "x", lambda row: 1.0))
        newer = change(write_run(results.parent / "newer", "newer", skill=0.5), set_rows())
        send(newer, results)
        change(mine, set_rows())
    sentence = "metric '.*/retentions' is not registered here: unknown metric .*did you mean 'retention'"
    refused(mine, results, sentence)
    findings = check.check(results, Known(results))
    assert [where for where, _ in findings] == [f"runs/{ID.replace('mine', 'newer')}"]
    with pytest.raises(FGVEditError, match=sentence):
        raise FGVEditError(findings[0][1])
    assert table.read_table(results).set_index("editor")["paper/retentions"]["newer"] == 100
    assert "not registered where this was made" in (site(results) / "index.html").read_text()


class Strict(Generation):
    """A protocol of somebody else, which fails at some answers."""

    name = "strict"
    meaning = "whatever"

    def fault(self, row: Any) -> str | None:
        return None if row["after"] != "red" else str(1 / 0)


def test_a_protocol_that_fails_at_a_row_is_named_with_it(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(protocols(), "strict", Strict())
    folder = write_run(tmp_path / "mine", "mine", protocols=("paper", "strict"))
    with monkeypatch.context() as before:
        before.setattr(Strict, "fault", lambda self, row: None)
        send(folder, results)
    sentence = r"row \d+: record 'record-\d+', protocol 'strict', probe \d: .*ZeroDivisionError: division by zero"
    refused(folder, results, sentence)
    capsys.readouterr()
    assert check.main([str(results)]) == 1
    assert len(capsys.readouterr().out.splitlines()) == 2  # the finding, and that all runs were checked
    with pytest.raises(FGVEditError, match=sentence):
        raise FGVEditError(check.check(results, Known(results))[0][1])
    assert "strict" in (site(results) / "index.html").read_text()  # it scores nothing again
    assert table.read_table(results)["strict/score"].notna().sum() == 1


@pytest.mark.parametrize(
    ("score", "said"),
    [(lambda row: 1 / (row["after"] != "red"), "ZeroDivisionError: division by zero"), (lambda row: 1.5, "is 1.5")],
)
def test_a_metric_that_fails_at_a_row_is_named_with_it(
    score: Callable[[Any], float], said: str, mine: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(metrics(), "brittle", Metric("brittle", ("out_of_scope",), "whatever", score))
    sentence = f"metric 'brittle' of record 'record-.*, protocol 'generation', probe 2.*{said}"
    refused(mine, results, sentence)
    assert [where for where, _ in check.check(results, Known(results))] == [f"runs/{ID.replace('mine', 'other')}"]
    for shown in (table.read_table, site):
        with pytest.raises(FGVEditError, match=sentence):
            shown(results)
