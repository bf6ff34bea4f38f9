"""Corpora of emotional speech. Each corpus has one module, which reads its clips and their labels.

The module `mixture` combines several corpora.
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
    """Load a corpus as a `datasets.Dataset` with one row per clip, without decoding the audio.

    The rows are sorted by their ids.

    Example: `ser_hf.load_corpus("ravdess", "data/RAVDESS", merge={"calm": "neutral"})`

    Args:
        name: a key of `CORPORA`, such as ``"ravdess"`` or ``"csv"``.
        root: the folder of the audio, or the table of the clips.
        sampling_rate: the sampling rate of the column `audio`, in Hz.
        settings: other keys of the section `corpus` of a recipe, such as ``labels``, ``merge`` and
            the options of this corpus.

    Returns:
        The rows with the columns audio (path or bytes), label, speaker, corpus and id, and the
            further columns of the corpus.

    Raises:
        UserError: if a key, a file or a row is wrong; the message names it.
    """
    return read_corpus(corpus_settings(name, root, **settings), sampling_rate).dataset
