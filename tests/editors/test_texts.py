"""The texts of memory editors, beside those that the released code makes of the same record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from rows import image_ref
from samples import EDITS, bits, records, same

from fgvedit.backbones import open_backbone
from fgvedit.backbones.answering import Query
from fgvedit.editors.memory.texts import edit_text, query_text
from fgvedit.editors.registry import open_editor
from fgvedit.editors.training import Example
from fgvedit.schema import Edit
from fgvedit.util.errors import FGVEditError

# What the released code makes of a record, written down from it: `text_input` of `edit_inner` (stored, and read by
# the classifier), `text_inputt` of `fg_gen` and of `loc` (asked of the classifier), and the replacement model's input
# for `text_input` of the same, less their answers.
EDIT = Edit(image_ref(0), "What colour is the bus?", "dark green")
SEEN, UNSEEN = Query("Is the bus red?", image_ref(0)), Query("who wrote the odyssey")
RELEASED_EDIT = "Question: What colour is the bus? Short answer: dark green"
RELEASED_SEEN = "Question: Is the bus red? Short answer:"
RELEASED_PROMPTS = [f"{RELEASED_EDIT} {RELEASED_SEEN}", f"{RELEASED_EDIT} who wrote the odyssey"]


def test_the_released_texts():
    assert edit_text(EDIT, "released") == RELEASED_EDIT
    assert [query_text(query, "released") for query in (SEEN, UNSEEN)] == [RELEASED_SEEN, "who wrote the odyssey"]


def test_the_plain_texts():
    assert edit_text(EDIT, "plain") == "What colour is the bus? dark green"
    assert [query_text(query, "plain") for query in (SEEN, UNSEEN)] == ["Is the bus red?", "who wrote the odyssey"]


def test_the_counterfactual_models_prompts(build):
    plain, released = (build(counterfactual_texts=texts).counterfactual for texts in ("plain", "released"))
    assert [released.prompt(EDIT, query) for query in (SEEN, UNSEEN)] == RELEASED_PROMPTS
    assert [plain.prompt(EDIT, query) for query in (SEEN, UNSEEN)] == [
        "New Fact: What colour is the bus? dark green\nQuestion: Is the bus red? Short answer:",
        "New Fact: What colour is the bus? dark green\nQuestion: who wrote the odyssey Short answer:",
    ]


def test_the_counterfactual_models_tokens_are_those_of_the_whole_text(build, random_blip2):
    """The released code reads edit, query and answer as one text behind the image, without special tokens."""
    model = build(open_backbone(str(random_blip2), input_mode="paper"), counterfactual_texts="released").counterfactual
    for query, prompt in zip((SEEN, UNSEEN), RELEASED_PROMPTS, strict=True):
        [row] = model.rows([model.prompt(EDIT, query)], [query.image], [model.answer_ids("no")])
        image = [-1] if query.image else []
        assert row == [*image, *model.tokenizer(f"{prompt} no", add_special_tokens=False)["input_ids"]]


def read_by(classifier: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the classifier's CLIP reads from here on; a text that it has read before is not told again."""
    texts: list[str] = []
    read = classifier.clip.read

    def reading(asked: list[str]) -> torch.Tensor:
        texts.extend(text for text in asked if text not in texts)
        return read(asked)

    monkeypatch.setattr(classifier.clip, "read", reading)
    return texts


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ("released", [RELEASED_EDIT, RELEASED_SEEN, "who wrote the odyssey"]),
        ("plain", ["What colour is the bus? dark green", "Is the bus red?", "who wrote the odyssey"]),
    ],
)
@pytest.mark.parametrize("fusion", ["dot", "dot-released"])
def test_the_classifier_reads_them_in_use_and_in_training(build, monkeypatch, texts, expected, fusion):
    editor = build(classifier_texts=texts, fusion=fusion)
    in_use, in_training = read_by(editor.classifier, monkeypatch), read_by(editor.classifier, monkeypatch)
    editor.classifier.distances([EDIT], [[SEEN], [UNSEEN]])
    assert in_training == expected
    in_use.clear()
    with editor.edit([EDIT]) as edited:
        edited.explain([SEEN, UNSEEN])
    assert in_use == expected


def test_it_shows_its_attention_for_them(build, monkeypatch):
    editor = build(classifier_texts="released")
    with editor.edit([EDIT]) as edited:
        edited.explain([SEEN, UNSEEN])
        texts = read_by(editor.classifier, monkeypatch)
        edited.attention_maps([SEEN, UNSEEN])
    assert texts == [RELEASED_EDIT, RELEASED_SEEN]  # there is nothing to see for the third


@torch.no_grad()
def test_rho_of_released_texts(build):
    classifier = build(classifier_texts="released", fusion="text").classifier
    edit, query = (vector / vector.norm() for vector in classifier.clip.read([RELEASED_EDIT, RELEASED_SEEN]))
    expected = torch.exp(-((edit - query) ** 2).sum())
    torch.testing.assert_close(classifier.remember([EDIT])([SEEN])[0, 0], expected)


def test_training_sees_what_use_sees(build):
    """The released code's `edit_outer` and `fg_gen`: the answers are learnt behind these very prompts."""
    from fgvedit.editors.memory.losses import answer_loss

    model = build(counterfactual_texts="released").counterfactual
    (record, *_), asked = records(), []
    model.answer_loss = lambda prompts, images, answers: asked.append((prompts, answers))  # type: ignore[method-assign]
    probe = record.probes_of("rephrase")[0]
    answer_loss(model, [Example(record, {"rephrase": probe})], "rephrase")
    prompt = f"Question: {record.question} Short answer: {record.target} Question: {probe.question} Short answer:"
    assert asked == [([prompt], [probe.answer])]


# Checkpoints


def described(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "editor.json").read_text())


def without_texts(folder: Path) -> None:
    """As checkpoints were written before there was a choice."""
    about = described(folder)
    about["config"] = {option: value for option, value in about["config"].items() if not option.endswith("_texts")}
    (folder / "editor.json").write_text(json.dumps(about))


def test_a_checkpoint_that_does_not_name_its_texts_was_trained_with_plain_ones(build, tmp_path):
    build().save(tmp_path)
    assert described(tmp_path)["config"]["classifier_texts"] == "plain"
    without_texts(tmp_path)
    editor = build(lr=0.5)
    editor.load(tmp_path)
    assert same(bits(editor.parts), {name: value.half().float() for name, value in bits(build().parts).items()})
    for option in ("classifier_texts", "counterfactual_texts"):
        with pytest.raises(FGVEditError, match=f"trained with {option} 'plain'.* expected 'released'"):
            build(**{option: "released"}).load(tmp_path)


def test_an_editor_opens_with_the_texts_that_its_checkpoint_was_trained_with(build, backbone, random_clip, tmp_path):
    build(classifier_texts="released", counterfactual_texts="released").save(tmp_path)
    editor: Any = open_editor("mscke", backbone, {"clip": str(random_clip)}, tmp_path)
    assert (editor.classifier.texts, editor.counterfactual.texts) == ("released", "released")
    with editor.edit(EDITS[:1]) as edited:
        assert edited.explain([SEEN])[0].rho is not None


def test_unknown_texts(backbone):
    with pytest.raises(
        FGVEditError, match=r"option 'classifier_texts' of editor 'mscke': found 'bare', expected a .*plain"
    ):
        open_editor("mscke", backbone, {"classifier_texts": "bare"}, Path("nowhere"))
