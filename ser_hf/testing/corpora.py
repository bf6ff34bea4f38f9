"""Small corpora in the official layout and file grammar of real ones, spoken by the synthetic voices."""

from collections.abc import Iterator
from pathlib import Path

import soundfile

from ..corpora import cremad, ravdess
from ..corpora.synthetic_voice import utterance

# The synthetic voices know six emotions; where an official corpus has more, the nearest one speaks.
_STAND_INS = {"calm": "neutral", "surprise": "happy"}


def write_corpus(
    name: str,
    root: str | Path,
    speakers: int = 6,
    takes: int = 2,
    sampling_rate: int = 16000,
    suffix: str = ".wav",
    seed: int = 0,
) -> list[Path]:
    """Writes a corpus of synthetic speech below `root` as the official release names and places its files.

    Args:
        name: ``"ravdess"`` or ``"cremad"``.
        speakers: the first actors of the release.
        takes: clips per actor and emotion.
        sampling_rate: Hz of the files.
        suffix: ``.wav`` or ``.flac``.

    Returns:
        The files in the order they were written.
    """
    writers = {"ravdess": _ravdess, "cremad": _cremad}
    if name not in writers:
        raise ValueError(f"{name!r} is none of {', '.join(writers)}")
    paths = []
    for relative, emotion, speaker, take in writers[name](speakers, takes):
        path = Path(root) / f"{relative}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        samples = utterance(speaker, _STAND_INS.get(emotion, emotion), take, seed, sampling_rate)
        soundfile.write(path, samples, sampling_rate, subtype="PCM_16")
        paths.append(path)
    return paths


def _ravdess(speakers: int, takes: int) -> Iterator[tuple[str, str, int, int]]:
    for actor in range(1, speakers + 1):
        for code, emotion in ravdess.EMOTION_CODES.items():
            # Official clips of an emotion: statements, repetitions, and intensities where there are two.
            names = [f"{i}-{s}-{r}" for i in ("01", "02") for s in ("01", "02") for r in ("01", "02")]
            for take, name in enumerate(names[: min(takes, 4 if emotion == "neutral" else 8)]):
                yield f"Actor_{actor:02d}/03-01-{code}-{name}-{actor:02d}", emotion, actor, take


def _cremad(speakers: int, takes: int) -> Iterator[tuple[str, str, int, int]]:
    for actor in range(1001, 1001 + speakers):
        for code, emotion in cremad.EMOTION_CODES.items():
            sentences = list(cremad.SENTENCES)[:takes]
            for take, sentence in enumerate(sentences):
                yield f"AudioWAV/{actor}_{sentence}_{code}_XX", emotion, actor - 1000, take
