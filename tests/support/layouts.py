"""Small corpora in the layouts of audiofolder, EmoBox, the Hub and audformat, and of mirrors, for
tests of their readers.

- ``audiofolder``: ``train/angry/s00_0.wav``, the last two speakers in ``validation`` and ``test``,
  with ``metadata.csv`` (file_name, speaker, gender).
- ``emobox``: RAVDESS below ``audio``, and the metadata of EmoBox in ``data/ravdess``, a fold for
  every two actors; `corpus.root` is the latter, `corpus.audio_root` the former.
- ``hub``: ``data/train-00000-of-00001.parquet`` and one for ``test`` (the last speaker), audio
  inside, with a card.
- ``audformat``: ``clips/s00_angry_0.wav`` with ``db.yaml`` and a table for each split.
"""

import csv
import dataclasses
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Audio, ClassLabel, Features, Value

from ser_hf.corpora import cremad, ravdess
from ser_hf.corpora.synthesis import EMOTIONS
from support.testing.corpora import Clip, Plan, _csv, _ravdess, write_clips, write_csv


@dataclasses.dataclass(frozen=True)
class Mirror:
    """A layout in which a mirror has a corpus.

    Attributes:
        corpus: the name of the corpus.
        places: a function from the official path of a file to its paths in the mirror.
    """

    corpus: str
    places: Callable[[PurePosixPath], list[str]]


def _doubled_ravdess(path: PurePosixPath) -> list[str]:
    return [f"{path}", f"audio_speech_actors_01-24/{path}"]


def _nested_ravdess(path: PurePosixPath) -> list[str]:
    return [f"ravdess-emotional-speech-audio/audio_speech_actors_01-24/{path}"]


def _doubled_tess(path: PurePosixPath) -> list[str]:
    folder = "TESS Toronto emotional speech set data"
    place = f"{path.parent.name}/{path.name}"
    return [f"{folder}/{place}", f"{folder.lower()}/{folder}/{place}"]


def _savee_name(path: PurePosixPath) -> str:
    return f"{path.parent.name}_{path.name}"


def _flat_savee(path: PurePosixPath) -> list[str]:
    return [f"ALL/{_savee_name(path)}"]


def _doubled_savee(path: PurePosixPath) -> list[str]:
    return [f"ALL/{_savee_name(path)}", f"AudioData/{path.parent.name}/{path.name}"]


def _flat(path: PurePosixPath) -> list[str]:
    return [path.name]


def _nested_twice(path: PurePosixPath) -> list[str]:
    return [f"archive/{path.parent.name}/{path.parent.name}/{path.name}"]


def _lower_case(path: PurePosixPath) -> list[str]:
    return [f"{path}".lower()]


def _lower_case_and_flat_savee(path: PurePosixPath) -> list[str]:
    return [f"all/{_savee_name(path).lower()}"]


def _upper_case(path: PurePosixPath) -> list[str]:
    return [f"{path}".upper()]


# The layouts of the mirrors on Kaggle, and changes that people make to them.
MIRRORS = {
    "ravdess: doubled": Mirror("ravdess", _doubled_ravdess),
    "ravdess: nested": Mirror("ravdess", _nested_ravdess),
    "ravdess: flat": Mirror("ravdess", _flat),
    "cremad: nested twice": Mirror("cremad", _nested_twice),
    "cremad: lower case": Mirror("cremad", _lower_case),
    "cremad: flat": Mirror("cremad", _flat),
    "tess: doubled": Mirror("tess", _doubled_tess),
    "tess: lower case": Mirror("tess", _lower_case),
    "tess: flat": Mirror("tess", _flat),
    "savee: ALL": Mirror("savee", _flat_savee),
    "savee: ALL and AudioData": Mirror("savee", _doubled_savee),
    "savee: lower case": Mirror("savee", _lower_case),
    "savee: all, lower case": Mirror("savee", _lower_case_and_flat_savee),
    "emodb: nested twice": Mirror("emodb", _nested_twice),
    "emodb: lower case": Mirror("emodb", _lower_case),
    "emodb: upper case": Mirror("emodb", _upper_case),
}


def write_mirror(layout: str, root: Path, contents: Mapping[str, bytes]) -> list[Path]:
    """Writes files in a layout of `MIRRORS`, and returns the sorted paths of the second copies.

    Args:
        contents: the official path of each file, and its content.
    """
    copies = []
    for path, content in contents.items():
        places = MIRRORS[layout].places(PurePosixPath(path))
        for place in places:
            target = root / place
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        copies += [root / place for place in places[1:]]
    return sorted(copies)


def write_layout(
    name: str, root: str | Path, speakers: int = 6, takes: int = 2, sampling_rate: int = 16000
) -> None:
    """Writes synthetic speech below `root` in a layout of the list above."""
    plans = {"audiofolder": _audiofolder, "emobox": _emobox}
    tables = {"audformat": write_audformat, "audiofolder": _write_metadata, "emobox": _write_emobox}
    tables["hub"] = _write_hub
    clips = write_clips(Path(root), plans.get(name, _csv)(speakers, takes), sampling_rate)
    tables[name](Path(root), clips)


def write_votes(root: Path, clips: Sequence[Path], seed: int = 0) -> None:
    """CREMA-D's table of votes: ten raters for each clip and mode, who agree more often if they
    perceive more.
    """
    letters = {code[0]: emotion for code, emotion in cremad.EMOTION_CODES.items()}
    generator = np.random.default_rng([seed, 1])
    lines = [["", *letters, "fileName"]]
    for mode, agreeing in ((1, 0.35), (2, 0.45), (3, 0.6)):  # voice, face, both
        for number, clip in enumerate(clips, start=1):
            intended = cremad.read_name(clip).emotion
            shares = [
                agreeing if emotion == intended else (1 - agreeing) / 5
                for emotion in letters.values()
            ]
            lines.append(
                [
                    str(100000 * mode + number),
                    *generator.multinomial(10, shares).tolist(),
                    clip.stem,
                ]
            )
    folder = root / "processedResults"
    folder.mkdir()
    with (folder / cremad.VOTE_TABLE).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_NONNUMERIC).writerows(lines)


def _audiofolder(speakers: int, takes: int) -> Iterator[Plan]:
    for number, emotion, take in itertools.product(range(speakers), EMOTIONS, range(takes)):
        part = {speakers - 1: "test", speakers - 2: "validation"}.get(number, "train")
        yield Plan(f"{part}/{emotion}/s{number:02d}_{take}", emotion, number, take)


def _emobox(speakers: int, takes: int) -> Iterator[Plan]:
    for plan in _ravdess(speakers, takes):
        yield plan._replace(stem=f"audio/{plan.stem}")


def _write_emobox(root: Path, clips: list[Clip]) -> None:
    words = {emotion: emotion.capitalize() for emotion in ravdess.EMOTION_CODES.values()}
    words |= {"fear": "Fearful", "surprise": "Surprised"}
    clips = [clip._replace(speaker=clip.path.stem[-2:]) for clip in clips]
    actors = sorted({clip.speaker for clip in clips})
    folds = [actors[i : i + 2] for i in range(0, len(actors), 2)]
    paths = [
        f"downloads/ravdess/{clip.path.relative_to(root / 'audio').with_suffix('.wav').as_posix()}"
        for clip in clips
    ]
    write_emobox(root / "data" / "ravdess", list(zip(clips, paths, strict=True)), folds, words)


def _write_hub(root: Path, clips: list[Clip]) -> None:
    last = max(clip.speaker for clip in clips)
    for part in ("train", "test"):
        path = root / "data" / f"{part}-00000-of-00001.parquet"
        _write_parquet(
            path, [clip for clip in clips if (clip.speaker == last) == (part == "test")], EMOTIONS
        )
    for clip in clips:
        clip.path.unlink()
    clips[0].path.parent.rmdir()
    lists = "".join(f"  - split: {part}\n    path: data/{part}-*\n" for part in ("train", "test"))
    card = f"---\nconfigs:\n- config_name: default\n  data_files:\n{lists}---\n\n# Generated\n"
    (root / "README.md").write_text(card, encoding="utf-8")


def _write_metadata(root: Path, clips: Sequence[Clip]) -> None:
    """`metadata.csv` of audiofolder; the folders name the labels."""
    rows = [[clip.path.relative_to(root).as_posix(), clip.speaker, clip.sex] for clip in clips]
    write_csv(root / "metadata.csv", ["file_name", "speaker", "gender"], rows)


def write_emobox(
    folder: str | Path,
    clips: Sequence[tuple[Clip, str]],
    folds: Sequence[Sequence[str]],
    words: dict[str, str],
) -> Path:
    """Writes the metadata that EmoBox publishes for a corpus. The name of `folder` is the name of
    the corpus.

    Args:
        clips: each with the path of its audio in EmoBox, such as
            ``downloads/ravdess/Actor_01/x.wav``.
        folds: the test speakers of each fold.
        words: emotion -> the word of the corpus, which `label_map.json` translates.
    """
    folder = Path(folder)
    name = folder.name
    folder.mkdir(parents=True, exist_ok=True)
    lines = {}
    spoken = []
    for clip, wav in clips:
        key = f"{name}-{Path(wav).stem}"
        content = {
            "key": key,
            "dataset": name,
            "wav": wav,
            "type": "raw",
            "sample_rate": clip.sampling_rate,
        }
        content |= {
            "num_frame": clip.seconds * clip.sampling_rate,
            "task": "category",
            "length": clip.seconds,
        }
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
        for part, expected in (("train", False), ("test", True)):
            lines_of_part = [
                line for key, line in lines.items() if (speaker_of[key] in tested) == expected
            ]
            _write_lines(fold / f"{name}_{part}_fold_{number}.jsonl", lines_of_part)
    return folder


def _write_parquet(path: Path, clips: Sequence[Clip], labels: Sequence[str]) -> None:
    """A parquet file as `datasets` writes it: audio inside, labels as class numbers, features in
    the metadata.
    """
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
    lines = ["name: generated", "source: support.testing", "usage: unrestricted", "schemes:"]
    lines += [
        "  emotion:",
        "    dtype: str",
        "    labels:",
        *(f"    - {label}" for label in labels),
    ]
    lines += ["  speaker:", "    dtype: str", "    labels:"]
    for speaker in speakers:
        lines += [f"      {speaker}:", f"        gender: {sexes[speaker]}"]
    lines += ["splits:", *(line for part in parts for line in (f"  {part}:", f"    type: {part}"))]
    lines.append("tables:")
    columns = ["    columns:", "      emotion:", "        scheme_id: emotion", "      speaker:"]
    for part, speakers_of_part in parts.items():
        lines += [f"  emotion.{part}:", f"    type: {kind}", f"    split_id: {part}"]
        lines += [*columns, "        scheme_id: speaker"]
        rows = []
        for clip in clips:
            if clip.speaker in speakers_of_part:
                times = (
                    ["0 days 00:00:00.100000", f"0 days 00:00:{clip.seconds - 0.1:09.6f}"]
                    if segmented
                    else []
                )
                rows.append(
                    [clip.path.relative_to(root).as_posix(), *times, clip.emotion, clip.speaker]
                )
        header = ["file", *(["start", "end"] if segmented else []), "emotion", "speaker"]
        write_csv(root / f"db.emotion.{part}.csv", header, rows)
    _write_lines(root / "db.yaml", lines)


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
