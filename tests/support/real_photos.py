"""A small data set of real photos with real questions, for running real command lines; its answers are made up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rows import make_probe


def write_photos(folder: Path, real_data: Path, count: int = 4) -> None:
    """`count` records as train.parquet and as test.parquet, from photos with three questions or more.

    An edit gives a photo's first question the answer to another photo's first; the out-of-scope probe is its second.
    """
    import datasets

    from fgvedit.schema import features

    photos: dict[str, list[dict[str, Any]]] = {}
    for line in (real_data / "coco_vqa" / "vqa.jsonl").read_text().splitlines():
        asked = json.loads(line)
        photos.setdefault(asked["image"], []).append(asked)
    locality = [json.loads(line) for line in (real_data / "nq_loc.jsonl").read_text().splitlines()[:count]]
    used = [(image, asked) for image, asked in photos.items() if len(asked) > 2][: count + 1]
    rows = []
    for number, (image, asked) in enumerate(used[:count]):
        shown, other = ({"bytes": _bytes(real_data, name), "path": None} for name in (image, used[number + 1][0]))
        question, target = asked[0]["question"], used[number + 1][1][0]["answer"]
        image_id = Path(image).stem
        rows.append(
            {
                "id": f"photo-{number}",
                "group": image_id,
                "image_id": image_id,
                "image": shown,
                "question": question,
                "answer": asked[0]["answer"],
                "target": f"{target} indeed" if target == asked[0]["answer"] else target,
                "entity": {"name": "thing", "box": []},
                "probes": [
                    make_probe("rephrase", target, image_id=image_id, question=f"In this photo, {question.lower()}"),
                    make_probe("in_scope", "yes", image_id=image_id, question=f"Is it {target}? {question}"),
                    make_probe("out_of_scope", asked[1]["answer"], image_id=image_id, question=asked[1]["question"]),
                    make_probe(
                        "text_locality", locality[number]["answer"], question=f"{locality[number]['question']}?"
                    ),
                    make_probe("other_image", "no", other, Path(used[number + 1][0]).stem, question=question),
                ],
            }
        )
    folder.mkdir()
    for split in ("train", "test"):
        datasets.Dataset.from_list(rows, features=features()).to_parquet(folder / f"{split}.parquet")


def _bytes(real_data: Path, image: str) -> bytes:
    return (real_data / "coco_vqa" / image).read_bytes()
