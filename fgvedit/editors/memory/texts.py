"""How memory editors put an edit and a query as text: in a few words of this project, or as the released code does."""

from __future__ import annotations

from typing import Literal

from fgvedit.backbones.answering import Query, question_prompt
from fgvedit.schema import Edit

Texts = Literal["plain", "released"]


def edit_text(edit: Edit, texts: Texts) -> str:
    """An edit, [t_e; y_e], as a scope classifier reads it.

    "plain": question and target; "released": the released code's prompt, followed by the target.
    """
    return edit.fact if texts == "plain" else f"{question_prompt(edit.question)} {edit.target}"


def query_text(query: Query, texts: Texts) -> str:
    """A query, t_test, as a scope classifier reads it.

    "plain": the question; "released": the released code's prompt, and without an image the question alone, so that the
    prompt by itself tells such a query from every edit.
    """
    return query.question if texts == "plain" or query.image is None else question_prompt(query.question)
