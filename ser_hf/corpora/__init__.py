"""Corpora: one module each, which reads rows from official file names; `mixture` combines several
corpora.
"""

from pathlib import Path
from typing import Any

from datasets import Dataset

from .catalog import (
    CORPORA,
    corpora_facts,
    corpus_facts,
    corpus_settings,
    settings_class,
)
from .read import Corpus, read_corpus
from .registry import SINGLE_CORPORA
from .schema import EMOTIONS, Clip, Listing
from .settings import CorpusSettings
from .sources import sources_facts

__all__ = [
    "CORPORA",
    "EMOTIONS",
    "SINGLE_CORPORA",
    "Clip",
    "Corpus",
    "CorpusSettings",
    "Listing",
    "corpora_facts",
    "corpus_facts",
    "corpus_settings",
    "load_corpus",
    "read_corpus",
    "settings_class",
    "sources_facts",
]


def load_corpus(
    name: str, root: str | Path | None = None, *, sampling_rate: int = 16000, **settings: Any
) -> Dataset:
    """Load the rows of a corpus as a `datasets.Dataset`, in the order of their ids; the audio is
    not decoded.

    Example: `ser_hf.load_corpus("ravdess", "data/RAVDESS", merge={"calm": "neutral"})`

    Args:
        name: a key of `CORPORA`, such as ``"ravdess"`` or ``"csv"``.
        root: the folder of the audio, or the table.
        sampling_rate: of the column `audio`, in Hz.
        settings: further keys of `corpus` in a recipe, such as ``labels`` and ``merge``, and
            options of the corpus.

    Returns:
        One row per clip: audio (path or bytes), label, speaker, corpus, id, and what else the
            corpus has.

    Raises:
        UserError: naming the key, file or row that is wrong.
    """
    return read_corpus(corpus_settings(name, root, **settings), sampling_rate).dataset
