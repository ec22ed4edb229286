"""`python -m builders.scenes.describe`: what the shipped Parquet files hold, in numbers, as Markdown tables."""

from __future__ import annotations

from collections import Counter

from builders.scenes.__main__ import DATA, IMAGES, SEED
from builders.scenes.facts import facts_of
from builders.scenes.language import PHRASINGS, phrasings
from builders.scenes.records import draw, held_out, split_random
from builders.scenes.scene import ATTRIBUTES, has_twins
from fgvedit.dataset import load_records
from fgvedit.probes import probe_kinds
from fgvedit.schema import Record
from fgvedit.util.errors import command_line

CLOSED = ("in_scope", "out_of_scope")  # the kinds that have yes-or-no questions


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
        "images that are edited": str(len(own)),
        "images in all": str(len(shown)),
        **_of_scenes(split),
        "text-only facts": str(len(facts_of(split))),
        **{f"probes `{kind}`": str(numbers[kind]) for kind in probe_kinds() if numbers[kind]},
    }
    for kind in CLOSED:
        yes, no = said[kind, "yes"], said[kind, "no"]
        found[f'"yes" among the yes-or-no questions of `{kind}`'] = percent(yes, yes + no)
    found["size of the file"] = f"{(DATA / f'scenes-{split}.parquet').stat().st_size / 1e6:.1f} MB"
    return found


def _of_scenes(split: str) -> dict[str, str]:
    """The files hold words and pictures alone; what they are of is known where they are made."""
    drawn = draw(split_random(split, SEED), split, IMAGES[split], SEED)
    scenes = [scene for scene, _ in drawn]
    edited = [(scene, row["asked"]) for scene, rows in drawn for row in rows]
    attributes = Counter(question.attribute for _, question in edited)
    kinds_of = [scene.entities[question.entity].kind for scene, question in edited]
    pairs = {(kind, question.attribute) for kind, (_, question) in zip(kinds_of, edited, strict=True)}
    new = {text for attribute, form in PHRASINGS for text in phrasings(attribute, form, "new")}
    alike = sum(bool(scene.alike(scene.entities[question.entity])) for scene, question in edited)

    return {
        "entities in an image, mean": f"{sum(len(scene.entities) for scene in scenes) / len(scenes):.2f}",
        "kinds of picture": str(len({entity.kind for scene in scenes for entity in scene.entities})),
        "images with two entities of one kind": percent(sum(map(has_twins, scenes)), len(scenes)),
        "edits of one of two such entities": percent(alike, len(edited)),
        **{f"edits of the {attribute}": str(attributes[attribute]) for attribute in ATTRIBUTES},
        "(kind, attribute) pairs edited": str(len(pairs)),
        "(kind, attribute) pairs edited in test alone": str(sum(held_out(*pair) for pair in pairs)),
        "phrasings": str(sum(len(phrasings(*key, split)) for key in PHRASINGS)),
        "phrasings found in test alone": str(len(new) if split == "test" else 0),
    }


def percent(part: int, whole: int) -> str:
    """A share in percent, in words."""
    return f"{100 * part / whole:.1f} %"


def main(argv: list[str] | None = None) -> None:
    """Print the counts of both splits as a table in Markdown."""
    columns = {split: counts(split) for split in IMAGES}
    print("| | " + " | ".join(columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for name in columns["train"]:
        print(f"| {name} | " + " | ".join(column[name] for column in columns.values()) + " |")


if __name__ == "__main__":
    command_line(main)
