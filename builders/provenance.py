"""Where data made from VQA v2.0 are from, and under which terms: said once, for data cards and Croissant metadata."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class Origin:
    """A data set that records are made of. `licence`: an identifier of the hub's, or "" where each item has its own;
    `terms`: the address of the licence or terms; `told`: what a card says of it, in Markdown."""

    name: str
    url: str
    licence: str
    terms: str
    told: str


VQA = Origin(
    "VQA v2.0",
    "https://visualqa.org",
    "cc-by-4.0",
    "https://creativecommons.org/licenses/by/4.0/",
    """\
Questions and answers are derived from VQA v2.0 (https://visualqa.org; Goyal et al., "Making the V in VQA Matter",
CVPR 2017), whose questions and annotations are under the Creative Commons Attribution 4.0 licence (CC BY 4.0). Edits,
rephrasings and labels were added to them.""",
)
COCO = Origin(
    "COCO 2014",
    "https://cocodataset.org",
    "",
    "https://cocodataset.org/#termsofuse",
    """\
The images are those of COCO 2014 (https://cocodataset.org; Lin et al., "Microsoft COCO: Common Objects in Context",
ECCV 2014). They belong to those who uploaded them to Flickr, each under the terms chosen there, and COCO's terms of use
apply; no licence of this data set covers them.""",
)
NATURAL_QUESTIONS = Origin(
    "Natural Questions",
    "https://ai.google.com/research/NaturalQuestions",
    "cc-by-sa-3.0",
    "https://creativecommons.org/licenses/by-sa/3.0/",
    """\
Text-only questions (`text_locality`) and their answers are those of Natural Questions
(https://ai.google.com/research/NaturalQuestions; Kwiatkowski et al., "Natural Questions: A Benchmark for Question
Answering Research", TACL 2019), under the Creative Commons Attribution-ShareAlike 3.0 licence (CC BY-SA 3.0), which
goes on to hold for them; only spaces were tidied.""",
)


def origins(kinds: Collection[str]) -> list[Origin]:
    """What records with probes of these kinds are made of: Natural Questions is, where one asks without an image."""
    return [VQA, COCO, *([NATURAL_QUESTIONS] if "text_locality" in kinds else [])]


def told(kinds: Collection[str]) -> str:
    """What the card of such records says of where they are from, a paragraph for each origin."""
    return "\n\n".join(origin.told for origin in origins(kinds))


def carried(own: str, kinds: Collection[str]) -> list[Origin]:
    """Those origins whose licence goes on to hold beside `own`, the data set's. VQA v2.0's allows for another one of
    what is derived from it, and of photos each has its own."""
    return [origin for origin in origins(kinds) if origin not in (VQA, COCO) and origin.licence != own]
