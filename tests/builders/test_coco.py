"""COCO images: found where they lie, fetched whole or not at all, from a host that fails in every way hosts do."""

from __future__ import annotations

import email.utils
import hashlib
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from coco_host import NAMES, PHOTOS, PLACES, CocoHost, held, photo

from builders import coco
from builders.coco import CHECKSUMS, Images
from fgvedit.util.errors import FGVEditError


def put(folder: Path, place: str, data: bytes | None = None) -> Path:
    path = folder / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(PHOTOS[place] if data is None else data)
    return path


def sha256sum(folder: Path) -> str:
    """What `sha256sum */*.jpg` prints in a folder."""
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.jpg"))
    return "".join(f"{hashlib.sha256((folder / file).read_bytes()).hexdigest()}  {file}\n" for file in files)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[CocoHost]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(coco, "PAUSE", 0.001)
    with CocoHost(PHOTOS) as running:
        yield running


def test_an_image_is_found_by_any_of_its_names(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    put(first, PLACES[0])
    put(second, PLACES[4])
    put(second, PLACES[1]).rename(second / NAMES[1])
    images = Images([first, second])
    for place, name in zip(PLACES, NAMES, strict=True):
        if name in (NAMES[0], NAMES[1], NAMES[4]):
            for asked in (place, name):
                found = images.ref(asked)
                assert (found.image_id, found.data) == (name.removesuffix(".jpg"), PHOTOS[place])
                assert images.path(asked).read_bytes() == PHOTOS[place]


def test_of_several_folders_the_first_counts(tmp_path: Path) -> None:
    put(tmp_path / "a", PLACES[0])
    put(tmp_path / "b", PLACES[0], PHOTOS[PLACES[1]])
    assert Images([tmp_path / "b", tmp_path / "a"]).ref(NAMES[0]).data == PHOTOS[PLACES[1]]


def test_real_photos_are_found(real_data: Path) -> None:
    folders = [real_data / "coco_vqa" / "images", real_data / "coco_vqa" / "images_224"]
    images = Images(folders)
    files = [path for folder in folders for path in folder.rglob("COCO_*.jpg")]
    assert len(files) >= 122
    for path in files:
        assert images.ref(path.name).image_id == path.stem
    assert images.ref("train2014/COCO_train2014_000000000025.jpg").open().size == (640, 426)


@pytest.mark.parametrize("name", [NAMES[0], PLACES[0], "other.jpg", "", "../secret.jpg", "train2014/../../secret.jpg"])
def test_an_image_that_is_not_there_is_named_with_the_folders(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    (tmp_path / "secret.jpg").write_bytes(photo(9))
    with pytest.raises(FGVEditError, match=re.escape(f"'{name}'")) as error:
        Images([folder]).ref(name)
    assert str(folder) in str(error.value)


def test_an_absolute_name_is_not_followed(tmp_path: Path) -> None:
    secret = put(tmp_path, PLACES[0])
    (tmp_path / "images").mkdir()
    with pytest.raises(FGVEditError, match="not there"):
        Images([tmp_path / "images"]).ref(str(secret))


def test_bad_folders_and_numbers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FGVEditError, match="no folder"):
        Images([])
    with pytest.raises(FGVEditError, match=re.escape(str(tmp_path / "none"))):
        Images([tmp_path / "none"])
    with pytest.raises(FGVEditError, match=re.escape(str(tmp_path / "none"))):
        Images([tmp_path / "new", tmp_path / "none"], fetch=True)
    with pytest.raises(FGVEditError, match="at least 1"):
        Images([tmp_path], jobs=0)
    for host in ("images.cocodataset.org", "file:///tmp"):
        with pytest.raises(FGVEditError, match=re.escape(f"'{host}'")):
            Images([tmp_path], fetch=True, host=host)


def test_only_those_named_and_not_here_are_fetched(
    tmp_path: Path, host: CocoHost, capsys: pytest.CaptureFixture[str]
) -> None:
    into, own = tmp_path / "into", tmp_path / "own"
    put(own, PLACES[0])
    images = Images([into, own], fetch=True, host=host.url)
    assert images.fetch([NAMES[0], PLACES[1], NAMES[1], PLACES[4]]) == {}
    assert sorted(host.requests) == sorted([PLACES[1], PLACES[4]])
    said = capsys.readouterr().err
    assert "fetching 2 from" in said and host.url in said and str(into) in said
    assert held(into) == {
        PLACES[1]: PHOTOS[PLACES[1]],
        PLACES[4]: PHOTOS[PLACES[4]],
        CHECKSUMS: sha256sum(into).encode(),
    }
    assert list(held(own)) == [PLACES[0]]
    assert all("fgvedit/" in agent for agent in host.agents)
    assert images.ref(NAMES[4]).data == PHOTOS[PLACES[4]]

    before = held(into)
    assert Images([into, own], fetch=True, host=host.url).fetch(NAMES[:2]) == {}
    assert len(host.requests) == 2 and held(into) == before
    assert capsys.readouterr().err == ""  # nothing was to come


def test_one_image_is_fetched_when_it_is_asked_for(tmp_path: Path, host: CocoHost) -> None:
    images = Images([tmp_path / "into"], fetch=True, host=f"{host.url}/")
    assert images.ref(NAMES[2]).data == PHOTOS[PLACES[2]]
    assert images.path(NAMES[2]) == tmp_path / "into" / PLACES[2]
    assert host.requests == [PLACES[2]]


FAULTS = ["429", "429 0", "500", "503", "cut", "long", "short", "html", "png", "moved"]


@pytest.mark.parametrize("fault", FAULTS)
def test_what_goes_wrong_once_is_asked_for_again(tmp_path: Path, host: CocoHost, fault: str) -> None:
    host.faults[PLACES[0]] = [fault]
    assert Images([tmp_path], fetch=True, host=host.url).fetch(NAMES[:2]) == {}
    assert {place: data for place, data in held(tmp_path).items() if place != CHECKSUMS} == {
        place: PHOTOS[place] for place in PLACES[:2]
    }
    assert (tmp_path / CHECKSUMS).read_text() == sha256sum(tmp_path)


@pytest.mark.parametrize("fault", ["500", "cut", "long", "short", "html", "png"])
def test_what_stays_wrong_is_listed_and_leaves_nothing(tmp_path: Path, host: CocoHost, fault: str) -> None:
    host.faults[PLACES[0]] = [fault] * coco.ATTEMPTS
    images = Images([tmp_path], fetch=True, host=host.url)
    reasons = images.fetch(NAMES[:2])
    assert list(reasons) == [NAMES[0]] and f"{host.url}/{PLACES[0]}" in reasons[NAMES[0]]
    assert set(held(tmp_path)) == {PLACES[1], CHECKSUMS}
    assert host.requests.count(PLACES[0]) == coco.ATTEMPTS
    with pytest.raises(FGVEditError, match=NAMES[0]):  # and is not asked for once more
        images.ref(NAMES[0])
    assert host.requests.count(PLACES[0]) == coco.ATTEMPTS


@pytest.mark.parametrize("status", ["403", "404", "410"])
def test_what_the_host_does_not_have_is_asked_for_once(tmp_path: Path, host: CocoHost, status: str) -> None:
    host.faults[PLACES[0]] = [status] * 9
    reasons = Images([tmp_path], fetch=True, host=host.url).fetch([NAMES[0], PLACES[0], "no-coco.jpg"])
    assert set(reasons) == {NAMES[0], PLACES[0], "no-coco.jpg"}
    assert status in reasons[NAMES[0]] and "no COCO 2014 file name" in reasons["no-coco.jpg"]
    assert host.requests == [PLACES[0]]


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_the_host_is_given_the_time_that_it_asks_for(
    tmp_path: Path, host: CocoHost, form: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slept: list[float] = []
    passed = 0.0

    def pause(seconds: float, _: object) -> None:
        nonlocal passed
        slept.append(seconds)
        passed += seconds

    monkeypatch.setattr(time, "monotonic", lambda real=time.monotonic: real() + passed)
    monkeypatch.setattr(coco, "pause", pause)
    wish = "70" if form == "seconds" else email.utils.formatdate(time.time() + 70, usegmt=True)
    host.faults[PLACES[0]] = [f"429 {wish}"]
    assert Images([tmp_path], fetch=True, host=host.url, jobs=1).fetch(NAMES[:1]) == {}
    assert 60 < sum(slept) <= 70
    assert len(host.requests) == 2
    assert re.search(r"asks to wait (69|70) seconds", capsys.readouterr().err)


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_a_host_that_wants_a_day_ends_the_run(tmp_path: Path, host: CocoHost, form: str) -> None:
    wish = "86400" if form == "seconds" else email.utils.formatdate(time.time() + 86400, usegmt=True)
    host.faults[PLACES[0]] = [f"429 {wish}"]
    with pytest.raises(FGVEditError, match=r"asks to wait 86,\d+ seconds, expected at most 600.*goes on from here"):
        Images([tmp_path], fetch=True, host=host.url, jobs=1).fetch(NAMES[:1])
    assert Images([tmp_path], fetch=True, host=host.url).fetch(NAMES[:1]) == {}


def test_pauses_grow(tmp_path: Path, host: CocoHost, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(coco, "pause", lambda seconds, _: slept.append(seconds))
    host.faults[PLACES[0]] = ["500"] * 4
    assert Images([tmp_path], fetch=True, host=host.url, jobs=1).fetch(NAMES[:1]) == {}
    assert [seconds / coco.PAUSE for seconds in slept if seconds] == [1, 2, 4, 8]


@pytest.mark.parametrize("jobs", [1, 2])
def test_no_more_connections_than_asked_for(tmp_path: Path, host: CocoHost, jobs: int) -> None:
    host.images = {f"train2014/COCO_train2014_{number:012d}.jpg": photo(number) for number in range(30)}
    assert Images([tmp_path], fetch=True, host=host.url, jobs=jobs).fetch(host.images) == {}
    assert host.most <= jobs


def test_a_host_that_gives_nothing_is_given_up(tmp_path: Path, host: CocoHost) -> None:
    names = [f"COCO_train2014_{number:012d}.jpg" for number in range(60)]
    for name in names:
        host.faults[f"train2014/{name}"] = ["500"] * 99
    with pytest.raises(FGVEditError, match="goes on from here"):
        Images([tmp_path], fetch=True, host=host.url, jobs=2).fetch(names)
    assert len(set(host.requests)) < 30
    with pytest.raises(FGVEditError, match="in a row"):
        Images([tmp_path], fetch=True, host="http://127.0.0.1:9").fetch(names)


def test_killed_and_gone_on_with(tmp_path: Path, host: CocoHost) -> None:
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    assert Images([undisturbed], fetch=True, host=host.url).fetch(NAMES) == {}
    host.requests.clear()
    host.faults[PLACES[2]] = ["stall"]
    code = (
        "from pathlib import Path; from builders.coco import Images\n"
        f"Images([Path({str(killed)!r})], fetch=True, host={host.url!r}, jobs=1).fetch({NAMES!r})"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2], stderr=subprocess.DEVNULL)
    assert host.stalled.wait(60)
    process.send_signal(signal.SIGKILL)
    process.wait()
    there = {place for place in held(killed) if place != CHECKSUMS}
    assert there == {PLACES[0], PLACES[1]}
    (killed / f"train2014/.{NAMES[2]}.tmp").write_bytes(PHOTOS[PLACES[2]][:50])  # as a kill while writing leaves it
    with (killed / CHECKSUMS).open("a") as file:
        file.write("0123abc")  # likewise
    host.requests.clear()
    assert Images([killed], fetch=True, host=host.url).fetch(NAMES) == {}
    assert sorted(host.requests) == sorted(PLACES[2:])
    assert held(killed) == held(undisturbed)


def test_an_image_without_a_checksum_counts_only_if_it_is_whole(tmp_path: Path, host: CocoHost) -> None:
    put(tmp_path, PLACES[0])
    put(tmp_path, PLACES[1], PHOTOS[PLACES[1]][:-100])
    assert Images([tmp_path], fetch=True, host=host.url).fetch(NAMES[:2]) == {}
    assert host.requests == [PLACES[1]]
    assert held(tmp_path) == {
        **{place: PHOTOS[place] for place in PLACES[:2]},
        CHECKSUMS: sha256sum(tmp_path).encode(),
    }


def test_what_is_fetched_counts_before_a_broken_image_of_its_name(tmp_path: Path, host: CocoHost) -> None:
    """In a folder without `train2014/`."""
    (tmp_path / NAMES[0]).write_bytes(PHOTOS[PLACES[0]][:-100])
    images = Images([tmp_path], fetch=True, host=host.url)
    assert images.fetch([NAMES[0]]) == {} and host.requests == [PLACES[0]]
    for name in (NAMES[0], PLACES[0]):
        assert images.ref(name).data == PHOTOS[PLACES[0]]


def test_an_image_that_changed_is_noticed_and_fetched_again(tmp_path: Path, host: CocoHost) -> None:
    Images([tmp_path], fetch=True, host=host.url).fetch(NAMES[:2])
    put(tmp_path, PLACES[0], photo(77))
    with pytest.raises(FGVEditError, match=f"{NAMES[0]}.*has changed"):
        Images([tmp_path]).ref(NAMES[0])
    assert Images([tmp_path], fetch=True, host=host.url).fetch(NAMES[:2]) == {}
    assert Images([tmp_path]).ref(NAMES[0]).data == PHOTOS[PLACES[0]]
    assert host.requests.count(PLACES[0]) == 2 and host.requests.count(PLACES[1]) == 1
