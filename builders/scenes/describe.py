"""`python -m builders.scenes.describe`: what the shipped Parquet files hold, in numbers, as Markdown tables."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable

from builders.scenes.__main__ import DATA
from builders.scenes.facts import facts_of
from builders.scenes.language import PHRASINGS, phrasings
from builders.scenes.portability import COMPARISONS, TALLIES, known
from builders.scenes.quads import held_out
from builders.scenes.records import GROUPS, SEED, Group, draw
from builders.scenes.scene import has_twins
from fgvedit.dataset import load_records
from fgvedit.probes import current_kinds
from fgvedit.schema import Record
from fgvedit.util.errors import command_line

# The kinds that have yes-or-no questions.
CLOSED = ("in_scope", "out_of_scope", "worded_in", "worded_out", "portability", "portability_same")


def counts(split: str) -> dict[str, str]:
    """What is counted in a split -> how much of it there is."""
    records: list[Record] = list(load_records("scenes", split).records)
    probes = [probe for record in records for probe in record.probes]
    numbers = Counter(probe.kind for probe in probes)
    said = Counter((probe.kind, probe.answer) for probe in probes)
    own = {record.image.key for record in records}
    shown = own | {probe.image.key for probe in probes if probe.image is not None}
    found = {
        "edits": str(len(records)),
        "groups of four edits": str(len({record.group for record in records})),
        "images that are edited": str(len(own)),
        "images in all": str(len(shown)),
        **_of_groups(split),
        "text-only facts": str(len(facts_of(split))),
        **{f"probes `{kind}`": str(numbers[kind]) for kind in current_kinds() if numbers[kind]},
    }
    for kind in CLOSED:
        yes, no = said[kind, "yes"], said[kind, "no"]
        found[f'"yes" among the yes-or-no questions of `{kind}`'] = percent(yes, yes + no)
    found["size of the file"] = f"{(DATA / f'scenes-{split}.parquet').stat().st_size / 1e6:.1f} MB"
    return found


def _of_groups(split: str) -> dict[str, str]:
    """The files hold words and pictures alone; what they are of is known where they are made."""
    groups = list(itertools.islice(draw(split, SEED), GROUPS[split]))
    scenes = [scene for group in groups for scene in group.quad.plan.scenes]
    edits = [record.edited for group in groups for record in group.records]
    pairs = {(edited.entity.kind, edited.attribute) for edited in edits}
    alike = sum(bool(edited.scene.alike(edited.entity)) for edited in edits)

    return {
        "entities in an image, mean": f"{sum(len(scene.entities) for scene in scenes) / len(scenes):.2f}",
        "kinds of picture": str(len({entity.kind for scene in scenes for entity in scene.entities})),
        "images with two entities of one kind": percent(sum(map(has_twins, scenes)), len(scenes)),
        "edits of one of two such entities": percent(alike, len(edits)),
        **_by_feature(groups),
        "(kind, attribute) pairs edited": str(len(pairs)),
        "(kind, attribute) pairs edited in test alone": str(sum(held_out(*pair) for pair in pairs)),
        "phrasings": str(_phrasings(split)),
        "phrasings found in test alone": str(_phrasings(split) - _phrasings("train")),
    }


def _phrasings(split: str) -> int:
    """How many a split may use."""
    asked = [phrasings(*key, split) for key in PHRASINGS]
    return sum(map(len, asked)) + sum(len(known(key, split)) for key in (*COMPARISONS, *TALLIES))


def _by_feature(groups: Iterable[Group]) -> dict[str, str]:
    """How many groups are of which sort."""
    names = {
        "attribute": "groups that edit the {}",
        "offer": "groups whose hard questions {}",
        "exchange": "groups whose images exchange two cards' {}s",
        "edits named": "groups whose edits name by {}",
        "questions named": "groups whose hard questions name by {}",
    }
    offers = {"open": "are open", "target": "offer the target", "old": "offer the old value"}
    counted = Counter(feature for group in groups for feature in group.quad.plan.features)
    return {
        names[sort].format(offers.get(value, f"offer {value}") if sort == "offer" else value): str(number)
        for (sort, value), number in sorted(counted.items())
        if sort in names
    }


def percent(part: int, whole: int) -> str:
    """A share in percent, in words."""
    return f"{100 * part / whole:.1f} %"


def main(argv: list[str] | None = None) -> None:
    """Print the counts of both splits as a table in Markdown."""
    columns = {split: counts(split) for split in GROUPS}
    print("| | " + " | ".join(columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for name in columns["train"]:
        print(f"| {name} | " + " | ".join(column[name] for column in columns.values()) + " |")


if __name__ == "__main__":
    command_line(main)
