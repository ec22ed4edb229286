"""The embedded configuration `scenes`: what the shipped files hold, seen and read anew, and how they are made."""

from __future__ import annotations

import io
import itertools
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
from scene_reading import Asked, Read, compared, fits, look, look_again, read, take_apart, the_one, value, with_edit

import fgvedit
from builders.scenes.__main__ import CARD, DATA, main, write_split
from builders.scenes.describe import counts
from builders.scenes.facts import facts, facts_of
from builders.scenes.language import FORMS, NAMES, all_names, ask, phrasings
from builders.scenes.portability import COMPARISONS, TALLIES
from builders.scenes.quads import held_out
from builders.scenes.records import EDITS, GROUPS, SEED, draw, split_rows
from builders.scenes.scene import ATTRIBUTES, COLORS, encode, render, sample_scene
from builders.scenes.sprites import PICTURES
from fgvedit.dataset import load_records
from fgvedit.probes import current_kinds
from fgvedit.schema import NO_ANSWER, ImageRef, Probe
from fgvedit.util.errors import FGVEditError
from fgvedit.util.revision import content_hash

ROOT = Path(fgvedit.__file__).parent.parent
HARD = ("in_scope", "out_of_scope")
OTHERS = ("other_view", "other_image", "other_value")
OF_A_RECORD = {**dict.fromkeys(current_kinds(), 1), "rephrase": 2, "worded_in": 2, "worded_out": 3}
ABOUT_THE_SCENE = ("rephrase", *HARD, "worded_in", "worded_out")
Reads = dict[str, list[Read]]


@pytest.fixture(scope="module")
def reads() -> Reads:
    """The test split, and half of the train split."""
    return {split: read(load_records("scenes", split, EDITS * 412).records) for split in GROUPS}


@pytest.fixture(scope="module")
def every(reads: Reads) -> list[Read]:
    return [one for split in reads.values() for one in split]


@pytest.fixture(scope="module")
def groups(every: list[Read]) -> list[list[Read]]:
    found: dict[str, list[Read]] = defaultdict(list)
    for one in every:
        found[one.record.group].append(one)
    return list(found.values())


def probes(one: Read, *kinds: str) -> list[tuple[Probe, Asked]]:
    return [(probe, take_apart(probe.question)) for probe in one.record.probes if probe.kind in kinds]


# -- what the shipped files hold -----------------------------------------------------------------------------------


def test_its_size(reads):
    assert len(load_records("scenes", "train").records) >= 3000 and len(reads["test"]) >= 1000
    assert sum(path.stat().st_size for path in DATA.glob("*")) < 30e6
    assert len({entity.kind for one in reads["test"] for entity in one.scene.entities}) == len(PICTURES) >= 24
    assert {len(one.scene.entities) for split in reads.values() for one in split} == {3, 4, 5, 6}


def test_every_kind_of_probe(every):
    for one in every:
        assert Counter(probe.kind for probe in one.record.probes) == OF_A_RECORD


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


def test_what_changes_is_entailed(every):
    for one in every:
        for probe, asked in probes(one, "rephrase", "in_scope", "worded_in"):
            assert the_one(one.scene, asked.name) == one.entity
            assert asked.attribute == one.asked.attribute
            assert probe.answer == asked.answer(one.record.target) != asked.answer(one.record.answer)
            assert probe.question != one.record.question
            assert (asked.name == one.asked.name) == (probe.kind != "in_scope")


def test_what_stays_means_and_says_the_same_with_and_without_the_edit(every):
    for one in every:
        after, edited = with_edit(one.scene, one.entity, one.asked.attribute, one.record.target)
        for probe, asked in probes(one, *HARD, "worded_out"):  # names of those in scope stay, too
            entity = the_one(one.scene, asked.name)
            again = the_one(after, asked.name)
            assert again == (edited if entity == one.entity else entity)
            if probe.kind != "in_scope":
                assert (entity, asked.attribute) != (one.entity, one.asked.attribute)
                assert probe.answer == asked.answer(value(entity, asked.attribute))
                assert probe.answer == asked.answer(value(again, asked.attribute)) != one.record.target


def test_words_settle_what_is_called_worded(every):
    """The same attribute, asked of another card of the scene by the same sort of name, or another attribute."""
    for one in every:
        asked = [take_apart(probe.question) for probe in one.record.probes_of("worded_out")]
        assert any(the_one(one.scene, a.name) == one.entity for a in asked)
        for other in asked:
            assert other.attribute != one.asked.attribute or _sort(other.name) == _sort(one.asked.name)


def _sort(name: str) -> str:
    """The sort of a name that says what its own card is: nothing is said of neighbours."""
    for sort, values in (("kind", PICTURES), ("color", COLORS)):
        name = re.sub(rf"\b({'|'.join(values)})\b", sort, name)
    name = re.sub(r"\b((top|middle|bottom|left|right|upper|lower|center) )+", "at ", name)
    return re.sub(r"\d pictures?", "count", name)


# -- the hard ones: quads ------------------------------------------------------------------------------------------


def test_a_group_is_two_images_two_edits_and_two_questions(groups):
    for group in groups:
        images, edits, questions = (
            {one.record.image.key for one in group},
            {one.record.edit.fact for one in group},
            {probe.question for one in group for probe, _ in probes(one, *HARD)},
        )
        assert [len(found) for found in (group, images, edits, questions)] == [EDITS, 2, 2, 2]
        assert len({(one.record.image.key, one.record.edit.fact) for one in group}) == EDITS
        assert len({(one.asked.attribute, one.asked.phrasing, one.record.target) for one in group}) == 1
        assert len({(a.attribute, a.phrasing, a.values) for one in group for _, a in probes(one, *HARD)}) == 1


def test_no_single_view_tells_what_is_in_scope(every):
    """Each pair, and each question and each edit in its image, is in scope as often as out of it."""
    seen: dict[tuple, Counter] = defaultdict(Counter)
    for one in every:
        record = one.record
        for place, probe in enumerate(record.probes):
            if probe.kind not in HARD:
                continue
            seen["text", record.edit.fact, probe.question][probe.kind] += 1
            seen["image and edit", record.edit.key][probe.kind] += 1
            seen["image and question", record.image.key, probe.question][probe.kind] += 1
            seen["place", record.group, place][probe.kind] += 1
    for counted in seen.values():
        assert counted["in_scope"] == counted["out_of_scope"] > 0


def test_scene_edit_and_question_together_tell(every):
    for one in every:
        for probe, asked in probes(one, *HARD):
            same = the_one(one.scene, asked.name) == one.entity and asked.attribute == one.asked.attribute
            assert same == (probe.kind == "in_scope")


def test_what_was_right_before_the_edit_tells_nothing(groups):
    """Both cards have the same old value, or are asked whether they have the target, and neither has."""
    for group in groups:
        old = {one.record.answer for one in group}
        for one in group:
            asked = {a.answer(value(the_one(one.scene, a.name), a.attribute)) for _, a in probes(one, *HARD)}
            assert len(asked) == 1
            assert len(old) == 1 or asked == {"no"}
            values = next(a.values for _, a in probes(one, *HARD))
            assert set(values) <= {one.record.target, *old} and (len(old) == 1 or values == (one.record.target,))


def test_image_b_is_image_a_with_two_cards_values_exchanged(groups):
    for group in groups:
        a, b = {one.record.image.key: one.scene for one in group}.values()
        differing = []
        for attribute in ("kind", "color", "count", "place"):
            said = [Counter(value(entity, attribute) for entity in scene.entities) for scene in (a, b)]
            assert said[0] == said[1]
            at = [
                {entity.kind + place_of(entity): value(entity, attribute) for entity in scene.entities}
                for scene in (a, b)
            ]
            differing.append(sum(at[0].get(key) != seen for key, seen in at[1].items()))
        assert max(differing) == 2


def place_of(entity: Any) -> str:
    return value(entity, "place")


def test_names_attributes_forms_and_twins(reads):
    for ones in reads.values():
        asked = [a for one in ones for a in (one.asked, *(a for _, a in probes(one, *HARD)))]
        sorts = {(a.attribute, _sort(a.name)) for a in asked}
        assert {attribute for attribute, _ in sorts} == set(ATTRIBUTES)
        assert len({sort for _, sort in sorts}) >= 8
        forms = Counter(a.form for one in ones for _, a in probes(one, *HARD))
        assert min(forms[form] for form in FORMS) >= 0.15 * forms.total()
        assert sum(bool(one.scene.alike(one.entity)) for one in ones) / len(ones) >= 1 / 5


def test_closed_questions_are_balanced(reads):
    for split in reads.values():
        said: dict[tuple, Counter] = defaultdict(Counter)
        for one in split:
            for probe, asked in probes(one, *HARD, "worded_in", "worded_out"):
                if asked.form != "open":
                    first = "yes" if asked.form == "verify" else asked.values[0]
                    said[probe.kind, asked.form][probe.answer == first] += 1
            for probe in (*one.record.probes_of("portability"), *one.record.probes_of("portability_same")):
                if probe.answer in ("yes", "no"):
                    said[probe.kind][probe.answer == "yes"] += 1
        assert len(said) == 10
        for counted in said.values():
            assert 0.42 <= counted[True] / counted.total() <= 0.58, said


# -- other pictures, and none --------------------------------------------------------------------------------------


def test_other_pictures_show_what_they_are_said_to(every):
    """Read by comparing cards; of a compressed picture one card in some hundreds is taken for another."""
    right = []
    for one in every[::14]:
        shown = {kind: look_again(one.record.probes_of(kind)[0].image) for kind in OTHERS}
        answers = {kind: one.record.probes_of(kind)[0].answer for kind in OTHERS}
        changed, entity = with_edit(one.scene, one.entity, one.asked.attribute, answers["other_value"])
        assert the_one(changed, one.asked.name) == entity
        right.append(_cards(shown["other_view"]) == _cards(one.scene))
        right.append(_cards(shown["other_value"]) == _cards(changed))
        found = fits(shown["other_image"], one.asked.name)
        right.append([value(card, one.asked.attribute) for card in found] == [answers["other_image"]])
    assert np.mean(right) > 0.98


def _cards(scene: Any) -> Counter:
    return Counter((card.kind, card.color, card.count, card.cell) for card in scene.entities)


def test_what_is_right_of_other_pictures(groups):
    for group in groups:
        old = []
        for one in group:
            (view,), (image,), (changed,) = (one.record.probes_of(kind) for kind in OTHERS)
            assert {view.question, image.question, changed.question} == {one.record.question}
            assert view.answer == one.record.target
            assert image.answer != one.record.target
            assert changed.answer not in (one.record.answer, one.record.target)
            own = {other.record.image.key for other in group}
            assert len({view.image.key, image.image.key, changed.image.key} - own) == 3
            old.append(image.answer == one.record.answer)
        assert old.count(True) == EDITS / 2


def test_how_a_picture_looks_does_not_tell_its_kind(reads):
    for kind in OTHERS:
        data = {probe.image.data for one in reads["test"] for probe in one.record.probes_of(kind)}
        assert 0.45 < sum(image.startswith(b"\x89PNG") for image in data) / len(data) < 0.55


def test_without_an_image(every):
    right = {split: dict(facts_of(split)) for split in GROUPS}
    for one in every:
        (probe,) = one.record.probes_of("no_image")
        assert (probe.question, probe.answer, probe.image) == (one.record.question, NO_ANSWER, None)
        (probe,) = one.record.probes_of("text_locality")
        assert right[one.record.id.split("-")[1]][probe.question] == probe.answer and probe.image is None


# -- portability ---------------------------------------------------------------------------------------------------


def test_portability_follows_from_edit_and_image(every):
    sorts = Counter()
    for one in every:
        after, edited = with_edit(one.scene, one.entity, one.asked.attribute, one.record.target)
        asked = {}
        for kind in ("portability", "portability_same"):
            (probe,) = one.record.probes_of(kind)
            question = compared(probe.question)
            said = [question.answer(scene, *_two(scene, question.parts)) for scene in (one.scene, after)]
            assert (said[0] != said[1]) == (kind == "portability") and probe.answer == said[1]
            if "x" in question.parts:  # the edited entity, as the edit names it; and one that stays what it is called
                other = the_one(one.scene, question.parts["z"])
                assert question.parts["x"].lower() == one.asked.name and other != one.entity
                assert the_one(after, question.parts["z"]) == other and the_one(after, one.asked.name) == edited
            asked[kind] = (question.attribute, question.relation, _bare(question.parts), said[0])
        assert len(set(asked.values())) == 1  # neither the sort of question nor what was right before tells
        sorts[asked["portability"][:2]] += 1
    assert set(sorts) == {*COMPARISONS, *TALLIES}


def _bare(parts: dict[str, str]) -> str:
    """The value that a tally is of."""
    return parts.get("v", "")


def _two(scene: Any, parts: dict[str, str]) -> list[Any]:
    return [the_one(scene, parts[slot].lower()) if slot in parts else None for slot in "xz"]


# -- splits --------------------------------------------------------------------------------------------------------


def test_no_question_is_asked_twice_of_an_image_in_a_record(every):
    for one in every:
        asked = [(p.image.key if p.image else "", p.question) for p in one.record.asked]
        assert len(set(asked)) == len(asked)


def test_splits_share_no_image_and_no_fact(reads):
    images, texts = {}, {}
    for split, ones in reads.items():
        refs = [ref for one in ones for ref in (one.record.image, *(p.image for p in one.record.probes)) if ref]
        images[split] = {ref.key: ref for ref in refs}
        texts[split] = {p.question for one in ones for p in one.record.probes_of("text_locality")}
    for found in (images, texts):
        assert not set(found["train"]) & set(found["test"])
    assert len(facts()) == len(dict(facts())) >= 200
    scenes = {split: {frozenset(one.scene.entities) for one in ones} for split, ones in reads.items()}
    assert not scenes["train"] & scenes["test"] and len(scenes["test"]) == len(reads["test"]) / 2


def test_what_is_found_in_test_alone(reads):
    used, pairs = {}, {}
    for split, ones in reads.items():
        asked = [one.asked for one in ones] + [a for one in ones for _, a in probes(one, *ABOUT_THE_SCENE)]
        ported = [p for one in ones for kind in ("portability", "portability_same") for p in one.record.probes_of(kind)]
        used[split] = {(a.attribute, a.form, a.phrasing) for a in asked}
        used[split] |= {(c.attribute, c.relation, c.phrasing) for c in (compared(p.question) for p in ported)}
        pairs[split] = {(one.entity.kind, one.asked.attribute) for one in ones}
    unseen = used["test"] - used["train"]
    new = {(*key, text) for key in itertools.product(ATTRIBUTES, FORMS) for text in phrasings(*key, "new")}
    assert unseen == new | {(*key, texts[-1]) for key, texts in (COMPARISONS | TALLIES).items()}
    assert pairs["test"] - pairs["train"] == {(k, a) for k in PICTURES for a in ATTRIBUTES if held_out(k, a)}
    assert {attribute for _, attribute in pairs["test"] - pairs["train"]} == set(ATTRIBUTES)
    for one in reads["test"]:  # each record has a rephrasing of a kind that training never shows
        assert any((a.attribute, a.form, a.phrasing) in unseen for _, a in probes(one, "rephrase"))


def test_datasets_loads_it(tmp_path):
    code = (
        "import sys, datasets; d = datasets.load_dataset('fgvedit'); print(len(d['train']), len(d['test']), "
        "d['test'][0]['image'].size, d['test'][0]['group'], 'fgvedit' in sys.modules)"
    )
    environ = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environ, capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n")[0] == "3300 1100 (144, 144) scenes-test-00000 False"


# -- how they are made ---------------------------------------------------------------------------------------------


def test_the_same_seed_makes_the_same_bytes(tmp_path):
    folders = [tmp_path / name for name in ("one", "same", "other")]
    for folder, seed in zip(folders, (5, 5, 6), strict=True):
        folder.mkdir()
        write_split("test", 4, seed, folder)
    one, same, other = ((folder / "scenes-test.parquet").read_bytes() for folder in folders)
    assert one == same != other
    rows = {
        (split, seed): next(split_rows(split, 4, seed))[0]["question"] for split in ("train", "test") for seed in (5, 6)
    }
    assert len(set(rows.values())) == 4


@pytest.mark.parametrize("split", GROUPS)
def test_the_shipped_texts_are_what_the_builder_draws(split):
    records = (record for group in draw(split, SEED) for record in group.records)
    shipped = pq.read_table(DATA / f"scenes-{split}.parquet", columns=["question", "target", "probes"]).to_pylist()
    for row, record in zip(shipped[:200], records, strict=False):
        assert (row["question"], row["target"]) == (record.question.text, record.edited.target)
        assert set(record.probes) <= {(probe["kind"], probe["question"], probe["answer"]) for probe in row["probes"]}


@pytest.mark.slow
@pytest.mark.parametrize("split", GROUPS)
def test_the_shipped_file_is_what_the_builder_makes(split):
    """Fields and pixels; the bytes of PNG, WebP and Parquet depend on the versions of their libraries."""
    made = itertools.chain.from_iterable(split_rows(split, GROUPS[split], SEED))
    shipped = pq.read_table(DATA / f"scenes-{split}.parquet").to_pylist()
    for one, other in zip(made, shipped, strict=True):
        assert _decoded(one) == _decoded(other)


def _decoded(row: Any) -> Any:
    """A row with pixels in place of encoded images."""
    if isinstance(row, dict) and set(row) == {"bytes", "path"}:
        return row["path"], Image.open(io.BytesIO(row["bytes"])).convert("RGB").tobytes()
    if isinstance(row, dict):
        return {key: _decoded(inner) for key, inner in row.items()}
    return [_decoded(inner) for inner in row] if isinstance(row, list) else row


def test_more_records_of_the_same_sort(tmp_path, capsys):
    main(["--records", "8", "--seed", "3", "--out", str(tmp_path / "more")])
    assert [path.name for path in (tmp_path / "more").iterdir()] == ["scenes-test.parquet"]
    loaded = load_records(str(tmp_path / "more"))
    assert len(loaded.records) == 8 and len(set(loaded.groups)) == 2
    assert "scenes-test.parquet" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--records", "10", "--out", "x"], "--records is 10; expected whole groups of 4 records, such as 8"),
        (["--records", "0", "--out", "x"], "--records is 0; expected whole groups of 4 records, such as 4"),
        (["--records", "40"], "--records 40 without --out; expected a folder of its own"),
        (["--seed", "1"], "--seed 1 without --out; expected a folder of its own"),
        (["--seed", "-1", "--out", "x"], "--seed is -1; expected 0 or more"),
    ],
)
def test_what_cannot_be_made(arguments, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FGVEditError, match=re.escape(sentence)):
        main(arguments)
    assert not list(tmp_path.iterdir())


scenes = st.integers(0, 2**64 - 1).map(lambda seed: sample_scene(random.Random(seed)))
seeds = st.integers(0, 2**32 - 1)


@given(scenes)
def test_a_name_fits_its_entity_alone(scene):
    for entity in scene.entities:
        found = all_names(scene, entity)
        assert "place" in found
        for name in itertools.chain.from_iterable(found.values()):
            assert fits(scene, name) == [entity]


@given(scenes, seeds, st.sampled_from(list(ATTRIBUTES)), st.sampled_from(FORMS))
def test_a_question_and_its_answer(scene, seed, attribute, form):
    rng = random.Random(seed)
    index = rng.randrange(len(scene.entities))
    question = ask(rng, scene, index, attribute, form, NAMES[attribute], "test")
    if question is None:
        assert not set(NAMES[attribute]) & set(all_names(scene, scene.entities[index]))
        return
    asked = take_apart(question.text)
    truth = value(scene.entities[index], attribute)
    assert (asked.attribute, asked.form, asked.name) == (attribute, form, question.name)
    assert the_one(scene, asked.name) == scene.entities[index]
    assert question.answer(truth) == asked.answer(truth)
    assert truth not in re.findall(r"\w+", asked.name) or question.naming == "count"  # the name does not tell
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
    assert described["edits"] == "1100" and described["probes `out_of_scope`"] == "1100"
    card = (ROOT / "fgvedit" / "README.md").read_text(encoding="utf-8")
    for name, shown in described.items():
        assert re.search(rf"^\| {re.escape(name)} \|.* {re.escape(shown)} \|$", card, re.MULTILINE)


def test_the_card_changes_with_the_data():
    """Otherwise `datasets` gives whoever has read an older version that older version again."""
    assert f"  description: content {content_hash(DATA.glob('*.parquet'))}\n" in CARD.read_text()
