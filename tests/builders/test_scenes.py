"""The embedded configuration `scenes`: what the shipped files hold, seen and read anew, and how they are made."""

from __future__ import annotations

import io
import os
import random
import re
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scene_reading import Asked, Read, fits, look, read, take_apart, the_one, value, with_edit

import fgvedit
from builders.scenes.__main__ import CARD, DATA, IMAGES, SEED, write_split
from builders.scenes.describe import counts
from builders.scenes.facts import facts, facts_of
from builders.scenes.language import FORMS, NAMINGS, REFERENCES, ask, names, phrasings
from builders.scenes.records import held_out, split_rows
from builders.scenes.scene import ATTRIBUTES, COLORS, encode, render, sample_scene
from builders.scenes.sprites import PICTURES
from fgvedit.dataset import load_records
from fgvedit.probes import probe_kinds
from fgvedit.schema import ImageRef, Probe
from fgvedit.util.revision import content_hash

ROOT = Path(fgvedit.__file__).parent.parent
AT_LEAST_TWO = ("rephrase", "in_scope", "out_of_scope")
ABOUT_THE_SCENE = ("rephrase", "in_scope", "reference_in", "out_of_scope", "reference_out")
Reads = dict[str, list[Read]]


@pytest.fixture(scope="module")
def reads() -> Reads:
    return {split: read(load_records("scenes", split).records) for split in IMAGES}


@pytest.fixture(scope="module")
def every(reads: Reads) -> list[Read]:
    return [one for split in reads.values() for one in split]


def probes(one: Read, *kinds: str) -> list[tuple[Probe, Asked]]:
    return [(probe, take_apart(probe.question)) for probe in one.record.probes if probe.kind in kinds]


# -- what the shipped files hold -----------------------------------------------------------------------------------


def test_its_size(reads):
    assert len(reads["train"]) >= 3000 and len(reads["test"]) >= 1000
    assert len(reads["train"]) == 3 * len(reads["test"])
    assert sum(path.stat().st_size for path in DATA.glob("*")) < 25e6
    assert len({entity.kind for one in reads["test"] for entity in one.scene.entities}) == len(PICTURES) >= 24
    assert {len(one.scene.entities) for split in reads.values() for one in split} == {3, 4, 5, 6}


def test_every_kind_of_probe(every):
    for one in every:
        kinds = Counter(probe.kind for probe in one.record.probes)
        assert set(kinds) == set(probe_kinds())
        assert all(kinds[kind] >= 2 for kind in AT_LEAST_TWO)


def test_the_edit_is_about_the_entity_that_is_named(every):
    for one in every:
        assert one.asked.form == "open" and one.asked.name == one.record.entity
        assert one.record.answer == value(one.entity, one.asked.attribute)
        assert one.record.box == one.entity.box


def test_the_target_is_another_value_that_can_be(every):
    for one in every:
        attribute = one.asked.attribute
        assert one.record.target in ATTRIBUTES[attribute] and one.record.target != one.record.answer
        if attribute in ("kind", "place"):  # two cards in one place cannot be; one more dog makes "the dog" two
            assert one.record.target not in [value(entity, attribute) for entity in one.scene.entities]


def test_in_scope_probes_are_entailed(every):
    for one in every:
        for probe, asked in probes(one, "rephrase", "in_scope", "reference_in"):
            assert the_one(one.scene, asked.name) == one.entity
            assert asked.attribute == one.asked.attribute
            assert probe.answer == asked.answer(one.record.target) != asked.answer(one.record.answer)
            assert probe.question != one.record.question


def test_out_of_scope_probes_mean_and_say_the_same_with_and_without_the_edit(every):
    for one in every:
        after, edited = with_edit(one.scene, one.entity, one.asked.attribute, one.record.target)
        for probe, asked in probes(one, "out_of_scope", "reference_out"):
            entity = the_one(one.scene, asked.name)
            assert (entity, asked.attribute) != (one.entity, one.asked.attribute)
            assert probe.answer == asked.answer(value(entity, asked.attribute))
            again = the_one(after, asked.name)
            assert again == (edited if entity == one.entity else entity)
            assert probe.answer == asked.answer(value(again, asked.attribute))


def test_hard_out_of_scope_probes(every):
    for one in every:
        asked = [(the_one(one.scene, a.name), a.attribute) for _, a in probes(one, "out_of_scope")]
        assert any(entity == one.entity for entity, _ in asked)
        twins = one.scene.alike(one.entity)
        assert not twins or any(entity in twins and attribute == one.asked.attribute for entity, attribute in asked)


def test_references_tell_only_the_surroundings(every):
    for one in every:
        for _, asked in probes(one, "reference_in", "reference_out"):
            entity = the_one(one.scene, asked.name)
            assert not {entity.kind, entity.color} & set(re.findall(r"\w+", asked.name))
            assert re.fullmatch(r"the card .*|the (top|middle|bottom) \w+ card|the center card", asked.name)


def test_the_other_image_answers_otherwise(every):
    for one in every:
        for probe, asked in probes(one, "other_image"):
            assert probe.image is not None and probe.image.key != one.record.image.key
            scene = look(probe.image)
            assert probe.question == one.record.question
            assert probe.answer == value(the_one(scene, asked.name), asked.attribute)
            assert probe.answer not in (one.record.answer, one.record.target)


def test_closed_questions_are_balanced(reads):
    for split in reads.values():
        said: dict[str, Counter] = defaultdict(Counter)
        for one in split:
            for probe, asked in probes(one, "in_scope", "out_of_scope"):
                if asked.form != "open":
                    first = "yes" if asked.form == "verify" else asked.values[0]
                    said[probe.kind, asked.form][probe.answer == first] += 1
        assert len(said) == 4
        for counted in said.values():
            assert 0.45 <= counted[True] / counted.total() <= 0.55


def test_no_question_is_asked_twice_of_an_image_in_a_record(every):
    for one in every:
        asked = [(p.image.key if p.image else "", p.question) for p in one.record.probes]
        asked.append((one.record.image.key, one.record.question))
        assert len(set(asked)) == len(asked)


def test_splits_share_no_image_and_no_fact(reads):
    images, texts = {}, {}
    for split, ones in reads.items():
        refs = [ref for one in ones for ref in (one.record.image, *(p.image for p in one.record.probes)) if ref]
        images[split] = {ref.key: ref for ref in refs}
        texts[split] = {p.question for one in ones for p in one.record.probes_of("text_locality")}
        right = dict(facts_of(split))
        assert all(right[p.question] == p.answer for o in ones for p in o.record.probes_of("text_locality"))
        assert all(p.image is None for o in ones for p in o.record.probes_of("text_locality"))
    pixels = {split: {ref.open().tobytes() for ref in refs.values()} for split, refs in images.items()}
    for found in (images, pixels, texts):
        assert not set(found["train"]) & set(found["test"])
    assert len(facts()) == len(dict(facts())) >= 200


def test_what_is_found_in_test_alone(reads):
    used, pairs = {}, {}
    for split, ones in reads.items():
        asked = [one.asked for one in ones] + [a for one in ones for _, a in probes(one, *ABOUT_THE_SCENE)]
        used[split] = {(a.attribute, a.form, a.phrasing) for a in asked}
        pairs[split] = {(one.entity.kind, one.asked.attribute) for one in ones}
    unseen = used["test"] - used["train"]
    assert unseen == {(*key, text) for key in _questions() for text in phrasings(*key, "new")} and len(unseen) >= 12
    assert pairs["test"] - pairs["train"] == {(k, a) for k in PICTURES for a in ATTRIBUTES if held_out(k, a)}
    assert {attribute for _, attribute in pairs["test"] - pairs["train"]} == set(ATTRIBUTES)
    for one in reads["test"]:  # each record has a rephrasing of a kind that training never shows
        assert any((a.attribute, a.form, a.phrasing) in unseen for _, a in probes(one, "rephrase"))


def _questions() -> list[tuple[str, str]]:
    return [(attribute, form) for attribute in ATTRIBUTES for form in FORMS]


def test_a_third_of_the_scenes_has_two_of_a_kind(reads):
    for ones in reads.values():
        scenes = {one.record.image.key: one.scene for one in ones}.values()
        assert sum(any(scene.alike(e) for e in scene.entities) for scene in scenes) / len(scenes) >= 1 / 3
        assert sum(bool(one.scene.alike(one.entity)) for one in ones) / len(ones) >= 1 / 3


def test_datasets_loads_it(tmp_path):
    code = (
        "import sys, datasets; d = datasets.load_dataset('fgvedit'); print(len(d['train']), len(d['test']), "
        "d['test'][0]['image'].size, 'fgvedit' in sys.modules)"
    )
    environ = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environ, capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n")[0] == "3300 1100 (144, 144) False"


# -- how they are made ---------------------------------------------------------------------------------------------


def test_the_same_seed_makes_the_same_bytes(tmp_path):
    folders = [tmp_path / name for name in ("one", "same", "other")]
    for folder, seed in zip(folders, (5, 5, 6), strict=True):
        folder.mkdir()
        write_split("test", 12, seed, folder)
    one, same, other = ((folder / "scenes-test.parquet").read_bytes() for folder in folders)
    assert one == same != other
    assert split_rows("test", 12, 5)[0] != split_rows("test", 12, 6)[0]
    assert split_rows("test", 12, 5)[0]["question"] != split_rows("train", 12, 5)[0]["question"]


@pytest.mark.parametrize("split", ["test", pytest.param("train", marks=pytest.mark.slow)])
def test_the_shipped_file_is_what_the_builder_makes(split):
    """Fields and pixels; the bytes of PNG and Parquet depend on the versions of their libraries."""
    made = split_rows(split, IMAGES[split], SEED)
    shipped = pq.read_table(DATA / f"scenes-{split}.parquet").to_pylist()
    assert len(made) == len(shipped)
    for one, other in zip(made, shipped, strict=True):
        assert _decoded(one) == _decoded(other)


def _decoded(row: Any) -> Any:
    """A row with pixels in place of encoded images."""
    if isinstance(row, dict) and set(row) == {"bytes", "path"}:
        return row["path"], Image.open(io.BytesIO(row["bytes"])).convert("RGB").tobytes()
    if isinstance(row, dict):
        return {key: _decoded(inner) for key, inner in row.items()}
    return [_decoded(inner) for inner in row] if isinstance(row, list) else row


scenes = st.integers(0, 2**64 - 1).map(lambda seed: sample_scene(random.Random(seed)))
seeds = st.integers(0, 2**32 - 1)


@given(scenes)
def test_a_name_fits_its_entity_alone(scene):
    for entity in scene.entities:
        found = names(scene, entity)
        assert "place" in found
        for name in found.values():
            assert fits(scene, name) == [entity]


@given(scenes, seeds, st.sampled_from(list(ATTRIBUTES)), st.sampled_from(FORMS), st.booleans())
def test_a_question_and_its_answer(scene, seed, attribute, form, by_reference):
    rng = random.Random(seed)
    index = rng.randrange(len(scene.entities))
    namings = (REFERENCES if by_reference else NAMINGS)[attribute]
    question = ask(rng, scene, index, attribute, form, namings, "test")
    if question is None:
        assert not set(namings) & set(names(scene, scene.entities[index]))
        return
    asked = take_apart(question.text)
    truth = value(scene.entities[index], attribute)
    assert (asked.attribute, asked.form, asked.name) == (attribute, form, question.name)
    assert the_one(scene, asked.name) == scene.entities[index]
    assert question.answer(truth) == asked.answer(truth)
    assert truth not in re.findall(r"\w+", asked.name)  # the name does not give the answer away
    assert (len(asked.values), len(set(asked.values))) == ({"open": 0, "verify": 1, "choice": 2}[form],) * 2


@settings(deadline=None)
@given(scenes)
def test_cards_stand_where_their_boxes_say(scene):
    image = render(scene)
    pixels = np.asarray(image.convert("RGB"), dtype=int)
    for entity in scene.entities:
        x, y, width, height = entity.box
        assert min(x, y) >= 0 and x + width <= image.width and y + height <= image.height
        # just inside the outline, half way along the left edge, where no picture reaches
        assert np.abs(pixels[y + height // 2 - 4 : y + height // 2 + 4, x + 1] - COLORS[entity.color]).max() < 40
    assert look(ImageRef("drawn", encode(image))).entities == scene.entities


def test_it_is_described():
    described = counts("test")
    assert described["edits"] == "1100" and described["probes `out_of_scope`"] == "3300"
    card = (ROOT / "fgvedit" / "README.md").read_text(encoding="utf-8")
    for name, shown in described.items():
        assert re.search(rf"^\| {re.escape(name)} \|.* {re.escape(shown)} \|$", card, re.MULTILINE)


def test_the_card_changes_with_the_data():
    """Otherwise `datasets` gives whoever has read an older version that older version again."""
    assert f"  description: content {content_hash(DATA.glob('*.parquet'))}\n" in CARD.read_text()
