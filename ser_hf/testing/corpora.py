"""Small corpora of synthetic speech in the official layout and file names of real ones.

- ``ravdess``: ``Actor_01/03-01-05-01-01-01-01.wav``; with `song` the sung clips (``03-02-...``) as well.
- ``cremad``: ``AudioWAV/1001_DFA_ANG_XX.wav``; with `votes` the release's ``processedResults/tabulatedVotes.csv``, ten
  raters for each clip and mode, who agree more often if they perceive more.
- ``tess``: ``OAF_Fear/OAF_back_fear.wav`` with the capitals of the release, and from seven takes on the misspelt
  ``OA_bite_neutral.wav``; flat, all in one folder.
- ``savee``: ``AudioData/DC/a01.wav``; flat, ``ALL/DC_a01.wav``.
- ``emodb``: ``wav/03a01Wa.wav``.
- ``iemocap``: ``Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav`` with
  ``Session1/dialog/EmoEvaluation/Ses01F_impro01.txt``. Takes are improvised and scripted in turn; each actor also
  has utterances without a majority (``xxx``).
- ``esd``: ``0011/Angry/0011_000351.wav``, the speakers of English first.
- ``meld``: ``train_splits/dia0_utt0.wav`` with the three tables of the release; the characters are in all splits.
- ``audiofolder``: ``train/angry/s00_0.wav``, the last two speakers in ``validation`` and ``test``, with
  ``metadata.csv`` (file_name, speaker, gender).
- ``emobox``: RAVDESS as above below ``audio``, and the metadata of EmoBox in ``data/ravdess``, a fold for every two
  actors; `corpus.root` is the latter, `corpus.audio_root` the former.
- ``hub``: ``data/train-00000-of-00001.parquet`` and one for ``test`` (the last speaker), audio inside, with a card.
- ``audformat``: ``clips/s00_angry_0.wav`` with ``db.yaml`` and a table for each split.
- ``csv``: ``clips/s00_angry_0.wav`` with ``clips.csv``, which is `corpus.root`; its columns are path,
  label, speaker, sex, session and loudness (dB relative to full scale).
"""

import csv
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
from datasets import Audio, ClassLabel, Features, Value

from ..corpora import cremad, emodb, esd, iemocap, meld, ravdess, savee, tess
from ..corpora.synthetic import EMOTIONS, utterance, voice

# The synthetic voices have six emotions; others are spoken as a similar one.
_SIMILAR = {
    "calm": "neutral",
    "surprise": "happy",
    "boredom": "neutral",
    "excited": "happy",
    "frustrated": "angry",
    "xxx": "neutral",
}
_TESS_WORDS = "back bar base bath bean beg bite boat bone book bought burn cab calm came cause chain chair chalk chat"
_TESS_FOLDERS = {
    "OAF": {"fear": "Fear", "sad": "Sad", "ps": "Pleasant_surprise"},
    "YAF": {"ps": "pleasant_surprised"},
}


class _Plan(NamedTuple):
    """A clip to write: its path below the root without suffix, and what the synthetic voice says."""

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
    """Writes synthetic speech below `root`, with the folders, file names and tables of the official release.

    Args:
        name: a corpus of the list at the top of this module.
        speakers: at most as many as the release has; the first ones are used.
        takes: clips per actor and emotion, at most as many as the release has names for (TESS: 20).
        sampling_rate: Hz of the files.
        suffix: ``.wav`` or ``.flac``.
        seed: of the voices and the votes; the same arguments give the same files.
        options: ``song=True`` (RAVDESS) writes the sung clips too, ``votes=True`` (CREMA-D) the table of votes,
            ``layout="flat"`` (TESS, SAVEE) the layout of mirrors.

    Returns:
        The audio files in the order of writing (of ``hub`` the parquet files).

    Raises:
        ValueError: for an unknown corpus, or an option that the corpus does not have.
    """
    if name not in _PLANS:
        raise ValueError(f"unknown corpus {name!r}; choose one of {', '.join(_PLANS)}")
    for option in options:
        if name not in {"song": ["ravdess"], "votes": ["cremad"], "layout": ["tess", "savee"]}.get(option, ()):
            raise ValueError(f"{option}: not an option of {name}")
    votes, root = options.pop("votes", False), Path(root)
    clips = []
    for plan in _PLANS[name](speakers, takes, **options):
        path = root / f"{plan.stem}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        spoken = _SIMILAR.get(plan.emotion, plan.emotion)
        # A similar emotion has other takes, so that no recording has two labels.
        take = plan.take + 1000 * (list(_SIMILAR).index(plan.emotion) + 1 if spoken != plan.emotion else 0)
        samples = utterance(plan.voice, spoken, take, seed, sampling_rate)
        soundfile.write(path, samples, sampling_rate, subtype="PCM_16")
        sex, seconds = voice(plan.voice, seed).sex, len(samples) / sampling_rate
        clips.append(Clip(path, plan.emotion, f"s{plan.voice:02d}", sex, seconds, sampling_rate))
    if votes:
        _write_votes(root, clips, seed)
    parquet = _TABLES[name](root, clips) if name in _TABLES else None
    return parquet or [clip.path for clip in clips]


def _ravdess(speakers: int, takes: int, song: bool = False) -> Iterator[_Plan]:
    channels = ("01", "02") if song else ("01",)
    for actor, channel in itertools.product(range(1, min(speakers, 24) + 1), channels):
        for code, emotion in ravdess.EMOTION_CODES.items():
            # Official clips of an emotion: statements, repetitions, and intensities where there are two.
            names = [f"{i}-{s}-{r}" for i in ("01", "02") for s in ("01", "02") for r in ("01", "02")]
            for take, name in enumerate(names[: min(takes, 4 if emotion == "neutral" else 8)]):
                stem = Path(f"Actor_{actor:02d}/03-{channel}-{code}-{name}-{actor:02d}")
                if ravdess.read_name(stem):  # disgust and surprise are not sung, and not by every actor
                    yield _Plan(str(stem), emotion, actor, take)


def _cremad(speakers: int, takes: int) -> Iterator[_Plan]:
    for actor in range(1001, 1001 + min(speakers, 91)):
        for code, emotion in cremad.EMOTION_CODES.items():
            for take, sentence in enumerate(list(cremad.SENTENCES)[:takes]):
                level = "MD" if sentence == "IEO" and code != "NEU" else "XX"  # the sentence with levels
                yield _Plan(f"AudioWAV/{actor}_{sentence}_{code}_{level}", emotion, actor - 1000, take)


def _tess(speakers: int, takes: int, layout: str = "release") -> Iterator[_Plan]:
    for number, speaker in enumerate(list(tess.AGES)[:speakers]):
        for code, emotion in tess.EMOTION_CODES.items():
            for take, word in enumerate(_TESS_WORDS.split()[:takes]):
                folder = f"{speaker}_{_TESS_FOLDERS[speaker].get(code, code)}" if layout == "release" else "TESS"
                misspelt = (speaker, word, code) == ("OAF", "bite", "neutral")
                yield _Plan(f"{folder}/{'OA' if misspelt else speaker}_{word}_{code}", emotion, 2 * number, take)


def _savee(speakers: int, takes: int, layout: str = "release") -> Iterator[_Plan]:
    for number, speaker in enumerate(savee.SPEAKERS[:speakers]):
        place = f"AudioData/{speaker}/" if layout == "release" else f"ALL/{speaker}_"
        for code, emotion in savee.EMOTION_CODES.items():
            for take in range(min(takes, 30 if emotion == "neutral" else 15)):
                yield _Plan(f"{place}{code}{take + 1:02d}", emotion, 2 * number + 1, take)


def _emodb(speakers: int, takes: int) -> Iterator[_Plan]:
    names = [(sentence, version) for version in emodb.VERSIONS for sentence in emodb.SENTENCES]
    for number, (speaker, (sex, _)) in enumerate(list(emodb.SPEAKERS.items())[:speakers]):
        for code, emotion in emodb.EMOTION_CODES.items():
            for take, (sentence, version) in enumerate(names[:takes]):
                yield _Plan(f"wav/{speaker}{sentence}{code}{version}", emotion, 2 * number + (sex == "male"), take)


def _iemocap(speakers: int, takes: int) -> Iterator[_Plan]:
    for number in range(min(speakers, 10)):
        session, sex = number // 2 + 1, "FM"[number % 2]
        counts = {"impro01": 0, "script01_1": 0}
        for emotion, take in itertools.product([*iemocap.EMOTION_CODES.values(), "xxx"], range(takes)):
            scene = list(counts)[take % 2]
            dialogue = f"Ses0{session}F_{scene}"
            stem = f"Session{session}/sentences/wav/{dialogue}/{dialogue}_{sex}{counts[scene]:03d}"
            counts[scene] += 1
            yield _Plan(stem, emotion, number, take)


def _esd(speakers: int, takes: int) -> Iterator[_Plan]:
    for number in range(min(speakers, 20)):
        speaker = f"00{(number + 10) % 20 + 1:02d}"
        for place, (word, emotion) in enumerate(esd.EMOTION_CODES.items()):
            for take in range(min(takes, esd.SENTENCES)):
                yield _Plan(
                    f"{speaker}/{word}/{speaker}_{place * esd.SENTENCES + take + 1:06d}", emotion, number, take
                )


def _meld(speakers: int, takes: int) -> Iterator[_Plan]:
    folders = ("train_splits", "dev_splits_complete", "output_repeated_splits_test")
    for number, emotion in itertools.product(range(speakers), meld.EMOTION_CODES.values()):
        for folder, take in itertools.product(folders, range(takes)):
            utterance = list(meld.EMOTION_CODES.values()).index(emotion) * takes + take
            yield _Plan(f"{folder}/dia{number}_utt{utterance}", emotion, number, take + takes * folders.index(folder))


def _audiofolder(speakers: int, takes: int) -> Iterator[_Plan]:
    for number, emotion, take in itertools.product(range(speakers), EMOTIONS, range(takes)):
        part = {speakers - 1: "test", speakers - 2: "validation"}.get(number, "train")
        yield _Plan(f"{part}/{emotion}/s{number:02d}_{take}", emotion, number, take)


def _emobox(speakers: int, takes: int) -> Iterator[_Plan]:
    for plan in _ravdess(speakers, takes):
        yield plan._replace(stem=f"audio/{plan.stem}")


def _plain(speakers: int, takes: int) -> Iterator[_Plan]:
    for number, emotion, take in itertools.product(range(speakers), EMOTIONS, range(takes)):
        yield _Plan(f"clips/s{number:02d}_{emotion}_{take}", emotion, number, take)


def _write_votes(root: Path, clips: list[Clip], seed: int) -> None:
    """CREMA-D's `tabulatedVotes.csv`: its columns, a row a mode and clip, -1 where an emotion has no rating."""
    letters = {code[0]: emotion for code, emotion in cremad.EMOTION_CODES.items()}
    ratings = ["meanEmoResp", *(f"mean{word}Resp" for word in ("Anger", "Disgust", "Fear", "Happy", "Neutral", "Sad"))]
    ratings = [f"{name}{norm}" for norm in ("", "Norm") for name in (*ratings, "medianEmoResp")]
    generator = np.random.default_rng([seed, 1])
    rows = []
    for mode, agreeing in ((1, 0.35), (2, 0.45), (3, 0.6)):  # voice, face, both
        for number, clip in enumerate(clips, start=1):
            shares = [agreeing if emotion == clip.emotion else (1 - agreeing) / 5 for emotion in letters.values()]
            counts = [int(count) for count in generator.multinomial(10, shares)]
            winners = [letter for letter, count in zip(letters, counts, strict=True) if count == max(counts)]
            by_emotion = [60.0 if count else -1 for count in counts]
            row = [str(100000 * mode + number), *counts, clip.path.stem, 10, max(counts) / 10, ":".join(winners)]
            rows.append([*row, *[60.0, *by_emotion, 60.0] * 2])
    header = ["", *letters, "fileName", "numResponses", "agreement", "emoVote", *ratings]
    (root / "processedResults").mkdir(exist_ok=True)
    _write_csv(root / "processedResults" / cremad.VOTE_TABLE, header, rows, csv.QUOTE_NONNUMERIC)


def _write_evaluations(root: Path, clips: list[Clip]) -> None:
    """The label files of IEMOCAP: a header, then a block for each utterance, which ends with the lines of raters."""
    codes = {emotion: code for code, emotion in iemocap.EMOTION_CODES.items()}
    dialogues: dict[Path, list[Clip]] = {}
    for clip in clips:
        table = clip.path.parents[3] / "dialog" / "EmoEvaluation" / f"{clip.path.parent.name}.txt"
        dialogues.setdefault(table, []).append(clip)
    for table, own in dialogues.items():
        lines, start = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""], 0.0
        for clip in own:
            end, label = start + clip.seconds, codes.get(clip.emotion, "xxx")
            lines.append(f"[{start:.4f} - {end:.4f}]\t{clip.path.stem}\t{label}\t[2.5000, 3.0000, 3.5000]")
            lines += [f"C-E{rater}:\tNeutral;\t()" for rater in (2, 3, 4)]
            lines += [f"A-E{rater}:\tval {val}; act 3; dom  {dom};\t()" for rater, val, dom in ((3, 2, 3), (4, 3, 4))]
            lines.append("")
            start = end
        table.parent.mkdir(parents=True, exist_ok=True)
        _write_lines(table, lines)


def _write_table(root: Path, clips: list[Clip]) -> None:
    rows = []
    for clip in clips:
        decibel = 10 * np.log10(np.mean(soundfile.read(clip.path)[0] ** 2))
        session = "morning" if clip.speaker < "s03" else "evening"
        path = clip.path.relative_to(root).as_posix()
        rows.append([path, clip.emotion, clip.speaker, clip.sex, session, f"{decibel:.1f}"])
    _write_csv(root / "clips.csv", ["path", "label", "speaker", "sex", "session", "loudness"], rows)


def _write_emobox(root: Path, clips: list[Clip]) -> None:
    words = {emotion: emotion.capitalize() for emotion in ravdess.EMOTION_CODES.values()}
    words |= {"fear": "Fearful", "surprise": "Surprised"}
    clips = [clip._replace(speaker=clip.path.stem[-2:]) for clip in clips]
    actors = sorted({clip.speaker for clip in clips})
    folds = [actors[i : i + 2] for i in range(0, len(actors), 2)]
    paths = [
        f"downloads/ravdess/{clip.path.relative_to(root / 'audio').with_suffix('.wav').as_posix()}" for clip in clips
    ]
    write_emobox(root / "data" / "ravdess", list(zip(clips, paths, strict=True)), folds, words)


def _write_hub(root: Path, clips: list[Clip]) -> list[Path]:
    last = max(clip.speaker for clip in clips)
    written = []
    for part in ("train", "test"):
        path = root / "data" / f"{part}-00000-of-00001.parquet"
        _write_parquet(path, [clip for clip in clips if (clip.speaker == last) == (part == "test")], EMOTIONS)
        written.append(path)
    for clip in clips:
        clip.path.unlink()
    clips[0].path.parent.rmdir()
    lists = "".join(f"  - split: {part}\n    path: data/{part}-*\n" for part in ("train", "test"))
    card = f"---\nconfigs:\n- config_name: default\n  data_files:\n{lists}---\n\n# Generated\n"
    (root / "README.md").write_text(card, encoding="utf-8")
    return written


def _write_metadata(root: Path, clips: Sequence[Clip]) -> None:
    """`metadata.csv` of audiofolder; the folders name the labels."""
    rows = [[clip.path.relative_to(root).as_posix(), clip.speaker, clip.sex] for clip in clips]
    _write_csv(root / "metadata.csv", ["file_name", "speaker", "gender"], rows)


def _write_meld_tables(root: Path, clips: Sequence[Clip]) -> None:
    """The three tables of MELD, one for each split; the folder of a clip is its split."""
    words = {emotion: word for word, emotion in meld.EMOTION_CODES.items()}
    begins = {folders[0]: table for table, folders in meld.PARTS.values()}
    header = ["Sr No.", *meld.COLUMNS, "StartTime", "EndTime"]
    for begin, table in begins.items():
        rows = []
        for clip in clips:
            if clip.path.parent.name.startswith(begin):
                dialogue, utterance = meld.GRAMMAR.fullmatch(clip.path.stem).groups()
                said = f"Oh, {clip.emotion}; take {utterance}."
                rows.append([len(rows) + 1, said, clip.speaker, words[clip.emotion], "neutral", dialogue, utterance])
                rows[-1] += [4, 7, "00:00:00,000", "00:00:01,000"]
        _write_csv(root / table, header, rows)


def write_emobox(
    folder: str | Path, clips: Sequence[tuple[Clip, str]], folds: Sequence[Sequence[str]], words: dict[str, str]
) -> Path:
    """Writes the metadata that EmoBox publishes for a corpus. The name of `folder` is the name of the corpus.

    Args:
        clips: each with the path of its audio in EmoBox, such as ``downloads/ravdess/Actor_01/x.wav``.
        folds: the test speakers of each fold.
        words: emotion -> the word of the corpus, which `label_map.json` translates.
    """
    folder = Path(folder)
    name = folder.name
    folder.mkdir(parents=True, exist_ok=True)
    lines, spoken = {}, []
    for clip, wav in clips:
        key = f"{name}-{Path(wav).stem}"
        content = {"key": key, "dataset": name, "wav": wav, "type": "raw", "sample_rate": clip.sampling_rate}
        content |= {"num_frame": clip.seconds * clip.sampling_rate, "task": "category", "length": clip.seconds}
        lines[key] = json.dumps(content | {"emo": words[clip.emotion], "channel": 1})
        entry = f"<id={key},lang=en,spk={clip.speaker},emotion={words[clip.emotion]}>"
        spoken.append(f"{key} 1 {clip.speaker} 0 {clip.seconds} {entry} {words[clip.emotion]}")
    speaker_of = dict(zip(lines, [clip.speaker for clip, _ in clips], strict=True))
    _write_lines(folder / f"{name}.jsonl", list(lines.values()))
    _write_lines(folder / "data.seg.wrd.stm", spoken)
    translated = {word: emotion.capitalize() for emotion, word in words.items()}
    (folder / "label_map.json").write_text(json.dumps(translated, indent=4), encoding="utf-8")
    for number, tested in enumerate(folds, start=1):
        fold = folder / f"fold_{number}"
        fold.mkdir(exist_ok=True)
        for part, wanted in (("train", False), ("test", True)):
            own = [line for key, line in lines.items() if (speaker_of[key] in tested) == wanted]
            _write_lines(fold / f"{name}_{part}_fold_{number}.jsonl", own)
    return folder


def _write_parquet(path: Path, clips: Sequence[Clip], labels: Sequence[str]) -> None:
    """A parquet file as `datasets` writes it: audio inside, labels as class numbers, features in the metadata."""
    path.parent.mkdir(parents=True, exist_ok=True)
    features = Features(
        {
            "audio": Audio(),
            "emotion": ClassLabel(names=list(labels)),
            **dict.fromkeys(("speaker_id", "gender"), Value("string")),
            "duration": Value("float64"),
        }
    )
    columns = {
        "audio": [{"bytes": clip.path.read_bytes(), "path": clip.path.name} for clip in clips],
        "emotion": [labels.index(clip.emotion) for clip in clips],
        "speaker_id": [clip.speaker for clip in clips],
        "gender": [clip.sex for clip in clips],
        "duration": [clip.seconds for clip in clips],
    }
    pq.write_table(pa.table(columns, schema=features.arrow_schema), path, row_group_size=5)


def write_audformat(root: Path, clips: Sequence[Clip], segmented: bool = False) -> None:
    """Writes an audformat database: `db.yaml` and a table of labels for each split."""
    labels = sorted({clip.emotion for clip in clips})
    sexes = {clip.speaker: clip.sex for clip in clips}
    speakers = sorted(sexes)
    parts = {"train": speakers[:-2], "dev": speakers[-2:-1], "test": speakers[-1:]}
    kind = "segmented" if segmented else "filewise"
    lines = ["name: generated", "source: ser_hf.testing", "usage: unrestricted", "schemes:"]
    lines += ["  emotion:", "    dtype: str", "    labels:", *(f"    - {label}" for label in labels)]
    lines += ["  speaker:", "    dtype: str", "    labels:"]
    for speaker in speakers:
        lines += [f"      {speaker}:", f"        gender: {sexes[speaker]}"]
    lines += ["splits:", *(line for part in parts for line in (f"  {part}:", f"    type: {part}"))]
    lines.append("tables:")
    columns = ["    columns:", "      emotion:", "        scheme_id: emotion", "      speaker:"]
    for part, own in parts.items():
        lines += [f"  emotion.{part}:", f"    type: {kind}", f"    split_id: {part}"]
        lines += [*columns, "        scheme_id: speaker"]
        rows = []
        for clip in clips:
            if clip.speaker in own:
                times = ["0 days 00:00:00.100000", f"0 days 00:00:{clip.seconds - 0.1:09.6f}"] if segmented else []
                rows.append([clip.path.relative_to(root).as_posix(), *times, clip.emotion, clip.speaker])
        header = ["file", *(["start", "end"] if segmented else []), "emotion", "speaker"]
        _write_csv(root / f"db.emotion.{part}.csv", header, rows)
    _write_lines(root / "db.yaml", lines)


def _write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]], quoting: int = 0) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n", quoting=quoting)
        writer.writerow(header)
        writer.writerows(rows)


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


_PLANS = {
    "ravdess": _ravdess,
    "cremad": _cremad,
    "tess": _tess,
    "savee": _savee,
    "emodb": _emodb,
    "iemocap": _iemocap,
    "esd": _esd,
    "meld": _meld,
    "audiofolder": _audiofolder,
    "emobox": _emobox,
    **dict.fromkeys(("hub", "audformat", "csv"), _plain),
}
# The files beside the audio, of corpora that have some.
_TABLES = {
    "audformat": write_audformat,
    "audiofolder": _write_metadata,
    "csv": _write_table,
    "emobox": _write_emobox,
    "hub": _write_hub,
    "iemocap": _write_evaluations,
    "meld": _write_meld_tables,
}
