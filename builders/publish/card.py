"""The data card: what `datasets` reads of it as YAML, and what people read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from builders import provenance
from builders.publish.publication import Config, Publication
from builders.sidecars import audit_section
from builders.validate.report import ANSWER_TYPES
from fgvedit.probes import kinds

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))  # the hub's

TASK = """\
Edits of what a multimodal language model knows about *one* entity of an image with several, and questions that show
whether the edit took and whether it stayed where it belongs. The task is that of arXiv 2411.12790; the form is
FGVEdit's."""

COLUMNS = """\
| column | holds |
|---|---|
| `id` | the record's name, unique in its configuration |
| `group` | records of one group, about one image or several, were drawn together: they lie in one split |
| `image_id`, `image` | the image that the edit is about |
| `question` | the edit's question, about one entity of the image |
| `answer` | what a model should have said before the edit |
| `target` | the edit: what it should say from now on |
| `entity` | which entity: its `name` and its `box` (x, y, width, height in pixels), each empty where not known |
| `probes` | questions asked before and after the edit: `kind`, `question`, `answer`, `image`, `image_id` |

A probe's `image` is empty where it is the edit's own (`image_id` is then the record's) or where there is none
(`image_id` is then empty). For the kinds that are to stay as before, what is right is whatever the model said before,
and `answer` is what an unedited, faultless model says."""

BY_REFERENCE = """\
Images are **referenced, not embedded**: a column of images holds each image's address on COCO's host, from which
`datasets` fetches it when it is read (`pip install "fsspec[http]"`). To work without a network, and with FGVEdit,
put them into a copy of the files:

```bash
python -m builders.publish.embed {repo} --images COCO_FOLDER --out FOLDER
```"""

EMBEDDED = """\
Images are **embedded**: their encoded bytes stand in the Parquet files. They are passed on under the terms of those
they belong to, not under this data set's licence (see below)."""


def card(about: Publication, configs: Sequence[Config]) -> str:
    """The README.md of a repository; the first of `configs` is the default one."""
    first = configs[0]
    load = f'load_dataset("{about.repo}")' if len(configs) == 1 else f'load_dataset("{about.repo}", "{first.name}")'
    parts = [
        f"---\n{yaml.safe_dump(_metadata(about, configs), sort_keys=False, allow_unicode=True)}---",
        f"# {about.title}",
        TASK,
        f"```python\nfrom datasets import load_dataset\n\ndata = {load}\n```",
        "## Columns",
        COLUMNS,
        _kinds(configs),
        "## Images",
        EMBEDDED if about.embed_images else BY_REFERENCE.format(repo=about.repo),
    ]
    for config in configs:
        parts += [f"## The configuration `{config.name}`", _statistics(config), _checked(config)]
        if audited := audit_section(config.report.source):
            parts.append(f"#{audited}")  # its heading one level down
        if config.labels:
            parts.append(f"What was labelled by whom, and why, stands in `{config.labels}`, one line a record.")
    parts += [
        "## Licence and sources",
        f"Licence of this data set: `{about.licence}`.",
        (about.provenance or provenance.told(_there(configs))).strip(),
        "## Checksums",
        "`SHA256SUMS` holds those of all files (`sha256sum -c SHA256SUMS`); `croissant.json` describes the columns for "
        "machines.",
        "## Citation",
        'Cite the paper that set the task: arXiv 2411.12790, "Visual-Oriented Fine-Grained Knowledge Editing for '
        'MultiModal\nLarge Language Models", ICCV 2025.',
    ]
    return "\n\n".join(parts) + "\n"


def _metadata(about: Publication, configs: Sequence[Config]) -> dict[str, Any]:
    carried = [] if about.provenance else provenance.carried(about.licence, _there(configs))
    records = sum(split.records for config in configs for split in config.report.splits.values())
    return {
        "pretty_name": about.title,
        "license": [about.licence, *(origin.licence for origin in carried)] if carried else about.licence,
        "language": ["en"],
        "task_categories": ["visual-question-answering"],
        "tags": ["knowledge-editing", "multimodal", "fgvedit"],
        "size_categories": [next((name for below, name in SIZES if records < below), "1M<n<10M")],
        "configs": [
            {
                "config_name": config.name,
                **({"default": True} if config is configs[0] else {}),
                # `datasets` keeps what it has read of a folder under its card, not its files: see docs/data.md.
                "description": f"content {config.revision}",
                "data_files": [{"split": split, "path": list(files)} for split, files in config.files.items()],
            }
            for config in configs
        ],
    }


def _there(configs: Sequence[Config]) -> set[str]:
    """The kinds of probe that are there."""
    return {name for config in configs for name in config.kinds}


def _kinds(configs: Sequence[Config]) -> str:
    """What the kinds of probe that are there ask, and what is right after the edit."""
    there = _there(configs)
    rows = [f"| `{kind.name}` | {kind.asks} | {kind.right} |" for kind in kinds().values() if kind.name in there]
    return "\n".join(["| kind | asks | right after the edit |", "|---|---|---|", *rows])


def _statistics(config: Config) -> str:
    splits = config.report.splits
    rows = [("records (edits)", [split.records for split in splits.values()])]
    rows.append(("images", [split.images for split in splits.values()]))
    for kind in ANSWER_TYPES:
        rows.append((f"targets: {kind}", [split.answers[kind] for split in splits.values()]))
    for kind in config.kinds:
        rows.append((f"probes `{kind}`", [split.probes[kind] for split in splits.values()]))
    lines = [f"| | {' | '.join(splits)} |", "|---|" + "---|" * len(splits)]
    lines += [f"| {name} | {' | '.join(f'{count:,}' for count in counts)} |" for name, counts in rows]
    return "\n".join(lines)


def _checked(config: Config) -> str:
    warned = [check for check in config.report.as_json()["checks"] if check["count"]]
    warnings = "; ".join(f"{check['count']:,} against `{check['check']}` ({check['wants']})" for check in warned)
    return f"It passed `python -m builders.validate`, with {warnings or 'nothing to remark'}."
