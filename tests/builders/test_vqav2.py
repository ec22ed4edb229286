"""`builders.vqav2`: what records are made of files in VQA v2.0's official form."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from official_vqa import (
    COLOURS,
    LABELLER,
    OTHERS,
    Folder,
    by_id,
    labels_of,
    photo,
    records_of,
    scenes,
    ten,
    write_official,
)
from PIL import Image

from builders.coco import Images
from builders.validate.__main__ import main as validate
from builders.vqav2.__main__ import main
from builders.vqav2.answers import IMAGES_AT_ONCE, is_wrong, wrong_answers
from builders.vqav2.draw import shuffled
from builders.vqav2.locality import divided, read_pairs
from builders.vqav2.official import VQAQuestion, question_key, read_questions
from builders.vqav2.plan import SPLITS, Plan
from fgvedit.backbones.answering import Query
from fgvedit.editors.training import draw_batch
from fgvedit.schema import NO_ANSWER
from fgvedit.util.errors import FGVEditError

OF_ANY_LABELLER = {"rephrase", "worded_in", "text_locality", "other_image", "no_image"}
BUILT = OF_ANY_LABELLER | {"in_scope", "out_of_scope"}
SCOPE = ("in_scope", "out_of_scope", "worded_in", "worded_out")
UNAFFECTED = (OTHERS[1][0], ten("yes"))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """What a build is given, and what it made in `out`."""
    folder = Folder(tmp_path_factory.mktemp("vqav2"), scenes(range(1, 41)))
    folder.build("out")
    return folder


def test_a_record_is_what_the_labeller_said(built: Folder) -> None:
    found = by_id(built.path / "out")
    assert found.keys() == {f"scripted-{n * 1000}" for n in range(1, 41)}
    for record in found.values():
        number = int(record.id.split("-")[1]) // 1000
        assert record.image.data == photo(number)
        assert (record.answer, record.target, record.entity) == (COLOURS[number % 4], "violet", "the card")
        said = {kind: [(p.question, p.answer) for p in record.probes_of(kind)] for kind in BUILT}
        assert said["rephrase"] == [(f"Tell me: {record.question}", "violet")]
        assert said["in_scope"] == [("Is an entailed thing so?", "violet")]
        assert said["worded_in"] == [("Is it violet (0)?", "yes")]  # which the labeller made
        assert said["out_of_scope"] == [OTHERS[1]]
        (other,) = record.probes_of("other_image")
        assert other.question == record.question
        assert other.image is not None
        seen = int(other.image.image_id.rsplit("_", 1)[1])
        assert other.image.data == photo(seen)
        assert other.answer == COLOURS[seen % 4]
        assert said["no_image"] == [(record.question, NO_ANSWER)] and record.probes_of("no_image")[0].image is None
        assert len(said["text_locality"]) == 1


def test_no_photo_and_no_text_question_is_in_both_splits(built: Folder) -> None:
    shown, asked = {}, {}
    for split, records in records_of(built.path / "out").items():
        images = [image for r in records for image in (r.image, *(p.image for p in r.probes))]
        shown[split] = {image.image_id for image in images if image}
        texts = [p.question for r in records for p in r.probes_of("text_locality")]
        asked[split] = set(texts)
        assert len(asked[split]) == len(texts) > 3  # there are enough: each is used once
    assert shown["train"].isdisjoint(shown["test"])
    assert asked["train"].isdisjoint(asked["test"])


def test_every_record_has_its_label(built: Folder) -> None:
    labels = labels_of(built.path / "out")
    assert [label["id"] for label in labels] == list(by_id(built.path / "out"))
    for label in labels:
        assert (label["labeller"], label["policy"]) == ("scripted", "counterfactual")
        kinds = {reason["question"]: reason["kind"] for reason in label["reasons"]["probes"]}
        assert kinds["Who knows?"] == "unclear"
        assert kinds["Is an unaffected thing so?"] == "out_of_scope"
        made = [reason for reason in label["reasons"]["probes"] if reason.get("made")]
        assert [(one["kind"], one["settled_by_text"]) for one in made] == [("worded_in", True)]


def old_answers_right(path: Path, answers: Sequence[str]) -> list[bool]:
    """Of a build where image n has the nth answer, whether the old answer is right in each `other_image` probe."""
    asked = {n: [("What color is the card?", ten(answer)), UNAFFECTED] for n, answer in enumerate(answers, 1)}
    right = []
    for record in by_id(Folder(path, asked).build("out")).values():
        for probe in record.probes_of("other_image"):
            assert probe.image is not None and probe.image.key != record.image.key
            seen = int(probe.image.image_id.rsplit("_", 1)[1])
            assert probe.answer == answers[seen - 1] != record.target == "violet"
            right.append(probe.answer == record.answer)
    return right


def test_in_half_of_other_images_the_old_answer_is_right_and_in_none_the_new_one(tmp_path: Path) -> None:
    right = old_answers_right(tmp_path, ("red", "red", "green", "violet") * 30)
    assert len(right) == 90 and 35 <= sum(right) <= 55


@pytest.mark.parametrize("same", [True, False])
def test_an_other_image_is_of_the_only_sort_that_there_is(tmp_path: Path, same: bool) -> None:
    right = old_answers_right(tmp_path, ["red" if same else f"shade {n}" for n in range(16)])
    assert right == [same] * 16


def test_other_images_are_those_with_the_same_question_and_of_either_answer(built: Folder) -> None:
    plan = Plan(read_questions([built.questions], [built.annotations]), 7, 0)
    for split, work in ((name, work) for name in SPLITS for work in plan.work(name)):
        others = {asked.id: others for asked, others in zip(work.candidates, work.others, strict=True)}
        for number in (key // 1000 for key in others if key % 1000 == 0):
            found = {int(other.file_name.split("_")[2][:-4]): other.answer for other in others[number * 1000]}
            assert all(answer == COLOURS[image % 4] for image, answer in found.items())
            asked = {image: image % 4 == number % 4 for image in plan.images(split) if image != number}
            assert found.keys() <= asked.keys()
            assert {asked[image] for image in found} == set(asked.values())


CARD = ("What color is the card?", ten("red"))
HARD = (("unaffected and hard?", ten("yes")), ("entailed and hard?", ten("no")))
EASY = (("unaffected and easy?", ten("no")), ("entailed and easy?", ten("no")))


def test_what_text_settles_is_worded_or_dropped(tmp_path: Path) -> None:
    """Hard and easy questions about the first photo, hard ones about the second, easy ones about the third."""
    folder = Folder(tmp_path, {1: [CARD, *HARD, *EASY], 2: [CARD, *HARD], 3: [CARD, *EASY], **scenes(range(4, 16))})
    hard = [("in_scope", HARD[1][0]), ("out_of_scope", HARD[0][0])]
    easy = [("worded_in", EASY[1][0]), ("worded_out", EASY[0][0])]
    made = ("worded_in", "Is it violet (0)?")  # two are wanted in scope, hard or worded; with --easy drop, none
    expected = {
        "keep": {1: [*hard, *easy], 2: [*hard, made], 3: [easy[0], made, easy[1]]},
        "drop": {1: hard, 2: hard},  # of the third, nothing is left
    }
    for option, of_photos in expected.items():
        out = folder.build(option, "--easy", option)
        asked = {name: [(p.kind, p.question) for p in record.probes] for name, record in by_id(out).items()}
        for number in (1, 2, 3):
            found = [pair for pair in asked.get(f"scripted-{number}000", []) if pair[0] in SCOPE]
            assert found == of_photos.get(number, [])
        labels = {label["id"]: label["reasons"]["probes"] for label in labels_of(out)}["scripted-1000"]
        said = {one["question"]: (one["kind"], one["settled_by_text"], "left_out" in one) for one in labels}
        assert said == {
            **{question: (kind, False, False) for kind, question in hard},
            **{question: (kind, True, option == "drop") for kind, question in easy},
        }


def test_a_record_without_hard_probes_is_one_with_worded_ones(tmp_path: Path) -> None:
    """It is valid, and editors can be trained on it: see `fgvedit.editors.training`."""
    folder = Folder(tmp_path, {n: [CARD, *EASY] for n in range(1, 13)})
    out = folder.build("out", "--in-scope", "0")
    kinds = [{probe.kind for probe in record.probes} for record in by_id(out).values()]
    assert len(kinds) == 12 and set().union(*kinds).isdisjoint({"in_scope", "out_of_scope"})
    assert errors_of(out) == set()
    records = records_of(out)["train"]
    drawn = {kind: probe.kind for kind, probe in draw_batch(records, 1, seed=0, step=0)[0].probes.items()}
    assert (drawn["in_scope"], drawn["out_of_scope"]) == ("worded_in", "worded_out")
    with pytest.raises(FGVEditError, match=r"no record could be made .* 24 left out: probe: text alone settles it"):
        folder.build("none", "--easy", "drop")


def test_no_question_is_made_where_none_is_wanted(tmp_path: Path) -> None:
    """A record that has none of its own in scope is left out then."""
    folder = Folder(tmp_path, {1: [CARD, HARD[0]], **scenes(range(2, 14))})
    folder.labeller.write_text(LABELLER.replace("return so([(f", "raise SystemExit('asked') or so([(f"))
    out = folder.build("out", "--in-scope", "0")
    found = by_id(out)
    assert len(found) == 12 and "scripted-1000" not in found
    counts = json.loads((out / "build.json").read_text())["counts"]
    assert sum(counts[split].get("left out: no question in scope", 0) for split in SPLITS) == 1


def test_its_card_says_what_it_is_made_of(built: Folder) -> None:
    text = (built.path / "out" / "README.md").read_text()
    assert "license: [cc-by-4.0, cc-by-sa-3.0]" in text
    for said in ("VQA v2.0", "CC BY 4.0", "COCO's terms of use", "Natural Questions", "CC BY-SA 3.0"):
        assert said in text


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    asked = {
        1: [("What season is it?", ten("red")), UNAFFECTED],
        2: [("What color to refuse?", ten("red")), UNAFFECTED],
        3: [("What color?", ten("red", 6)), UNAFFECTED],
        4: [("What color?", ten("unknown")), UNAFFECTED],
        5: [("What color?", ["red"] * 9 + ["violet"]), UNAFFECTED],
        6: [("What color?", ten("red")), ("Who knows?", ten("violet"))],
        7: [("What color?", ten("red")), UNAFFECTED],
        **scenes(range(8, 20)),
    }
    about_nothing = [question for about in asked.values() for question, _ in about if "color" not in question]
    counts = json.loads((Folder(tmp_path, asked).build("out") / "build.json").read_text())["counts"]
    assert counts["all"] == {"questions": 14 + 12 * 4, "unanswerable": 1, "not agreed on": 1}
    found = Counter(counts["train"]) + Counter(counts["test"])
    assert found["left out: the labeller gave no answer"] == 1
    assert found["left out: about no one entity"] == len(about_nothing)
    assert found["left out: an annotator gave the counterfactual answer"] == 1
    assert found["left out: the counterfactual answer is named in another question about the image"] == 1
    assert found["records"] >= 13


def test_a_text_question_in_other_letters_is_the_same(small: Folder) -> None:
    asked = ["Who sang  X", "who sang X?", "Who sang Y?"]
    small.locality.write_text("".join(json.dumps({"question": q, "answer": "Z"}) + "\n" for q in asked))
    assert read_pairs(small.locality) == [("Who sang X", "Z"), ("Who sang Y?", "Z")]


def errors_of(out: Path) -> set[str]:
    """Checks of the validator that found errors, but for those of images: the photos are of one colour each."""
    report = out.parent / "report.json"
    validate([str(out), "--report", str(report)])
    checks = json.loads(report.read_text())["checks"]
    found = {check["check"] for check in checks if check["severity"] == "error" and check["count"]}
    return found - {"look_in_splits", "edit_in_splits"}


def test_untidy_input_makes_valid_records(tmp_path: Path) -> None:
    """Official files hold spaces, line breaks, a question asked twice and texts that say nothing, now and then."""
    unaffected = [(" Is an  unaffected\nthing so?", ten("yes")), ("Is the unaffected thing so?", ten("no"))]
    asked = {
        1: [("What color is the card? ", ten(" red\tish")), ("What color is a card?", ten("red ish")), *unaffected],
        2: [("What color is it?", ten("?")), *unaffected],
        **scenes(range(3, 16)),
    }
    folder = Folder(tmp_path, asked)
    pairs = [{"question": f"nq question\n{n} ", "answer": f"answer\t{n}"} for n in range(400)]
    pairs += [{"question": "nothing", "answer": "---"}, {"question": "?!", "answer": "nothing"}]
    folder.locality.write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    out = folder.build("out")
    found = by_id(out)
    (first,) = (found[name] for name in ("scripted-1000", "scripted-1001") if name in found)
    assert first.answer == "red ish"
    assert [(p.question, p.answer) for p in first.probes_of("out_of_scope")] == [OTHERS[1]]
    counts = json.loads((out / "build.json").read_text())["counts"]
    assert sum(counts[split].get("left out: asked twice about its image", 0) for split in SPLITS) == 1
    assert counts["all"]["unanswerable"] == 1
    assert not any("nothing" in p.question + p.answer for record in found.values() for p in record.probes)
    assert errors_of(out) == set()


def test_a_record_does_not_depend_on_other_images(small: Folder, built: Folder) -> None:
    """Without every third image, the others' records, but for probes drawn from other images, are the same."""

    def own(folder: Path) -> dict[str, Any]:
        return {
            r.id: (split, r.target, [(p.kind, p.question, p.answer) for kind in of_itself for p in r.probes_of(kind)])
            for split, records in records_of(folder).items()
            for r in records
        }

    of_itself = ("rephrase", "in_scope", "out_of_scope")
    whole = own(built.path / "out")
    write_official(small.path, scenes(n for n in range(1, 41) if n % 3))
    part = own(small.build("part"))
    assert len(part) == sum(n % 3 > 0 for n in range(1, 41))
    assert part == {name: whole[name] for name in part}


def test_a_limit_keeps_three_to_one(small: Folder, built: Folder) -> None:
    found = records_of(small.build("out", "--limit", "12"))
    assert {split: len(rows) for split, rows in found.items()} == {"train": 9, "test": 3}
    whole = records_of(built.path / "out")
    assert [r.id for r in found["train"]] == [r.id for r in whole["train"][:9]]


def test_a_bound_for_each_image(tmp_path: Path) -> None:
    cards = [(f"What color is card {n}?", ten("red")) for n in range(3)]
    folder = Folder(tmp_path, {n: [*cards, UNAFFECTED] for n in range(1, 13)})
    for bound, expected in ((0, 3), (1, 1), (2, 2)):
        found = records_of(folder.build(f"out{bound}", "--per-image", str(bound)))
        assert set(Counter(r.image.image_id for rows in found.values() for r in rows).values()) == {expected}


def test_annotators_agree_as_vqa_compares_answers(tmp_path: Path) -> None:
    answers = ["Two", "two", "two.", "a 2", "3", "3", "3", "no", "no", "red"]
    paths = write_official(tmp_path, {7: [("How many?", answers)]})
    asked = read_questions([paths[0]], [paths[1]])[0]
    assert (asked.answer, asked.agreed, set(asked.said)) == ("two", 4, {"2", "3", "no", "red"})


def test_drawing_depends_on_the_item_alone() -> None:
    pairs = [(f"q{n}", "a") for n in range(100)]
    order = shuffled(3, "x", pairs)
    assert shuffled(3, "x", pairs[::-1]) == order != pairs
    assert order != shuffled(4, "x", pairs) != shuffled(4, "y", pairs)
    assert shuffled(3, "x", pairs[:50]) == [pair for pair in order if pair in pairs[:50]]
    parts = divided(pairs, 0)
    assert sorted(parts["train"] + parts["test"]) == sorted(pairs)
    assert len(parts["test"]) == 25
    assert question_key("What IS  the man's hat?!") == question_key("what is the man's hat")


def test_real_photos_give_records_whose_probes_words_settle(real_data: Path, tmp_path: Path) -> None:
    data = real_data / "coco_vqa"
    given: dict[str, list[Any]] = {
        "--questions": sorted(data.glob("v2_OpenEnded_*.json")),
        "--annotations": sorted(data.glob("v2_mscoco_*.json")),
        "--images": [data / "images", data / "images_224"],
        "--locality": [real_data / "nq_loc.jsonl"],
        "--seed": [2],  # with another, no two photos of a split may share a question
    }
    arguments = [text for name, values in given.items() for text in (name, *map(str, values))]
    main([*arguments, "--out", str(tmp_path / "all")])
    found = by_id(tmp_path / "all").values()
    assert len(found) >= 60
    assert {probe.kind for record in found for probe in record.probes} == OF_ANY_LABELLER | {"worded_out"}
    texts = [p.question for record in found for p in record.probes_of("text_locality")]
    assert len(set(texts)) == len(texts)


# The policy model-wrong


class Parrot:
    """Answers "red" to everything, and notes how it is asked."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    def generate(self, queries: Sequence[Query], max_new_tokens: int = 10) -> list[str]:
        self.batches.append([query.image.image_id for query in queries if query.image])
        return ["Red."] * len(queries)

    def teacher_force(self, queries: Sequence[Query], answers: Sequence[str]) -> list[Any]:
        raise NotImplementedError


def test_a_model_is_asked_once_and_in_the_same_batches(small: Folder) -> None:
    plan = Plan(read_questions([small.questions], [small.annotations]), 7, 0)
    images, kept = Images([small.path]), small.path / "kept" / "answers.jsonl"
    unbroken, first, second = Parrot(), Parrot(), Parrot()

    def answers(model: Parrot, kept: Path, images_at_most: int = 100) -> Iterator[tuple[str, dict[int, str]]]:
        for number, (work, wrong) in enumerate(wrong_answers(plan.work("train"), model, images, kept)):
            if number == images_at_most:
                return
            yield work.file_name, wrong

    expected = list(answers(unbroken, small.path / "other.jsonl"))
    assert list(answers(first, kept, IMAGES_AT_ONCE + 1)) == expected[: IMAGES_AT_ONCE + 1]
    kept.write_bytes(kept.read_bytes() + b'{"questions": [1, 2')  # a line that a kill cut off
    assert list(answers(second, kept)) == expected
    assert first.batches + second.batches == unbroken.batches
    for file_name, wrong in expected:
        number = int(file_name.split("_")[2].split(".")[0])
        right = {number * 1000} if number % 4 == 0 else set()
        assert {key for key in wrong if key % 1000 == 0} == {number * 1000} - right
        assert set(wrong.values()) <= {"Red."}


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [("dog", True), ("cat", False), ("The cat is black.", False), ("Cat, black.", False), ("-", False), ("", False)],
)
def test_an_answer_in_other_words_is_not_wrong(answer: str, wrong: bool) -> None:
    asked = VQAQuestion(1, "1.jpg", "What is it?", "black cat", 9, ("black cat", "kitten"))
    assert is_wrong(answer, asked) == wrong


def test_what_a_model_said_of_other_images_is_not_taken(small: Folder) -> None:
    plan = Plan(read_questions([small.questions], [small.annotations]), 7, 0)
    kept, first, second = small.path / "kept.jsonl", Parrot(), Parrot()
    list(wrong_answers(plan.work("train"), first, Images([small.path]), kept))
    other = small.path / "other"
    other.mkdir()
    for path in small.path.rglob("COCO_*.jpg"):
        Image.open(path).resize((8, 8)).save(other / path.name)
    list(wrong_answers(plan.work("train"), second, Images([other]), kept))
    assert second.batches == first.batches


def test_the_policy_model_wrong_corrects_a_backbone(small: Folder, random_blip2: Path) -> None:
    from fgvedit.backbones import open_backbone

    out = small.build("out", "--policy", "model-wrong", "--backbone", str(random_blip2), "--device", "cpu")
    found = list(by_id(out).values())
    assert found
    backbone = open_backbone(str(random_blip2))
    for record in found[:3]:
        assert record.target == COLOURS[int(record.id.split("-")[1]) // 1000 % 4]
        assert [record.answer] == backbone.generate([Query(record.question, record.image)])
    assert {label["policy"] for label in labels_of(out)} == {"model-wrong"}
