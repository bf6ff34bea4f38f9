"""CAMEO by speaker: the rule by which MTEB splits this collection of corpora in several languages.

CAMEO (Christop and Czajka 2025, arXiv:2505.11051) has no train and test split. The rule is that of
MTEB's task CAMEOEmotionClassification (pull request 5366 of embeddings-benchmark/mteb): in each
language, speakers go to the test by falling number of clips, until it has 35 % of the clips. MTEB
keeps the six emotions of all languages, `labels: [angry, fear, happy, neutral, sad, surprise]`,
and at most 1,500 clips of each split and language; here all clips are used.
"""

from datasets import Dataset

from ..utils.errors import UserError
from .rules import hold_out
from .settings import CameoSettings
from .split import Split, make_split, read_column


def cameo_by_speaker(dataset: Dataset, settings: CameoSettings) -> Split:
    """Split by the speakers of each language; validation is a share of the training speakers.

    Raises:
        UserError: if a clip has no speaker or language, or a language has a single speaker.
    """
    languages = read_column(dataset, "language")
    speakers = read_column(dataset, "speaker")
    if None in languages or None in speakers:
        raise UserError(
            f"protocol.name: {settings.name} needs the language and the speaker of every clip, and "
            "some clips have none; leave out their corpora"
        )
    rows_by_language: dict[str, dict[str, list[int]]] = {}
    for row, (language, speaker) in enumerate(zip(languages, speakers, strict=True)):
        rows_by_language.setdefault(language, {}).setdefault(speaker, []).append(row)

    tested: list[int] = []
    for language, rows_of_speaker in sorted(rows_by_language.items()):
        if len(rows_of_speaker) < 2:
            raise UserError(
                f"protocol.name: {settings.name} needs two speakers of each language, but "
                f"{language} has one; leave it out"
            )
        tested += _most_frequent(rows_of_speaker, settings.test)

    rest = sorted(set(range(len(dataset))) - set(tested))
    held_out = hold_out(dataset, rest, settings.validation, settings.seed)
    rows = {"train": held_out.train, "validation": held_out.validation, "test": sorted(tested)}
    return make_split(
        settings.name,
        dataset,
        rows,
        validation_apart=held_out.apart,
        notes=held_out.notes,
    )


def _most_frequent(rows_of_speaker: dict[str, list[int]], share: float) -> list[int]:
    """The rows of the speakers with the most clips, until they have this share of the clips.

    One speaker is always left.
    """
    clips = sum(map(len, rows_of_speaker.values()))
    by_clips = sorted(rows_of_speaker, key=lambda name: (-len(rows_of_speaker[name]), name))
    chosen: list[int] = []
    for speaker in by_clips[:-1]:
        if len(chosen) >= share * clips:
            break
        chosen += rows_of_speaker[speaker]
    return chosen
