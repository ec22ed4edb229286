"""An audit in words: tables of at most `WIDTH` characters a line."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from builders.audit.exact import VIEWS
from builders.audit.learned import BOTH, FOLDS, IMAGES, SAID, WORDS
from builders.audit.verdicts import RULES, best, best_ways, text_figure
from builders.sidecars import HASH_SHOWN
from fgvedit.util.words import listed

WIDTH = 120
VERDICT_WIDTH = 72
FREQUENT_WIDTH = 16  # of an answer
NONE = "-"
HEAD = """\
Percent, with 95 % intervals over groups. Each contest sets probes that the edit has to change (before the colon) \
against probes that have to stay; each label counts a half, so that guessing is right on 50 %."""
TURNED = "*: a rule that is wrong more often than right, turned round."
EXACT = """\
exact: the best that any rule can do that is given this much, counted over values that come up more than once \
(repeats: on how many probes they do; not testable where none does, or those of one side alone do). chance: what the \
same count gives where labels are drawn. bits: of the label that are left (of 1). elsewhere: a probe is taken for what \
others with the same value are in other groups; where there are none (known: of how many probes there are) half counts \
as right"""
LEARNED = f"""\
learned: right on groups that were not trained on ({FOLDS} folds; the better of a regression and of trees)"""
BASE = """\
base answers: "in scope if the answer to the probe is the one to the edit's question" (rule), how often it agrees, and \
how often the answer is what an unedited, faultless model says; learned, as above, from the words and both answers"""
NO_BASE = "base answers: not asked; --backbone NAME asks a model, such as tiny, what its own answers give away"
ANSWERS = """\
answers: the most frequent one, bits, how often yes is right, and how often the first of two choices is; by words: how \
often a regression that was trained on other groups tells yes from no by the question's words alone"""
REPEATED = """\
probes: different ones (question and image), how many all equally frequent ones they are worth, and how often the \
right answer is the edit's target though nothing may change"""
PLACE = "place in the record and length in words: what the best rule reaches, and what it does by chance"


def table(report: Mapping[str, Any]) -> str:
    """A whole report."""
    limit = f", the first {report['limit']:,} records of each split" if report["limit"] else ""
    title = f"{report['data']} ({report['config']}), files {report['revision'][:HASH_SHOWN]}{limit}"
    lines = [*_wrapped(title), *_wrapped(f"{HEAD} {TURNED}")]
    for name, split in report["splits"].items():
        lines += ["", *_split(name, split, report["backbone"])]
    if report["shared"]:
        lines += ["", *_shared(report["shared"])]
    return "\n".join([*lines, "", *(line for rule in RULES.splitlines() for line in _wrapped(rule))])


def figure_text(figure: Mapping[str, Any] | None) -> str:
    """A value with its interval."""
    return f"{figure['value']:.2f} [{figure['low']:.2f}, {figure['high']:.2f}]" if figure else NONE


def _turned(figure: Mapping[str, Any] | None) -> str:
    return figure_text(figure) + "*" * figure["inverted"] if figure else NONE


def verdict_text(verdict: str, other_ways: Sequence[Mapping[str, Any]]) -> str:
    """A verdict, and what settles it beside text, or reaches how much."""
    settling = listed([way["way"] for way in other_ways if way["settles"]])
    others = [f"{way['way']}: {way['value']:.1f}" for way in other_ways if not way["settles"]]
    return "; ".join([verdict, *([f"{settling} settle it"] if settling else []), *others])


def _split(name: str, split: Mapping[str, Any], backbone: Mapping[str, str] | None) -> Iterator[str]:
    counts = [f"{split[what]:,} {what}" for what in ("records", "groups", "images")]
    yield f"{name}: {', '.join(counts)}, {split['probes']:,} probes, edits included"
    yield from ["", *_verdicts(split)]
    yield from ["", *_wrapped(EXACT), *_exact(split["contests"])]
    yield from ["", *_wrapped(LEARNED), *_learned(split["contests"])]
    yield from ["", *(_base(split, backbone["name"]) if backbone else [NO_BASE])]
    yield from ["", *_wrapped(ANSWERS), *_answers(split["kinds"])]
    yield from ["", *_wrapped(REPEATED), *_repeated(split["kinds"])]
    yield from ["", *_wrapped(PLACE), *_places(split["contests"])]


def _verdicts(split: Mapping[str, Any]) -> list[str]:
    rows = [["metric", "text alone", "verdict"]]
    for name, metric in split["metrics"].items():
        contests = [split["contests"][contest] for contest in metric["contests"]]
        text = figure_text(best(map(text_figure, contests)))
        verdict = textwrap.wrap(verdict_text(metric["verdict"], best_ways(contests)), VERDICT_WIDTH)
        rows += [[name, text, verdict[0]], *(["", "", more] for more in verdict[1:])]
    return _columns(rows)


def _exact(contests: Mapping[str, Any]) -> Iterator[str]:
    rows = [["given", "repeats", "best", "chance", "bits", "known", "elsewhere"]]
    for contest in contests.values():
        for view in VIEWS:
            exact, known = contest["exact"][view], contest["elsewhere"][view]
            cells = ["not testable: no value repeats", "", ""]
            if exact["best"]:
                cells = [figure_text(exact["best"]), f"{exact['chance']:.2f}", f"{exact['entropy']:.2f}"]
            more = [f"{known['coverage']:.1f}", figure_text(known["figure"]) + "*" * known["inverted"]]
            rows.append([view, f"{exact['coverage']:.1f}", *cells, *more])
    first, *lines = [f"  {line}" for line in _columns(rows)]
    yield first
    for index, (name, contest) in enumerate(contests.items()):
        yield f"  {name} ({_sides(contest)} probes)"
        yield from lines[index * len(VIEWS) : (index + 1) * len(VIEWS)]


def _learned(contests: Mapping[str, Any]) -> list[str]:
    rows = [["contest", "probes", WORDS, IMAGES, BOTH]]
    for name, contest in contests.items():
        cells = ["too few probes or groups", "", ""]
        if contest["learned"]:
            cells = [_turned(contest["learned"][view]) for view in (WORDS, IMAGES, BOTH)]
        rows.append([name, f"{contest['learned_from']:,}", *cells])
    return _columns(rows)


def _base(split: Mapping[str, Any], backbone: str) -> list[str]:
    rows = [["contest", "best rule by agreement", f"learned from {SAID}"]]
    for name, contest in split["contests"].items():
        rows.append([name, figure_text(contest["agreement"]), _turned((contest["learned"] or {}).get(SAID))])
    kinds = [["kind", "agrees", "rule is right", "as an unedited, faultless model"]]
    for kind, one in split["kinds"].items():
        kinds.append([kind, *(figure_text(one["base"][what]) for what in ("agrees", "rule", "as_unedited"))])
    scores = [["metric", "not edited at all"]]
    scores += [[name, figure_text(metric["unedited"])] for name, metric in split["metrics"].items()]
    title = BASE.replace("base answers", f"base answers of {backbone}")
    return [*_wrapped(title), *_columns(rows), "", *_columns(kinds), "", *_columns(scores)]


def _answers(kinds: Mapping[str, Any]) -> list[str]:
    rows = [["kind", "form", "probes", "different", "most frequent", "bits", "yes", "first", "by words"]]
    for kind, one in kinds.items():
        for form in one["answers"]:
            frequent = f"{form['share']:.1f} {textwrap.shorten(form['frequent'], FREQUENT_WIDTH, placeholder='…')}"
            more = [f"{form[what]:.1f}" if form[what] is not None else NONE for what in ("yes", "first")]
            counts = [f"{form['probes']:,}", f"{form['different']:,}"]
            told = _turned(form["by_words"])
            rows.append([kind, form["form"], *counts, frequent, f"{form['entropy']:.2f}", *more, told])
    return _columns(rows)


def _repeated(kinds: Mapping[str, Any]) -> list[str]:
    rows = [["kind", "probes", "different", "effective", "truth is the target"]]
    for kind, one in kinds.items():
        counts = [f"{one['probes']:,}", f"{one['different']:,}", f"{one['effective']:,.1f}"]
        rows.append([kind, *counts, figure_text(one["truth_is_target"])])
    return _columns(rows)


def _places(contests: Mapping[str, Any]) -> list[str]:
    rows = [["contest", "place", "chance", "length", "chance"]]
    for name, contest in contests.items():
        cells = []
        for exact in (contest["position"], contest["length"]):
            best = exact["best"] if exact else None
            cells += [figure_text(best), f"{exact['chance']:.2f}" if best else NONE]
        rows.append([name, *cells])
    return _columns(rows)


def _shared(shared: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [["in both splits", "both", "of the first", "of the second"]]
    for one in shared:
        counts = [f"{number:,}" for number in (one["both"], *one["different"])]
        rows.append([f"{' and '.join(one['splits'])}: {one['what']}", *counts])
    return _columns(rows)


def _sides(contest: Mapping[str, Any]) -> str:
    return " : ".join(f"{number:,}" for number in contest["probes"])


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Cells below each other."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def _wrapped(text: str) -> Iterable[str]:
    return textwrap.wrap(text, WIDTH)
