"""Small corpora of synthetic speech in the official layout and file names of real ones.

- ``ravdess``: ``Actor_01/03-01-05-01-01-01-01.wav``; with `song` the sung clips (``03-02-...``) as
  well.
- ``cremad``: ``AudioWAV/1001_DFA_ANG_XX.wav``, without the release's table of votes.
- ``tess``: ``OAF_Fear/OAF_back_fear.wav`` with the capitals of the release, and from seven takes on
  the misspelt ``OA_bite_neutral.wav``.
- ``savee``: ``AudioData/DC/a01.wav``.
- ``emodb``: ``wav/03a01Wa.wav``.
- ``iemocap``: ``Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav`` with
  ``Session1/dialog/EmoEvaluation/Ses01F_impro01.txt``. Takes are improvised and scripted in turn;
  each actor also has utterances without a majority (``xxx``).
- ``msp_podcast``: ``Audios/MSP-PODCAST_0001_0008.wav`` with ``Labels/labels_consensus.csv``.
- ``csv``: ``clips/s00_angry_0.wav`` with ``clips.csv``, which is `corpus.root`; its columns are
  path, label, speaker, sex, session and loudness (dB relative to full scale).
"""

import csv
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile

from ser_hf.corpora import cremad, emodb, iemocap, msp_podcast, ravdess, savee, tess
from ser_hf.corpora.synthesis import EMOTIONS, utterance, voice

# The synthetic voices have six emotions; others are spoken as a similar one.
_SIMILAR = {
    "calm": "neutral",
    "boredom": "neutral",
    "xxx": "neutral",
    "surprise": "happy",
    "excited": "happy",
}
_SIMILAR |= {"frustrated": "angry"}
_TESS_WORDS = (
    "back bar base bath bean beg bite boat bone book bought burn cab calm came cause "
    "chain chair chalk chat"
)
_TESS_FOLDERS = {
    "OAF": {"fear": "Fear", "sad": "Sad", "ps": "Pleasant_surprise"},
    "YAF": {"ps": "pleasant_surprised"},
}


class Plan(NamedTuple):
    """A clip to write: its path below the root without suffix, and the speaker, emotion and take to
    synthesize.
    """

    stem: str
    emotion: str
    voice: int
    take: int


class Clip(NamedTuple):
    """A written clip. `seconds` is its duration, `sampling_rate` is in Hz."""

    path: Path
    emotion: str
    speaker: str
    sex: str
    seconds: float
    sampling_rate: int


def write_corpus(
    name: str,
    root: str | Path,
    speakers: int = 6,
    takes: int = 2,
    sampling_rate: int = 16000,
    suffix: str = ".wav",
    seed: int = 0,
    **options: Any,
) -> list[Path]:
    """Write synthetic speech below `root`, with the folders, file names and tables of the official
    release.

    Args:
        name: a corpus of the list at the top of this module.
        speakers: at most as many as the release has; the first ones are used.
        takes: clips per actor and emotion, at most as many as the release has names for (TESS: 20).
        sampling_rate: Hz of the files.
        suffix: ``.wav`` or ``.flac``.
        seed: of the voices; the same arguments give the same files.
        options: ``song=True`` (RAVDESS) writes the sung clips too.

    Returns:
        The audio files in the order of writing.
    """
    root = Path(root)
    clips = write_clips(root, _PLANS[name](speakers, takes, **options), sampling_rate, suffix, seed)
    if name in _TABLES:
        _TABLES[name](root, clips)
    return [clip.path for clip in clips]


def write_clips(
    root: Path,
    plans: Iterable[Plan],
    sampling_rate: int = 16000,
    suffix: str = ".wav",
    seed: int = 0,
) -> list[Clip]:
    """Write the planned clips below `root`."""
    clips = []
    for plan in plans:
        path = root / f"{plan.stem}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        spoken = _SIMILAR.get(plan.emotion, plan.emotion)
        # A similar emotion has other takes, so that no recording has two labels.
        take = plan.take + 1000 * (
            list(_SIMILAR).index(plan.emotion) + 1 if spoken != plan.emotion else 0
        )
        samples = utterance(plan.voice, spoken, take, seed, sampling_rate)
        soundfile.write(path, samples, sampling_rate, subtype="PCM_16")
        sex = voice(plan.voice, seed).sex
        seconds = len(samples) / sampling_rate
        clips.append(Clip(path, plan.emotion, f"s{plan.voice:02d}", sex, seconds, sampling_rate))
    return clips


def _ravdess(speakers: int, takes: int, song: bool = False) -> Iterator[Plan]:
    channels = ("01", "02") if song else ("01",)
    for actor, channel in itertools.product(range(1, min(speakers, 24) + 1), channels):
        for code, emotion in ravdess.EMOTION_CODES.items():
            # Official clips of an emotion: statements, repetitions, and intensities where there are
            # two.
            names = [
                f"{i}-{s}-{r}" for i in ("01", "02") for s in ("01", "02") for r in ("01", "02")
            ]
            for take, name in enumerate(names[: min(takes, 4 if emotion == "neutral" else 8)]):
                stem = Path(f"Actor_{actor:02d}/03-{channel}-{code}-{name}-{actor:02d}")
                # disgust and surprise are not sung, and not by every actor
                if ravdess.read_name(stem):
                    yield Plan(str(stem), emotion, actor, take)


def _cremad(speakers: int, takes: int) -> Iterator[Plan]:
    for actor in range(1001, 1001 + min(speakers, 91)):
        for code, emotion in cremad.EMOTION_CODES.items():
            for take, sentence in enumerate(list(cremad.SENTENCES)[:takes]):
                # the sentence with levels
                level = "MD" if sentence == "IEO" and code != "NEU" else "XX"
                yield Plan(
                    f"AudioWAV/{actor}_{sentence}_{code}_{level}", emotion, actor - 1000, take
                )


def _tess(speakers: int, takes: int) -> Iterator[Plan]:
    for number, speaker in enumerate(list(tess.AGES)[:speakers]):
        for code, emotion in tess.EMOTION_CODES.items():
            for take, word in enumerate(_TESS_WORDS.split()[:takes]):
                folder = f"{speaker}_{_TESS_FOLDERS[speaker].get(code, code)}"
                misspelt = (speaker, word, code) == ("OAF", "bite", "neutral")
                yield Plan(
                    f"{folder}/{'OA' if misspelt else speaker}_{word}_{code}",
                    emotion,
                    2 * number,
                    take,
                )


def _savee(speakers: int, takes: int) -> Iterator[Plan]:
    for number, speaker in enumerate(savee.SPEAKERS[:speakers]):
        for code, emotion in savee.EMOTION_CODES.items():
            for take in range(min(takes, 30 if emotion == "neutral" else 15)):
                yield Plan(
                    f"AudioData/{speaker}/{code}{take + 1:02d}", emotion, 2 * number + 1, take
                )


def _emodb(speakers: int, takes: int) -> Iterator[Plan]:
    names = [(sentence, version) for version in emodb.VERSIONS for sentence in emodb.SENTENCES]
    for number, (speaker, (sex, _)) in enumerate(list(emodb.SPEAKERS.items())[:speakers]):
        for code, emotion in emodb.EMOTION_CODES.items():
            for take, (sentence, version) in enumerate(names[:takes]):
                yield Plan(
                    f"wav/{speaker}{sentence}{code}{version}",
                    emotion,
                    2 * number + (sex == "male"),
                    take,
                )


def _iemocap(speakers: int, takes: int) -> Iterator[Plan]:
    for number in range(min(speakers, 10)):
        session = number // 2 + 1
        sex = "FM"[number % 2]
        counts = {"impro01": 0, "script01_1": 0}
        for emotion, take in itertools.product(
            [*iemocap.EMOTION_CODES.values(), "xxx"], range(takes)
        ):
            scene = list(counts)[take % 2]
            dialogue = f"Ses0{session}F_{scene}"
            stem = f"Session{session}/sentences/wav/{dialogue}/{dialogue}_{sex}{counts[scene]:03d}"
            counts[scene] += 1
            yield Plan(stem, emotion, number, take)


def _msp_podcast(speakers: int, takes: int) -> Iterator[Plan]:
    for number, (place, emotion), take in itertools.product(
        range(speakers), enumerate(EMOTIONS), range(takes)
    ):
        yield Plan(
            f"Audios/MSP-PODCAST_{number:04d}_{10 * take + place:04d}", emotion, number, take
        )


def _csv(speakers: int, takes: int) -> Iterator[Plan]:
    for number, emotion, take in itertools.product(range(speakers), EMOTIONS, range(takes)):
        yield Plan(f"clips/s{number:02d}_{emotion}_{take}", emotion, number, take)


def _write_evaluations(root: Path, clips: list[Clip]) -> None:
    """The label files of IEMOCAP: a header, then a block for each utterance, which ends with the
    lines of raters.
    """
    codes = {emotion: code for code, emotion in iemocap.EMOTION_CODES.items()}
    dialogues: dict[Path, list[Clip]] = {}
    for clip in clips:
        table = clip.path.parents[3] / "dialog" / "EmoEvaluation" / f"{clip.path.parent.name}.txt"
        dialogues.setdefault(table, []).append(clip)
    for table, own in dialogues.items():
        lines = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""]
        start = 0.0
        for clip in own:
            end = start + clip.seconds
            label = codes.get(clip.emotion, "xxx")
            place = len(codes) if label == "xxx" else list(codes.values()).index(label)
            ratings = f"[{2 + place / 4:.4f}, {3 + place / 4:.4f}, {3.5 - place / 4:.4f}]"
            lines.append(f"[{start:.4f} - {end:.4f}]\t{clip.path.stem}\t{label}\t{ratings}")
            lines += [f"C-E{rater}:\tNeutral;\t()" for rater in (2, 3, 4)]
            lines += [
                f"A-E{rater}:\tval {val}; act 3; dom  {dom};\t()"
                for rater, val, dom in ((3, 2, 3), (4, 3, 4))
            ]
            lines.append("")
            start = end
        table.parent.mkdir(parents=True, exist_ok=True)
        table.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _write_consensus(root: Path, clips: list[Clip]) -> None:
    """The consensus labels of MSP-Podcast; the first half of the speakers is Train, the others are
    in turn.
    """
    codes = {emotion: code for code, emotion in msp_podcast.EMOTION_CODES.items()}
    rows = []
    speakers = list(dict.fromkeys(clip.speaker for clip in clips))
    for clip in clips:
        place = EMOTIONS.index(clip.emotion)
        number = speakers.index(clip.speaker)
        partition = "Train" if number < len(speakers) / 2 else ("Development", "Test1")[number % 2]
        ratings = [3 + place / 2, 6 - place / 2, 2 + place / 2]
        rows.append(
            [clip.path.name, codes[clip.emotion], *ratings, number, clip.sex.title(), partition]
        )
    (root / "Labels").mkdir()
    header = ["FileName", "EmoClass", "EmoAct", "EmoVal", "EmoDom", "SpkrID", "Gender", "Split_Set"]
    write_csv(root / "Labels" / "labels_consensus.csv", header, rows)


def _write_table(root: Path, clips: list[Clip]) -> None:
    rows = []
    for clip in clips:
        decibel = 10 * np.log10(np.mean(soundfile.read(clip.path)[0] ** 2))
        session = "morning" if clip.speaker < "s03" else "evening"
        path = clip.path.relative_to(root).as_posix()
        rows.append([path, clip.emotion, clip.speaker, clip.sex, session, f"{decibel:.1f}"])
    write_csv(root / "clips.csv", ["path", "label", "speaker", "sex", "session", "loudness"], rows)


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Write a table with a header line."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


_PLANS = {"ravdess": _ravdess, "cremad": _cremad, "tess": _tess, "savee": _savee, "emodb": _emodb}
_PLANS |= {"iemocap": _iemocap, "msp_podcast": _msp_podcast, "csv": _csv}
# The files beside the audio, of corpora that have some.
_TABLES = {"csv": _write_table, "iemocap": _write_evaluations, "msp_podcast": _write_consensus}
