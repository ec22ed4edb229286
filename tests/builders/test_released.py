"""The released data as records: a stand-in release, with all that can be amiss in one, from files and from the hub."""

from __future__ import annotations

import itertools
import json
import random
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
import pyarrow.parquet as pq
import pytest
from coco_host import NAMES, PHOTOS, PLACES, CocoHost, held
from local_hub import LocalHub, connected, environment

import fgvedit
from builders import coco
from builders.released.__main__ import main
from builders.released.release import DATA_SET, NOT_RELEASED
from fgvedit.cli import run
from fgvedit.dataset import load_records
from fgvedit.util.errors import FGVEditError
from fgvedit.util.revision import content_hash

ROOT = Path(__file__).parents[2]
HUB = f"datasets/{DATA_SET}"


def entry(number: int = 0, **changes: Any) -> dict[str, Any]:
    """A record in the released form; a change to None takes the field away."""
    whole = {
        "src": f"What colour is bus {number}?",
        "alt": "green",
        "rephrase": f"Which colour does bus {number} have?",
        "image": PLACES[number % len(PLACES)],
        "loc": f"nq question: who sang song {number}",
        "loc_ans": "Billy Idol",
        "fg_gen_q": f"Is bus {number} green?",
        "fg_gen_a": "yes",
        "fg_loc_q": f"How many people wait for bus {number}?",
        "fg_loc_a": "3",
        **changes,
    }
    return {name: value for name, value in whole.items() if value is not None}


def write_release(folder: Path, train: list[Any], test: list[Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, entries in (("train_data.json", train), ("test_data.json", test)):
        (folder / name).write_text(json.dumps(entries), encoding="utf-8")
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets-cache")
    monkeypatch.setattr(coco, "PAUSE", 0.001)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for place, data in PHOTOS.items():
        path = tmp_path / "photos" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "photos"


@pytest.fixture
def host() -> Iterator[CocoHost]:
    with CocoHost(PHOTOS) as running:
        yield running


def build(tmp_path: Path, photos: Path, *train: Any, test: tuple[Any, ...] = (), options: tuple[str, ...] = ()) -> Path:
    """The data set made of these records, with one good record in test where none is given."""
    release = write_release(tmp_path / "release", list(train), list(test) or [entry(900)])
    out = tmp_path / "out"
    main(["--json", str(release), "--images", str(photos), "--no-fetch", "--out", str(out), *options])
    return out


def anomalies(out: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """Those of a report by kind and field."""
    found = json.loads((out / "report.json").read_text())["anomalies"]
    return {(anomaly["kind"], anomaly["field"]): anomaly for anomaly in found}


def test_a_released_record_is_read_field_by_field(tmp_path: Path, photos: Path) -> None:
    out = build(tmp_path, photos, entry(0, pred="red"), entry(1))
    loaded = load_records(str(out), "train")
    record, other = loaded.records
    assert (record.question, record.answer, record.target) == ("What colour is bus 0?", "red", "green")
    assert (record.image.image_id, record.image.data) == ("COCO_train2014_000000000000", PHOTOS[PLACES[0]])
    assert other.answer == NOT_RELEASED
    assert [(p.kind, p.question, p.answer, p.image and p.image.image_id) for p in record.probes] == [
        ("rephrase", "Which colour does bus 0 have?", "green", record.image.image_id),
        ("in_scope", "Is bus 0 green?", "yes", record.image.image_id),
        ("out_of_scope", "How many people wait for bus 0?", "3", record.image.image_id),
        ("text_locality", "nq question: who sang song 0", "Billy Idol", None),
    ]
    assert [r.id for r in loaded.records] == ["released-train-00000", "released-train-00001"]
    assert load_records(str(out)).records[0].id == "released-test-00000"
    assert pq.read_table(out / "train-00000.parquet")["group"].to_pylist() == [r.image.image_id for r in loaded.records]
    assert anomalies(out) == {}
    labels = [json.loads(line) for line in (out / "labels.jsonl").read_text().splitlines()]
    assert [label["id"] for label in labels] == [*(r.id for r in loaded.records), "released-test-00000"]
    assert all(set(label) == {"id", "labeller", "policy", "reasons"} for label in labels)


def test_its_card_says_what_it_is_made_of(tmp_path: Path, photos: Path) -> None:
    text = (build(tmp_path, photos, entry(0)) / "README.md").read_text()
    for said in ("VQA v2.0", "CC BY 4.0", "COCO's terms of use", "Natural Questions", "CC BY-SA 3.0"):
        assert said in text


@pytest.mark.parametrize(
    ("changes", "answer"),
    [({"answer": "blue", "pred": "red"}, "blue"), ({"answers": ["", "white", "grey"]}, "white"), ({"pred": 2}, "2")],
)
def test_the_truth_counts_before_what_a_model_said(
    tmp_path: Path, photos: Path, changes: dict[str, Any], answer: str
) -> None:
    out = build(tmp_path, photos, entry(**changes))
    assert load_records(str(out), "train").records[0].answer == answer
    assert anomalies(out) == {}


def test_fields_may_hold_lists(tmp_path: Path, photos: Path) -> None:
    lists = entry(
        alt=["green"],
        rephrase=["What is its colour?", "Its colour is?"],
        fg_gen_q=["Is it green?", "Is it red?"],
        fg_gen_a=["yes", "no"],
        loc_ans=["Billy Idol", "William Broad"],
        fg_loc_a=[3],
    )
    out = build(tmp_path, photos, lists)
    [record] = load_records(str(out), "train").records
    assert record.target == "green"
    assert [(p.kind, p.question, p.answer) for p in record.probes] == [
        ("rephrase", "What is its colour?", "green"),
        ("rephrase", "Its colour is?", "green"),
        ("in_scope", "Is it green?", "yes"),
        ("in_scope", "Is it red?", "no"),
        ("out_of_scope", "How many people wait for bus 0?", "3"),
        ("text_locality", "nq question: who sang song 0", "Billy Idol"),
    ]
    assert anomalies(out) == {}


RECORD, PROBE, KEPT = "record left out", "probe left out", "kept"
AMISS: list[tuple[Any, str, str, str]] = [
    ("text", "not a record", "", RECORD),
    (entry(src="What colour \ud83d?"), "half a character in a text", "", RECORD),
    (entry(alt=""), "empty", "alt", RECORD),
    (entry(alt=None), "missing field", "alt", RECORD),
    (entry(alt=[]), "empty", "alt", RECORD),
    (entry(src="  "), "empty", "src", RECORD),
    (entry(src={}), "empty", "src", RECORD),
    (entry(image=""), "empty", "image", RECORD),
    (entry(image="train2014/COCO_train2014_000000000999.jpg"), "image not there", "image", RECORD),
    (entry(image="../photos/x.jpg"), "image not there", "image", RECORD),
    (entry(image="broken.jpg"), "image does not decode", "image", RECORD),
    (entry(answer="Green "), "target equal to answer", "alt", RECORD),
    (entry(alt=["green", "blue"]), "several values, of which the first counts", "alt", KEPT),
    (entry(note="x"), "unknown field", "note", KEPT),
    (entry(rephrase="what colour is bus 0"), "question repeats another of the record", "rephrase", KEPT),
    (entry(fg_gen_q="Which colour does bus 0 have"), "question repeats another of the record", "fg_gen_q", KEPT),
    (entry(pred="Green"), "target equal to what the model said, which is not taken for an answer", "pred", KEPT),
    (entry(rephrase=None), "missing field", "rephrase", PROBE),
    (entry(loc_ans=None), "missing field", "loc_ans", PROBE),
    (entry(rephrase=""), "empty question", "rephrase", PROBE),
    (entry(fg_gen_q=""), "empty question", "fg_gen_q", PROBE),
    (entry(fg_loc_a=""), "empty answer", "fg_loc_a", PROBE),
    (entry(loc_ans=[]), "empty answer", "loc_ans", PROBE),
    (entry(fg_gen_q=["Is it?", "Was it?"], fg_gen_a="yes"), "empty answer", "fg_gen_a", PROBE),
    (entry(fg_loc_q=["Who?", "Why?"], fg_loc_a=["A", "B", "C"]), "answer without a question", "fg_loc_q", PROBE),
    (entry(rephrase=["Same?", "same"]), "question asked twice", "rephrase", PROBE),
    (entry(fg_loc_q="What colour is bus 0 ?"), "question both in scope and out of it", "fg_loc_q", PROBE),
    (entry(fg_loc_q="Is bus 0 green?"), "question both in scope and out of it", "fg_loc_q", PROBE),
]


@pytest.mark.parametrize(("bad", "kind", "name", "done"), AMISS)
def test_what_is_amiss_is_reported_and_left_out(
    tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str], bad: Any, kind: str, name: str, done: str
) -> None:
    (photos / "broken.jpg").write_bytes(PHOTOS[PLACES[0]][:200])
    out = build(tmp_path, photos, entry(1), bad)
    assert set(anomalies(out)) == {(kind, name)}
    found = anomalies(out)[kind, name]
    assert (found["done"], found["count"]) == (done, 1)
    assert [record["id"] for record in found["records"]] == ["released-train-00001"]
    printed = capsys.readouterr().out
    assert re.search(rf"^{re.escape(kind)} +{name} +{done} +1 +released-train-00001$", printed, re.MULTILINE)

    records = load_records(str(out), "train").records
    assert len(records) == (1 if done == RECORD else 2)
    assert all(record.answer == NOT_RELEASED for record in records)
    assert [p.kind for p in records[0].probes] == ["rephrase", "in_scope", "out_of_scope", "text_locality"]
    if done != RECORD:
        kinds = [p.kind for p in records[1].probes]
        of_field = {"rephrase": "rephrase", "fg_gen": "in_scope", "fg_loc": "out_of_scope", "loc": "text_locality"}
        changed = of_field.get(re.sub("_(q|a|ans)$", "", name))
        left_of_it = kinds.count(changed) if changed else 0
        assert {kind for kind in kinds if kind != changed} == set(of_field.values()) - {changed}
        more = kind in ("question repeats another of the record", "question asked twice") or isinstance(
            bad["fg_gen_q"], list
        )
        assert left_of_it == (2 if kind == "answer without a question" else int(bool(changed) and more))


def test_records_that_come_again_are_kept_and_reported(tmp_path: Path, photos: Path) -> None:
    out = build(tmp_path, photos, entry(0), entry(0), entry(0, alt="blue"), test=(entry(0), entry(3)))
    assert len(load_records(str(out), "train").records) == 3
    again = anomalies(out)["duplicate record", ""]["records"]
    assert again == [
        {"id": "released-train-00001", "found": "released-train-00000"},
        {"id": "released-test-00000", "found": "released-train-00000"},
    ]
    [other] = anomalies(out)["question of another record about the same image", "src"]["records"]
    assert other == {"id": "released-train-00002", "found": "released-train-00000"}
    report = json.loads((out / "report.json").read_text())
    assert report["images_in_both_splits"] == 1
    assert report["splits"]["train"]["records_of_the_paper"] == 8334
    assert report["splits"]["test"]["records_of_the_paper"] == 2778


def test_the_report_counts_what_was_read_and_written(
    tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = build(tmp_path, photos, entry(0), entry(1, alt=""), entry(2, fg_loc_a=""), entry(3, pred="red"))
    report = json.loads((out / "report.json").read_text())
    train = report["splits"]["train"]
    assert (train["records_read"], train["records_written"], train["images"]) == (4, 3, 3)
    assert train["records_without_released_answer"] == 2
    assert train["probes"] == {"rephrase": 3, "in_scope": 3, "out_of_scope": 2, "text_locality": 3}
    assert report["content"] == content_hash(out.glob("*.parquet"))
    assert report["revision"] is None and set(report["files"]) == {"train_data.json", "test_data.json"}
    assert "3 records of 4 released (8,334 in the paper)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("train_data.json", "[{", "expected JSON"),
        ("test_data.json", '{"a": 1}', "expected a list of records"),
        ("test_data.json", None, "is not there"),
        ("test_data.json", "[]", "none of its 0 records"),
        ("test_data.json", json.dumps([entry(alt="")] * 3), "3 times empty, field 'alt'"),
    ],
)
def test_a_release_that_cannot_be_used_changes_nothing(
    tmp_path: Path, photos: Path, name: str, text: str | None, said: str
) -> None:
    out = build(tmp_path, photos, entry())
    before = held(out)
    file = tmp_path / "release" / name
    file.unlink() if text is None else file.write_text(text)
    with pytest.raises(FGVEditError, match=re.escape(said)) as error:
        main(["--json", str(tmp_path / "release"), "--images", str(photos), "--no-fetch", "--out", str(out)])
    assert name in str(error.value)
    assert held(out) == before
    new = tmp_path / "new"
    with pytest.raises(FGVEditError, match=re.escape(said)):
        main(["--json", str(tmp_path / "release"), "--images", str(photos), "--no-fetch", "--out", str(new)])
    assert not new.exists()


def test_folders_of_others_are_not_written_over(
    tmp_path: Path, photos: Path, host: CocoHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = write_release(tmp_path / "release", [entry(0)], [entry(1)])
    out = tmp_path / "package"
    out.mkdir()
    (out / "README.md").write_text("the data card")
    (out / "report.json").write_text('{"data": "of another program"}')
    before = held(out)
    fetching = ["--json", str(release), "--host", host.url]
    with pytest.raises(FGVEditError, match="holds something else"):
        main([*fetching, "--out", str(out)])
    monkeypatch.chdir(out)
    with pytest.raises(FGVEditError, match="is the current folder or above it"):
        main([*fetching, "--out", "."])
    assert held(out) == before and not host.requests
    made = build(tmp_path, photos, entry())
    for option in ("--images", "--fetch-into"):
        (made / "photos").mkdir(exist_ok=True)
        with pytest.raises(FGVEditError, match="holds the folder of images"):
            main([*fetching, "--out", str(made), option, str(made / "photos")])


def test_options_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FGVEditError, match="--revision"):
        main(["--json", str(tmp_path), "--revision", "main", "--out", str(tmp_path / "out")])
    with pytest.raises(FGVEditError, match="--no-fetch"):
        main(["--json", str(tmp_path), "--no-fetch", "--out", str(tmp_path / "out")])
    for option, value in (("--fetch-into", "x"), ("--host", "http://x"), ("--jobs", "2")):
        with pytest.raises(FGVEditError, match=f"{option} {value}: found it with --no-fetch"):
            main(["--json", "x", "--images", "x", "--no-fetch", option, value, "--out", str(tmp_path / "out")])
    done = subprocess.run(
        [sys.executable, "-m", "builders.released", "--jsn", "x"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2 and "did you mean '--json'" in done.stderr and done.stdout == ""
    shown = subprocess.run(
        [sys.executable, "-m", "builders.released", "--help"], cwd=ROOT, capture_output=True, text=True
    )
    assert shown.returncode == 0 and "examples:" in shown.stdout


def test_images_that_are_referred_to_are_read_where_they_lie(tmp_path: Path, photos: Path) -> None:
    out = build(tmp_path, photos, entry(0), entry(4), options=("--reference",))
    images = pq.read_table(out / "train-00000.parquet").column("image").to_pylist()
    assert images == [{"bytes": None, "path": str((photos / place).resolve())} for place in (PLACES[0], PLACES[4])]
    records = load_records(str(out), "train").records
    assert [record.image.data for record in records] == [PHOTOS[PLACES[0]], PHOTOS[PLACES[4]]]
    table = datasets.load_dataset(str(out), split="train")
    assert table[1]["image"].size == (40, 30)
    embedded = build(tmp_path, photos, entry(0), entry(4))
    assert [record.image.data for record in load_records(str(embedded), "train").records] == [
        record.image.data for record in records
    ]


def test_images_that_are_not_here_are_fetched_and_no_others(tmp_path: Path, photos: Path, host: CocoHost) -> None:
    release = write_release(
        tmp_path / "release", [entry(0), entry(1), entry(2, alt="")], [entry(4), entry(3), entry(0)]
    )
    (photos / PLACES[0]).rename(photos / NAMES[0])  # a folder without train2014/
    for place in PLACES[1:]:
        (photos / place).unlink()
    host.faults[PLACES[3]] = ["404"] * 9
    out = tmp_path / "out"
    main(["--json", str(release), "--images", str(photos), "--out", str(out), "--host", host.url])
    assert sorted(host.requests) == sorted([PLACES[1], PLACES[4], PLACES[3]])
    assert set(held(tmp_path / "out-images")) == {PLACES[1], PLACES[4], "images.sha256"}
    assert [record.image.data for record in load_records(str(out), "train").records] == [
        PHOTOS[PLACES[0]],
        PHOTOS[PLACES[1]],
    ]
    [absent] = anomalies(out)["image not there", "image"]["records"]
    assert absent["id"] == "released-test-00001" and "404" in absent["found"]


def test_the_release_comes_from_the_hub_at_a_commit(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = write_release(tmp_path / "first", [entry(0)], [entry(1)])
    second = write_release(tmp_path / "second", [entry(0), entry(2)], [entry(1)])
    arguments = ["--images", str(photos), "--no-fetch", "--out", str(tmp_path / "out")]
    with LocalHub() as hub, connected(hub, tmp_path / "hub-cache"):
        older, newer = hub.add(HUB, first), hub.add(HUB, second)
        main(arguments)
        assert json.loads((tmp_path / "out" / "report.json").read_text())["revision"] == newer
        assert len(load_records(str(tmp_path / "out"), "train").records) == 2
        label = json.loads((tmp_path / "out" / "labels.jsonl").read_text().splitlines()[0])
        assert label["labeller"].endswith(newer)
        main([*arguments, "--revision", older])
        assert json.loads((tmp_path / "out" / "report.json").read_text())["revision"] == older
        assert len(load_records(str(tmp_path / "out"), "train").records) == 1
        with pytest.raises(FGVEditError, match="'nowhere'"):
            main([*arguments, "--revision", "nowhere"])
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        hub.requests.clear()
        main([*arguments, "--revision", older])  # is in the cache
        shutil.rmtree(tmp_path / "hub-cache")
        with pytest.raises(FGVEditError, match="--json"):
            main(arguments)
        assert hub.requests == []


def test_killed_and_gone_on_with(tmp_path: Path, host: CocoHost) -> None:
    release = write_release(tmp_path / "release", [entry(n) for n in range(4)], [entry(4), entry(1)])
    with LocalHub() as hub:
        commit = hub.add(HUB, release)
        variables = {**environment(hub, tmp_path / "home"), "OMP_NUM_THREADS": "1"}

        def start(out: str) -> subprocess.Popen[bytes]:
            arguments = ["--revision", commit, "--host", host.url, "--jobs", "1", "--out", str(tmp_path / out / "data")]
            return subprocess.Popen(
                [sys.executable, "-m", "builders.released", *arguments], cwd=ROOT, env=variables, stdout=-3, stderr=-3
            )

        assert start("undisturbed").wait(120) == 0
        host.faults[PLACES[2]] = ["stall"]
        killed = start("killed")
        assert host.stalled.wait(60)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert not list((tmp_path / "killed").rglob("*.parquet"))
        partial = tmp_path / "killed" / ".data.fgvedit-new"  # as a kill while writing leaves it
        partial.mkdir(parents=True)
        (partial / "train-00007.parquet").write_bytes(b"PAR1")
        host.requests.clear()
        assert start("killed").wait(120) == 0
    assert sorted(host.requests) == sorted(PLACES[2:])
    assert held(tmp_path / "killed") == held(tmp_path / "undisturbed")
    assert len(held(tmp_path / "killed" / "data")) == 5


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package's folder in a checkout of which only the data is there."""
    package = tmp_path / "checkout" / "fgvedit"
    (package / "data").mkdir(parents=True)
    shutil.copy(ROOT / "fgvedit" / "README.md", package)
    for file in (ROOT / "fgvedit" / "data").glob("*.parquet"):
        shutil.copy(file, package / "data")
    monkeypatch.setattr(fgvedit.dataset, "FOLDER", package)
    monkeypatch.setattr("builders.released.build.OUT", package / "data" / "vqav2")
    monkeypatch.chdir(package.parent)
    return package


def test_the_configuration_is_there_once_it_is_built(tmp_path: Path, photos: Path, checkout: Path) -> None:
    assert len(datasets.load_dataset("fgvedit", split="test")) == 1100  # the default is unharmed
    assert len(fgvedit.load_dataset("fgvedit")["test"]) == 1100
    unbuilt: list[Callable[[], Any]] = [
        lambda: fgvedit.load_dataset("fgvedit", "vqav2"),
        lambda: load_records("vqav2"),
        lambda: run.main(["--dataset", "vqav2", "--editor", "none"]),
    ]
    for ask in unbuilt:
        with pytest.raises(FGVEditError, match=r"python -m builders\.released"):
            ask()
    with pytest.raises(ValueError):
        datasets.load_dataset("fgvedit", "vqav2")

    release = write_release(tmp_path / "release", [entry(0), entry(1)], [entry(2)])
    arguments = ["--json", str(release), "--images", str(photos), "--no-fetch"]
    arguments += ["--out", str(checkout / "data" / "vqav2")]
    main(arguments)
    for load in (datasets.load_dataset, fgvedit.load_dataset):
        both = load("fgvedit", "vqav2")
        assert both["train"]["id"][:] == ["released-train-00000", "released-train-00001"]
        assert both["test"][0]["image"].size == (40, 30)
    assert [record.id for record in load_records("vqav2").records] == ["released-test-00000"]
    assert len(datasets.load_dataset("fgvedit", split="test")) == 1100

    older = checkout / "data" / "vqav2" / "train-00001.parquet"  # as of a larger release
    shutil.copy(older.with_name("train-00000.parquet"), older)
    write_release(release, [entry(3)], [entry(2)])  # built anew from other data: none of the old is given back
    main(arguments)
    assert not older.exists()
    for load in (datasets.load_dataset, fgvedit.load_dataset):
        assert load("fgvedit", "vqav2")["train"]["question"][:] == ["What colour is bus 3?"]
    assert datasets.load_dataset(str(checkout / "data" / "vqav2"))["train"].num_rows == 1


def test_real_photos_and_questions_are_edited(
    tmp_path: Path, real_data: Path, random_blip2: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    questions = [json.loads(line) for line in (real_data / "coco_vqa" / "vqa.jsonl").read_text().splitlines()]
    facts = [json.loads(line) for line in (real_data / "nq_loc.jsonl").read_text().splitlines()]
    rng = random.Random(0)
    entries: list[dict[str, str]] = []
    for first, second in itertools.pairwise(questions):
        if first["image"] == second["image"]:
            fact = facts[len(entries)]
            entries.append(
                {
                    "src": first["question"],
                    "pred": first["answer"],
                    "alt": rng.choice([q["answer"] for q in questions if q["answer"] != first["answer"]]),
                    "rephrase": f"Please say: {first['question']}",
                    "image": first["image"].split("/", 1)[1],
                    "loc": fact["question"],
                    "loc_ans": fact["answer"],
                    "fg_gen_q": f"Once more, {first['question']}",
                    "fg_gen_a": "yes",
                    "fg_loc_q": second["question"],
                    "fg_loc_a": second["answer"],
                }
            )
    assert len(entries) > 500
    release = write_release(tmp_path / "release", entries[:-60], entries[-60:])
    out = tmp_path / "out"
    folders = ["--images", str(real_data / "coco_vqa/images"), "--images", str(real_data / "coco_vqa/images_224")]
    main(["--json", str(release), *folders, "--no-fetch", "--out", str(out)])
    written = json.loads((out / "report.json").read_text())["splits"]
    assert written["train"]["records_read"] == len(entries) - 60
    assert written["train"]["records_written"] + written["test"]["records_written"] > 0.97 * len(entries)
    by_id = {f"released-test-{number:05d}": found for number, found in enumerate(entries[-60:])}
    for record in load_records(str(out)).records:
        assert (record.question, record.target) == (by_id[record.id]["src"], by_id[record.id]["alt"])
        assert record.image.image_id in by_id[record.id]["image"]

    capsys.readouterr()
    options = ["--dataset", str(out), "--editor", "ft", "--limit", "2", "--backbone", str(random_blip2)]
    options += ["--set", "layers=[-1]"]
    run.main([*options, "--out", str(tmp_path / "result")])
    rows = [json.loads(line) for line in (tmp_path / "result" / "rows.jsonl").read_text().splitlines()]
    assert {row["record_id"] for row in rows} == {"released-test-00000", "released-test-00001"}
    assert re.search(r"^specificity +\d", capsys.readouterr().out, re.MULTILINE)
