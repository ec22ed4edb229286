"""Kinds of probe in the builders: one from outside goes the whole way, and one that is retired is read, not built."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from official_vqa import Folder, by_id
from rows import image_ref, make_probe, make_row

import fgvedit
from builders.parquet import write_rows
from builders.publish.__main__ import main as publish
from builders.review.apply import apply_marks
from builders.review.page import write_page
from builders.validate.__main__ import main as validate
from builders.validate.sources import open_source
from fgvedit import probes
from fgvedit.dataset import load_records

OUTSIDE = """
from fgvedit.probes import ProbeKind
KIND = ProbeKind("hearsay", "what others say of the edited entity", "the entailed answer", "hearsay", required=True)
"""


def forget_kinds() -> None:
    probes.kinds.cache_clear()
    probes.metrics.cache_clear()


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    yield monkeypatch
    monkeypatch.undo()
    forget_kinds()


@pytest.fixture
def hearsay(registry: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A kind of probe that a package from outside registers."""
    (tmp_path / "a_package_from_outside.py").write_text(OUTSIDE)
    registry.syspath_prepend(tmp_path)
    point = EntryPoint("hearsay", "a_package_from_outside:KIND", probes.KINDS_GROUP)
    registry.setattr(probes, "entry_points", lambda group: [point] if group == probes.KINDS_GROUP else [])
    forget_kinds()


def write(folder: Path, kind: str, **changes: Any) -> Path:
    for number, split in enumerate(("train", "test")):
        row = make_row(5 * number)
        image = {"bytes": image_ref(5 * number + 2).data, "path": None}
        row["probes"] += [make_probe(kind, answer="so", **{"image_id": row["image_id"], **changes})]
        row["probes"][4] |= {"image": image, "image_id": f"other-{number}"}
        write_rows([row], folder, split)
    return folder


def found(folder: Path) -> dict[str, list[str]]:
    """Errors of the validator by check, but for those about images, which are of few colours here."""
    file = folder.parent / "report.json"
    validate([str(folder), "--report", str(file)])
    checks = json.loads(file.read_text())["checks"]
    errors = [check for check in checks if check["severity"] == "error" and check["count"]]
    return {
        check["check"]: [example["detail"] for example in check["examples"]]
        for check in errors
        if not check["check"].endswith("in_splits")
    }


def test_a_kind_from_outside_is_validated_reviewed_and_published(hearsay: None, tmp_path: Path) -> None:
    data = write(tmp_path / "data", "hearsay")
    assert found(data) == {}
    write_page(str(data), tmp_path / "page")
    page = (tmp_path / "page" / "index.html").read_text()
    assert "What others say of the edited entity" in page and "After the edit the answer is to be “so”." in page

    # A record without one that is left is left out: the kind is required.
    both = [*make_row(0)["probes"], make_probe("hearsay", answer="so", image_id="image-0")]
    write_rows([make_row(0, probes=both), make_row(1, probes=both[:5])], tmp_path / "two", "test")
    marks = {"format": 1, "data": open_source(str(tmp_path / "two")).revision}
    (tmp_path / "marks.json").write_text(json.dumps({**marks, "marks": {"record-0": {"probes": {"5": "wrong"}}}}))
    said = apply_marks(str(tmp_path / "two"), tmp_path / "marks.json", tmp_path / "reviewed")
    assert "no hearsay is left: 1" in said
    (tmp_path / "two" / "test-00000.parquet").unlink()

    write_rows([make_row(0, probes=both)], tmp_path / "two", "test")
    options = ["--repo", "owner/data", "--embed-images", "--out", str(tmp_path / "repo")]
    publish([str(tmp_path / "two"), *options])
    card = (tmp_path / "repo" / "README.md").read_text()
    assert "| `hearsay` | what others say of the edited entity | the entailed answer |" in card
    assert "| probes `hearsay` | 1 |" in card and "portability" not in card
    assert "in_scope, hearsay" in (tmp_path / "repo" / "croissant.json").read_text()


def test_a_kind_from_outside_is_held_to_what_it_says_of_itself(hearsay: None, tmp_path: Path) -> None:
    data = write(tmp_path / "data", "hearsay", image_id="")
    assert found(data) == {"probe_image": ["probe 5 (hearsay) shows no image; expected one"] * 2}
    row = make_row(0)
    write_rows([row], tmp_path / "none", "test")
    assert found(tmp_path / "none") == {"required_kinds": ["no record has 'hearsay'"]}


def test_a_retired_kind_is_read_and_shown_and_refused_in_what_is_built(tmp_path: Path) -> None:
    data = write(tmp_path / "data", "reference_out")
    assert [probe.kind for probe in load_records(str(data), "test").records[0].probes][5] == "reference_out"
    write_page(str(data), tmp_path / "page")
    assert "named only by its surroundings" in (tmp_path / "page" / "index.html").read_text()
    [(check, details)] = found(data).items()
    assert check == "probe_kind" and len(details) == 2
    assert details[0].startswith("probe kind 'reference_out' is retired: it is read in older data")


def test_no_probe_of_a_retired_kind_is_built(small: Folder, registry: pytest.MonkeyPatch) -> None:
    kinds = [replace(kind, retired=kind.name in ("no_image", "worded_in")) for kind in probes.OWN_KINDS]
    registry.setattr(probes, "OWN_KINDS", tuple(kinds))
    forget_kinds()
    records = by_id(small.build("out", "--limit", "4")).values()
    kept = {"rephrase", "in_scope", "out_of_scope", "text_locality", "other_image"}
    assert len(records) == 4 and {probe.kind for record in records for probe in record.probes} == kept


def test_the_data_card_says_of_each_kind_what_the_registry_says() -> None:
    card = (Path(fgvedit.__file__).parent / "README.md").read_text()
    for name in {probe.kind for probe in load_records("scenes", "test", limit=1).records[0].probes}:
        kind = probes.kind_of(name)
        assert f"| `{name}` | {kind.asks} | {kind.right} |" in card


@pytest.mark.parametrize(
    ("required", "wants"),
    [("", None), ("rephrase", "rephrase"), ("rephrase, in_scope", "rephrase and in_scope (or worded_in)")],
)
def test_what_is_said_of_kinds_where_few_are_required_and_none_changes(
    required: str, wants: str | None, registry: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kinds = [replace(kind, required=kind.name in required.split(", ")) for kind in probes.OWN_KINDS]
    registry.setattr(probes, "OWN_KINDS", tuple(kinds))
    forget_kinds()
    row = make_row(0)
    kept = [probe for probe in row["probes"] if wants or not probes.changes(probe["kind"])]
    write_rows([{**row, "probes": kept}], tmp_path / "data", "test")
    options = ["--repo", "owner/data", "--embed-images", "--out", str(tmp_path / "repo")]
    publish([str(tmp_path / "data"), *options])
    validate([str(tmp_path / "data"), "--report", str(tmp_path / "report.json")])
    said = {check["check"]: check["wants"] for check in json.loads((tmp_path / "report.json").read_text())["checks"]}
    assert said.get("required_kinds") == (wants and f"every split has {wants}")
    fields = json.loads((tmp_path / "repo" / "croissant.json").read_text())["recordSet"][0]["field"]
    [answer] = (field["description"] for field in fields if field["name"] == "probes/answer")
    changed = "For the kinds rephrase, in_scope the right answer after the edit."
    assert answer == (changed if wants else "The right answer, before the edit and after it.")
