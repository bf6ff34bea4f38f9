"""What a row of a corpus is, whatever the corpus: columns, canonical emotions, and the `datasets` object they make."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import datasets
from datasets import Audio, ClassLabel, Dataset, Features, List, Value

from ..utils.errors import UserError
from ..utils.files import require_utf8

# The order of every label list that a recipe does not order itself.
EMOTIONS = (
    "angry",
    "disgust",
    "fear",
    "happy",
    "neutral",
    "sad",
    "surprise",
    "calm",
    "boredom",
    "excited",
    "frustrated",
    "contempt",
    "other",
)


@dataclasses.dataclass(frozen=True)
class Clip:
    """One recording as its file name (or table) describes it. `speaker` and `id` carry the corpus as a prefix.

    `word` is what the name or table calls the emotion; None where that is not a word of theirs, but raters' votes.
    `votes` are what raters perceived, {emotion: votes or share}; `extra` becomes further columns, such as `session`.
    `corpus` is told where it is not that of the listing.
    """

    path: str
    emotion: str
    speaker: str
    id: str
    sex: str | None = None
    age: int | None = None
    language: str | None = None
    sentence: str | None = None
    intensity: str | None = None
    take: int | None = None
    votes: Mapping[str, float] | None = None
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    corpus: str | None = None
    word: str | None = None


@dataclasses.dataclass(frozen=True)
class Listing:
    """What a parser found below a folder: the clips in a stable order, and what it left out with the reason."""

    corpus: str
    clips: list[Clip]
    skipped: list[tuple[str, str]] = dataclasses.field(default_factory=list)


COLUMNS = {
    "speaker": Value("string"),
    "corpus": Value("string"),
    "id": Value("string"),
    "sex": Value("string"),
    "age": Value("int32"),
    "language": Value("string"),
    "sentence": Value("string"),
    "intensity": Value("string"),
    "take": Value("int32"),
    "duration": Value("float32"),
    "content_hash": Value("string"),
}
# Who speaks in clips of which nobody knows it, where a recipe loads them all the same (`no_speaker: one`): after the
# corpus's prefix the name that no speaker has. Splits know it, as a test speaker may be among them.
UNNAMED = "unknown"
# Names that a column of a corpus's own cannot have.
RESERVED = {"audio", "label", "votes", *COLUMNS}


def to_dataset(
    listing: Listing,
    emotions: Sequence[str],
    labels: Sequence[str],
    sampling_rate: int,
    votes: Sequence[Sequence[float] | None] | None = None,
) -> Dataset:
    """The rows as a `datasets.Dataset`; `emotions` are the clips' treated labels, `labels` the classes in order.

    `duration` and `content_hash` stay null until `ser_hf.audio.prepare` has decoded the audio. A column `votes`
    (probabilities over the labels) stands where `votes` are given, and one column for each key of the clips' `extra`.
    The Audio column is cast rather than encoded, because encoding needs torchcodec even for paths.

    Raises:
        UserError: if no clip is left, an extra column has the name of one of ours, or a path is not UTF-8.
    """
    clips = listing.clips
    if not clips:
        raise UserError(f"corpus.root: {listing.corpus} has no clip left to learn from")
    for clip in clips:
        require_utf8(clip.path)
    rows: dict[str, list] = {"audio": [clip.path for clip in clips], "label": list(emotions)}
    for name in COLUMNS:
        rows[name] = [getattr(clip, name, None) for clip in clips]
    rows["corpus"] = [clip.corpus or listing.corpus for clip in clips]
    features = {"audio": Value("string"), "label": Value("string"), **COLUMNS}
    if votes is not None:
        rows["votes"] = [None if shares is None else list(shares) for shares in votes]
        features["votes"] = List(Value("float32"), length=len(labels))
    for name in dict.fromkeys(key for clip in clips for key in clip.extra):
        if name in features:
            raise UserError(
                f"corpus.root: {listing.corpus} has a column {name!r}, which is a column of ours; rename it"
            )
        rows[name] = [clip.extra.get(name) for clip in clips]
        known = [value for value in rows[name] if value is not None]
        features[name] = Dataset.from_dict({name: known}).features[name] if known else Value("string")
    dataset = Dataset.from_dict(rows, features=Features(features))
    with _quiet():
        dataset = dataset.cast_column("label", ClassLabel(names=list(labels)))
        return dataset.cast_column("audio", Audio(sampling_rate=sampling_rate, decode=False))


def require_unique_ids(clips: Sequence[Clip]) -> None:
    """Refuses an id in two places: a doubled folder, `a.wav` beside `a.flac`, two rows of a table."""
    first: dict[str, str] = {}
    for clip in clips:
        if clip.id in first:
            raise UserError(
                f"{clip.path}: its id {clip.id} stands at {first[clip.id]} too; an id names one clip: remove one of "
                "the two (mirrors often double a whole folder), or give it an id of its own"
            )
        first[clip.id] = clip.path


@contextmanager
def _quiet() -> Iterator[None]:
    """Casting tiny label columns needs no progress bar."""
    shown = datasets.utils.logging.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            datasets.enable_progress_bars()
