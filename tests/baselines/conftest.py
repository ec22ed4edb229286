"""Fixtures of the two SERACs: a small text encoder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    """The folder of a random DistilBERT with a tokenizer of its own."""
    from transformers import BertTokenizerFast, DistilBertConfig, DistilBertModel

    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *["what", "has", "the", "card", "where", "is", "it", "who", "wrote", "place", "?", "0", "1"],
    ]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    folder = tmp_path / "bert"
    BertTokenizerFast(str(tmp_path / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(1)
    config = DistilBertConfig(vocab_size=len(words), dim=16, hidden_dim=32, n_layers=1, n_heads=2)
    DistilBertModel(config).save_pretrained(folder)
    return folder
