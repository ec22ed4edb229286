"""The audit: data whose shortcuts were built in, and figures that follow from how they were built."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from math import log2
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from audits import easy, image_of, make_case, quad, quads, swapped_words, write_split
from hypothesis import given, settings
from hypothesis import strategies as st
from rows import image_ref, make_probe, make_row
from sklearn.metrics import balanced_accuracy_score

import builders.audit
from builders.audit import hygiene, verdicts
from builders.audit.base import agrees
from builders.audit.cases import Case, Contest, contests, read
from builders.audit.exact import VIEWS, best_rule, known_elsewhere
from builders.audit.figures import balanced
from builders.audit.learned import MOST, drawn, learned
from builders.audit.pictures import look
from builders.audit.report import audit
from builders.audit.table import WIDTH, table, verdict_text
from builders.validate.sources import open_source

SCHEMA = json.loads((Path(builders.audit.__file__).parent / "report.schema.json").read_text())
SURE = {"value": 100.0, "low": 100.0, "high": 100.0}
CHANCE = {"value": 50.0, "low": 50.0, "high": 50.0}


def audited(folder: Path, split: str = "test", **options: Any) -> dict[str, Any]:
    """The part of a report that is about one split; the report has its schema, and its table fits a terminal."""
    found = audit(open_source(str(folder)), [split], **options)
    jsonschema.validate(found, SCHEMA)
    assert max(map(len, table(found).splitlines())) <= WIDTH
    return found["splits"][split]


def figure(found: dict[str, Any]) -> dict[str, float]:
    return {name: found[name] for name in ("value", "low", "high")}


@pytest.fixture(scope="module")
def balanced_data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A model says one thing of probes in scope, another of those out of it, and never what it says of the edit."""

    def ask(records: Any) -> list[list[str]]:
        says = {"edit": "red", "in_scope": "green", "out_of_scope": "blue"}
        return [[says[probe.kind] for probe in record.asked] for record in records]

    data = write_split(tmp_path_factory.mktemp("quads") / "data", quads())
    return audited(data, ask=ask, backbone={"name": "one", "revision": "1"})


@pytest.fixture(scope="module")
def easy_data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return audited(write_split(tmp_path_factory.mktemp("easy") / "data", [easy(number) for number in range(12)]))


# -- data that were built so -------------------------------------------------------------------------------------------


def test_balanced_pairs_give_every_single_view_exactly_half(balanced_data):
    contest = balanced_data["contests"]["in_scope : out_of_scope"]
    assert contest["probes"] == [40, 40] and contest["groups"] == 10
    for view in ("text", "image + edit", "image + probe"):
        exact = contest["exact"][view]
        assert (exact["coverage"], exact["best"], exact["entropy"], exact["most"]) == (100, CHANCE, 1, 50), view
    assert contest["exact"]["all three"]["coverage"] == 0
    assert figure(contest["learned"]["words"]) == figure(contest["learned"]["images"]) == CHANCE
    assert figure(contest["position"]["best"]) == figure(contest["length"]["best"]) == CHANCE
    assert contest["verdict"] == "needs eyes"
    verdict = {name: metric["verdict"] for name, metric in balanced_data["metrics"].items()}
    assert verdict["in_scope"] == verdict["retention"] == verdict["specificity"] == "needs eyes"


def test_all_three_together_settle_balanced_pairs():
    cases = [
        make_case((one + two + three) % 2 == 0, image=f"{one}", shown=f"{one}", question=f"{two}", asked=f"{three}")
        for one, two, three in itertools.product((0, 1), repeat=3)
    ]
    exact = best_rule(cases * 2, VIEWS["all three"])
    assert exact["best"] == SURE and exact["entropy"] == 0 and exact["coverage"] == 100


def test_words_that_settle_are_found(easy_data):
    contest = easy_data["contests"]["worded_in : worded_out"]
    assert figure(contest["learned"]["words"]) == SURE and figure(contest["learned"]["images"]) == CHANCE
    assert easy_data["metrics"]["worded_in"]["verdict"] == "settled by text"


def test_images_that_settle_are_found_where_words_say_nothing(easy_data):
    contest = easy_data["contests"]["other_view : other_image"]
    assert contest["exact"]["text"]["best"] == figure(contest["learned"]["words"]) == CHANCE
    assert figure(contest["learned"]["images"]) == SURE
    images, *others = [way for way in contest["other_ways"] if way["way"] == "simple features of images"]
    assert (contest["verdict"], images["settles"], others) == ("needs eyes", True, [])


def test_a_memory_that_is_always_wrong_counts_turned_round():
    looks = {"i": look(image_ref())}
    found = learned(list(swapped_words()), looks)["words"]
    assert found["inverted"] and found["learner"] == "regression" and found["value"] > 85


def test_whether_there_is_an_image_is_known_with_eyes_shut():
    cases = [make_case(number % 2 == 0, shown="" if number % 2 else "i") for number in range(8)]
    assert best_rule(cases, VIEWS["text"])["best"] == SURE


def test_data_without_groups_go_by_image(tmp_path):
    """Two records of each of ten images, whose answers do not hang on the record."""
    folder = tmp_path / "data"
    rows = [easy(number // 2) | {"id": f"record-{number}"} for number in range(20)]
    write_split(folder, rows)
    grouped = read(open_source(str(folder)), "test")
    without = [{name: value for name, value in row.items() if name != "group"} for row in rows]
    import datasets

    from fgvedit.schema import features

    columns = datasets.Features({name: kind for name, kind in features().items() if name != "group"})
    (tmp_path / "old").mkdir()
    datasets.Dataset.from_list(without, features=columns).to_parquet(tmp_path / "old/test.parquet")
    assert read(open_source(str(tmp_path / "old")), "test").cases == grouped.cases and grouped.groups == 10


def test_what_stands_against_nothing_is_not_contested(tmp_path):
    rows = [make_row(number, probes=[make_probe("rephrase", image_id=f"image-{number}")]) for number in range(3)]
    split = audited(write_split(tmp_path / "data", rows))
    assert split["contests"] == {}
    assert {one["verdict"] for one in [*split["kinds"].values(), *split["metrics"].values()]} == {"not contested"}


def test_few_probes_tell_nothing(tmp_path):
    split = audited(write_split(tmp_path / "data", quads(2)))
    assert split["contests"]["in_scope : out_of_scope"]["learned"] is None
    assert split["metrics"]["specificity"]["verdict"] == "too little data to tell"


def test_the_order_of_records_changes_nothing(tmp_path):
    rows = [row for number in range(3) for row in quad(number)]
    one = audited(write_split(tmp_path / "one", rows))
    assert audited(write_split(tmp_path / "other", rows[::-1])) == one


# -- what is counted ---------------------------------------------------------------------------------------------------

LABELLED = st.lists(st.tuples(st.booleans(), st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=40)


def cases_of(drawn_: list[tuple[bool, int, int]]) -> list[Case]:
    return [make_case(inside, f"group-{group}", asked=str(value)) for inside, value, group in drawn_]


@settings(deadline=None, max_examples=50)
@given(LABELLED)
def test_the_best_rule_is_the_best_of_all_rules(some):
    """Every rule over the values that repeat is tried, and entropy is added up case by case."""
    exact = best_rule(cases_of(some), lambda case: case.asked)
    again = Counter(value for _, value, _ in some)
    kept = [(inside, value) for inside, value, _ in some if again[value] > 1]
    assert exact["coverage"] == round(100 * len(kept) / len(some), 2)
    labels = [inside for inside, _ in kept]
    if len(set(labels)) < 2:
        assert exact["best"] is exact["chance"] is exact["entropy"] is None
        return
    rules = ({value: said >> value & 1 for value in range(5)} for said in range(32))
    reached = [balanced_accuracy_score(labels, [bool(rule[value]) for _, value in kept]) for rule in rules]
    assert exact["best"]["value"] == pytest.approx(100 * max(reached), abs=0.006)
    assert 50 <= exact["best"]["value"] <= 100 and 50 <= exact["chance"] <= 100
    weight = {label: 0.5 / labels.count(label) for label in (True, False)}
    bits = 0.0
    for inside, value in kept:
        mass = {label: weight[label] * kept.count((label, value)) for label in (True, False)}
        bits -= weight[inside] * log2(mass[inside] / sum(mass.values()))
    assert exact["entropy"] == pytest.approx(bits, abs=1e-4)


@settings(deadline=None, max_examples=25)
@given(LABELLED)
def test_no_rule_surpasses_the_ceiling_and_one_reaches_it(some):
    """Every rule over all values, those that come up once among them."""
    labels = [inside for inside, _, _ in some]
    most = best_rule(cases_of(some), lambda case: case.asked)["most"]
    if len(set(labels)) < 2:
        assert most is None
        return
    rules = ([bool(said >> value & 1) for _, value, _ in some] for said in range(32))
    assert most == pytest.approx(100 * max(balanced_accuracy_score(labels, rule) for rule in rules), abs=0.006)


def test_the_ceiling_where_values_that_repeat_are_of_one_label_more_than_of_the_other():
    """50 texts come up 20 times in scope and once out of it, 50 once, out of scope: "out of scope if it comes up once"
    is right on 75 %, though the texts that repeat tell nothing by halves."""
    both = [make_case(number > 0, asked=f"both {text}") for text in range(50) for number in range(21)]
    once = [make_case(False, asked=f"once {text}") for text in range(50)]
    found = best_rule(both + once, VIEWS["text"])
    assert (found["best"], found["most"]) == (CHANCE, 75)


@settings(deadline=None, max_examples=50)
@given(LABELLED)
def test_what_is_known_elsewhere_is_what_other_groups_say(some):
    """Each case by itself against the cases of other groups; a guess where there are none."""
    found = known_elsewhere(cases_of(some), lambda case: case.asked)
    sizes = Counter(inside for inside, _, _ in some)
    told, right = 0, []
    for inside, value, group in some:
        others = [label for label, seen, where in some if seen == value and where != group]
        told += bool(others)
        said = sum((1 if label else -1) / sizes[label] for label in others) > 1e-9
        right.append(float(said == inside) if others else 0.5)
    assert found["coverage"] == round(100 * told / len(some), 2)
    if not told or len(sizes) < 2:
        assert found["figure"] is None
        return
    halves = [[mark for mark, (inside, *_) in zip(right, some, strict=True) if inside == label] for label in sizes]
    value = sum(50 * sum(half) / len(half) for half in halves)
    assert found["figure"]["value"] == pytest.approx(max(value, 100 - value), abs=0.006)
    assert found["inverted"] == (value < 49.99)


def test_what_is_known_of_half_of_the_probes_settles_half():
    """Two groups share texts that settle it; the texts of two others come up there alone."""
    cases = [
        make_case(number % 2 == 0, f"group-{group}", asked=f"{number} {group if group > 1 else ''}")
        for group in range(4)
        for number in range(10)
    ]
    found = known_elsewhere(cases, VIEWS["text"])
    assert (found["coverage"], found["figure"]["value"]) == (50, 75)


def test_a_probe_that_is_there_twice_in_its_own_group_alone_is_not_known():
    cases = [make_case(group % 2 == 0, f"group-{group}", asked=str(group)) for group in range(8) for _ in range(2)]
    assert best_rule(cases, VIEWS["text"])["best"] == SURE
    assert known_elsewhere(cases, VIEWS["text"]) == {"coverage": 0, "figure": None, "inverted": False}


@settings(deadline=None, max_examples=50)
@given(LABELLED, st.randoms(use_true_random=False))
def test_the_order_of_cases_changes_no_count(some, random):
    view = lambda case: case.asked  # noqa: E731
    first = best_rule(cases_of(some), view)
    random.shuffle(some)
    second = best_rule(cases_of(some), view)
    assert {name: first[name] for name in first if name != "chance"} == {
        name: second[name] for name in second if name != "chance"
    }


def test_an_interval_is_over_groups_not_probes():
    """Ten groups of ten probes, of which each is right as a whole or wrong as a whole: as wide as of ten probes."""
    few = [make_case(group % 2 == 0, f"group-{group}") for group in range(10)]
    many = [make_case(group % 2 == 0, f"group-{group}") for group in range(10) for _ in range(10)]
    right = [group in (0, 2, 4, 1) for group in range(10)]
    narrow = balanced(few, right)
    assert balanced(many, [mark for mark in right for _ in range(10)]) == narrow
    assert narrow["value"] == 40 and narrow["low"] < 20 and narrow["high"] > 60


def test_a_contest_of_many_is_learned_from_whole_groups():
    cases = [make_case(index % 2 == 0, f"group-{index // 8}") for index in range(MOST + 800)]
    some = drawn(cases)
    assert MOST <= len(some) < MOST + 8 and set(Counter(case.group for case in some).values()) == {8}
    assert drawn(cases[:80]) == cases[:80] and drawn(cases, seed=1) != some == drawn(cases)


# -- what is told from what --------------------------------------------------------------------------------------------


def test_a_kind_is_told_from_the_one_that_it_stands_against():
    hard = Contest(("in_scope",), ("out_of_scope",))
    found = contests(["edit", "in_scope", "out_of_scope", "text_locality", "no_image"])
    assert found["in_scope"] == found["out_of_scope"] == hard
    assert found["no_image"] == Contest(("edit",), ("no_image",))
    rest = Contest(("edit",), ("out_of_scope", "text_locality", "no_image"))
    assert found["edit"] == rest and rest.name == "edit : all that stay"  # `worded_out` is not there
    assert found["text_locality"] == Contest(("edit", "in_scope"), ("text_locality",))  # nor is `rephrase`
    assert contests(["edit", "rephrase"]) == {"edit": None, "rephrase": None}


# -- base answers ------------------------------------------------------------------------------------------------------


def test_what_base_answers_give_away(tmp_path):
    """A model that says "red" of every edit, of every second probe in scope, and "green" of the others."""

    def ask(records: Any) -> list[list[str]]:
        return [["red", *(said[probe.kind, record.id[-1] in "02468"] for probe in record.probes)] for record in records]

    said = {("in_scope", True): "Red.", ("in_scope", False): "green", ("out_of_scope", True): "green"}
    said[("out_of_scope", False)] = "green"
    probes = [("in_scope", "yes"), ("out_of_scope", "green")]
    rows = [
        make_row(number, probes=[make_probe(kind, answer, image_id=f"image-{number}") for kind, answer in probes])
        for number in range(10)
    ]
    split = audited(write_split(tmp_path / "data", rows), ask=ask, backbone={"name": "one", "revision": "1"})
    assert split["contests"]["in_scope : out_of_scope"]["agreement"]["value"] == 75
    base = {kind: one["base"] for kind, one in split["kinds"].items()}
    assert (base["in_scope"]["agrees"]["value"], base["in_scope"]["rule"]["value"]) == (50, 50)
    assert (base["out_of_scope"]["agrees"]["value"], base["out_of_scope"]["rule"]["value"]) == (0, 100)
    assert base["edit"]["as_unedited"] == base["out_of_scope"]["as_unedited"] == SURE
    assert base["in_scope"]["as_unedited"] is None  # no data say what it is
    scores = {name: metric["unedited"]["value"] for name, metric in split["metrics"].items()}
    assert scores == {"reliability": 0, "specificity": 50, "in_scope": 0, "retention": 100}


def test_base_answers_that_never_agree_are_learned_from_with_words(balanced_data):
    found = balanced_data["contests"]["in_scope : out_of_scope"]
    assert found["agreement"] == figure(found["learned"]["words"]) == CHANCE
    assert figure(found["learned"]["words + base answers"]) == SURE
    assert (found["verdict"], found["other_ways"]) == (
        "needs eyes",
        [{"way": "base answers with words", **SURE, "settles": True}],
    )


def test_answers_agree_as_they_are_compared():
    assert agrees(make_case(said=("The red.", "red"))) and not agrees(make_case(said=("red", "blue")))


# -- priors and hygiene ------------------------------------------------------------------------------------------------


def test_place_and_length_that_tell():
    cases = [make_case(number % 2 == 0, place=number % 2, asked="a " * (1 + number % 2)) for number in range(8)]
    assert hygiene.position(cases)["best"] == hygiene.length(cases)["best"] == SURE
    assert hygiene.position([make_case(kind="edit"), *cases]) is None


def test_answers_by_form():
    asked = [
        ("What is it?", "red"), ("What is that?", "Red."), ("What was it?", "blue"),
        ("Is it red?", "yes"), ("Is it blue?", "no"), ("Is it pink?", "yes"), ("Is it grey?", "yes"),
        ("Is it red or blue?", "red"), ("Is it a red or a blue one?", "blue"), ("Red or pink?", "red"), ("Or?", "x"),
    ]  # fmt: skip
    found = {one["form"]: one for one in hygiene.answers([make_case(asked=a, answer=b) for a, b in asked])}
    assert {name: one["probes"] for name, one in found.items()} == {"open": 3, "yes/no": 4, "choice": 4}
    assert (found["open"]["frequent"], found["open"]["share"], found["open"]["different"]) == ("red", 66.67, 2)
    assert found["open"]["entropy"] == round(log2(3) - 2 / 3, 2)
    assert found["yes/no"]["yes"] == 75 and found["open"]["yes"] is None
    assert found["choice"]["first"] == 66.67 and found["yes/no"]["first"] is None


def test_yes_and_no_that_the_words_of_a_question_tell():
    """Whether it is red: yes; blue: no. In other groups the card is another one."""
    asked = [(group, colour) for group in range(20) for colour in ("red", "blue")]
    cases = [
        make_case(True, f"group-{group}", asked=f"Is card {group} {colour}?", answer="yes" if colour == "red" else "no")
        for group, colour in asked
    ]
    (found,) = hygiene.answers(cases)
    assert (found["yes"], found["by_words"]) == (50, {**SURE, "inverted": False})
    same = [make_case(case.inside, case.group, asked="Is it?", answer=case.answer) for case in cases]
    (found,) = hygiene.answers(same)
    assert found["by_words"]["value"] == 50
    (found,) = hygiene.answers(cases[:10])
    assert found["by_words"] is None


def test_truths_that_are_the_target():
    cases = [make_case(False, f"group-{n}", answer=a) for n, a in enumerate(["T", "t.", "x", "y"])]
    assert hygiene.truth_is_target([make_case(True, answer="t"), *cases])["value"] == 50
    assert hygiene.truth_is_target([make_case(True, answer="t")]) is None


def test_probes_that_are_there_twice():
    asked = ["one?", "One", "two?", "two?", "three?", "three?"]
    assert hygiene.repeated([make_case(asked=a) for a in asked]) == {"different": 3, "effective": 3.0}
    uneven = hygiene.repeated([make_case(asked=a) for a in ["one?"] * 9 + ["two?"]])
    assert uneven == {"different": 2, "effective": round(100 / 82, 1)}
    assert hygiene.repeated([make_case(shown=a) for a in "ab"])["different"] == 2


def test_what_two_splits_share(tmp_path):
    probe = make_probe("rephrase", image_id="x", question="Which one?")
    one = make_row(1, image_id="x", image=image_of(1), probes=[probe])
    same_text = make_row(2, image_id="x", image=image_of(2), question="what colour is the card", probes=[probe])
    other = make_row(
        3, image_id="y", image=image_of(3), question="Other?", probes=[make_probe("rephrase", image_id="y")]
    )
    write_split(tmp_path / "data", [one], "train")
    write_split(tmp_path / "data", [same_text, other], "test")
    found = audit(open_source(str(tmp_path / "data")), ["train", "test"])
    shared = {item["what"]: (item["both"], item["different"]) for item in found["shared"]}
    assert shared["images"] == (0, [1, 2]) and shared["edit questions"] == (1, [1, 2])
    assert shared["edits, question and target"] == (1, [1, 2]) and shared["probe questions"] == (1, [1, 2])


# -- verdicts ----------------------------------------------------------------------------------------------------------


def contest(
    value: float, low: float, high: float, most: float | None = None, known: Any = None, **others: Any
) -> dict[str, Any]:
    """A contest of a report: what words reach, what no rule on text can surpass, and what is known elsewhere; by view,
    what else was learned; `agreement`."""
    learned_ = {"words": {"value": value, "low": low, "high": high}, "images": CHANCE, **others}
    elsewhere = {view: {"figure": known if view == "text" else None} for view in VIEWS}
    return {
        "exact": {"text": {"most": most}},
        "elsewhere": elsewhere,
        "learned": learned_,
        "agreement": learned_.pop("agreement", None),
    }


@pytest.mark.parametrize(
    ("figures", "text", "verdict"),
    [
        ((100, 100, 100), {}, "settled by text"),
        ((96, 91, 99), {}, "settled by text"),
        ((96, 89, 99), {}, "partly"),
        ((94, 92, 96), {}, "partly"),
        ((50, 50, 50), {}, "needs eyes"),
        ((53, 51, 55), {}, "needs eyes"),
        ((56, 53, 59), {}, "partly"),
        ((56, 48, 64), {}, "too little data to tell"),
        ((60, 51, 69), {}, "too little data to tell"),
        ((56, 48, 64), {"most": 50.0}, "needs eyes"),  # no rule can do better than this
        ((60, 53, 69), {"most": 52.0}, "partly"),  # not of the groups that were learned from: no ceiling overrules it
        ((56, 48, 64), {"most": 56.0}, "too little data to tell"),
        ((50, 48, 52), {"known": SURE}, "settled by text"),
        ((50, 48, 52), {"known": {"value": 70.0, "low": 66.0, "high": 74.0}}, "partly"),
    ],
)
def test_a_verdict_follows_from_figures_and_their_intervals(figures, text, verdict):
    assert verdicts.of_contest(contest(*figures, **text)) == verdict


def test_other_ways_are_named_from_two_thirds_on_with_their_figures():
    some, settling = {"value": 84.8, "low": 81.0, "high": 88.0}, {"value": 97.0, "low": 95.0, "high": 99.0}
    found = verdicts.other_ways(contest(50, 50, 50, images=some, both=some, agreement=settling))
    assert found == [
        {"way": "simple features of images", **some, "settles": False},
        {"way": "base answers", **settling, "settles": True},
    ]
    text = "needs eyes; base answers settle it; simple features of images: 84.8"
    assert verdict_text("needs eyes", found) == text
    assert verdicts.other_ways(contest(50, 50, 50, images={"value": 64.9, "low": 60.0, "high": 70.0})) == []
    assert verdicts.other_ways(contest(50, 50, 50, images={"value": 70.0, "low": 51.0, "high": 89.0})) == []
    assert verdicts.other_ways(contest(50, 50, 50, agreement=settling) | {"learned": None}) == []  # too few


def test_what_has_words_too_is_another_way_only_where_it_adds_something():
    said = {"words + base answers": {"value": 97.0, "low": 95.0, "high": 99.0}}
    agreement = {"value": 70.0, "low": 67.0, "high": 73.0}
    ways = [way["way"] for way in verdicts.other_ways(contest(60, 55, 65, agreement=agreement, **said))]
    assert ways == ["base answers", "base answers with words"]
    assert verdicts.other_ways(contest(60, 55, 98, **said)) == []
    assert verdicts.other_ways(contest(95.5, 95, 96, **said)) == []  # which text settles by itself


def test_the_ways_of_several_contests_are_each_the_best():
    low, high = ({"way": "base answers", "value": value} for value in (70, 80))
    other = {"way": "image + edit", "value": 66}
    assert verdicts.best_ways([{"other_ways": [low]}, {"other_ways": [high, other]}]) == [high, other]


@pytest.mark.parametrize(
    ("several", "verdict"),
    [
        (["needs eyes", "needs eyes"], "needs eyes"),
        (["settled by text", "not contested"], "settled by text"),
        (["needs eyes", "settled by text"], "partly"),
        (["settled by text", "too little data to tell"], "partly"),
        (["needs eyes", "too little data to tell"], "too little data to tell"),
        ([], "not contested"),
    ],
)
def test_a_metric_of_several_contests(several, verdict):
    assert verdicts.of_metric(several) == verdict
