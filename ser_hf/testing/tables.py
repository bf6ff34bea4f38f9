"""What a table tells of small generated corpora: metadata of audiofolder, MELD and EmoBox, parquet, audformat."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Audio, ClassLabel, Features, Value

from ..corpora import meld


class Told(NamedTuple):
    """A generated clip: its file, emotion, speaker's name and sex, seconds and Hz."""

    path: Path
    emotion: str
    speaker: str
    sex: str
    seconds: float
    sampling_rate: int


def write_metadata(root: Path, clips: Sequence[Told]) -> None:
    """audiofolder's `metadata.csv`; labels stay with the folders."""
    rows = [[clip.path.relative_to(root).as_posix(), clip.speaker, clip.sex] for clip in clips]
    _write_csv(root / "metadata.csv", ["file_name", "speaker", "gender"], rows)


def write_meld_tables(root: Path, clips: Sequence[Told]) -> None:
    """MELD's three tables, a row a clip; the folder of a clip tells its part."""
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
    folder: str | Path, clips: Sequence[tuple[Told, str]], folds: Sequence[Sequence[str]], words: dict[str, str]
) -> Path:
    """EmoBox's metadata of a corpus, as its project keeps it, in `folder`, whose name is the corpus's.

    Args:
        clips: each with the path that EmoBox has for its audio, such as ``downloads/ravdess/Actor_01/x.wav``.
        folds: the speakers that each fold tests.
        words: emotion -> the corpus's own word for it, which `label_map.json` translates.
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
        told = f"<id={key},lang=en,spk={clip.speaker},emotion={words[clip.emotion]}>"
        spoken.append(f"{key} 1 {clip.speaker} 0 {clip.seconds} {told} {words[clip.emotion]}")
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


def write_parquet(path: Path, clips: Sequence[Told], labels: Sequence[str], embed: bool = True) -> None:
    """A parquet file as `datasets` pushes one: audio inside, labels as class numbers, features in its metadata."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns: dict[str, list[Any]] = {
        "audio": [{"bytes": clip.path.read_bytes() if embed else None, "path": clip.path.name} for clip in clips],
        "emotion": [labels.index(clip.emotion) for clip in clips],
        "speaker_id": [clip.speaker for clip in clips],
        "gender": [clip.sex for clip in clips],
        "duration": [clip.seconds for clip in clips],
    }
    features = Features(
        {
            "audio": Audio(),
            "emotion": ClassLabel(names=list(labels)),
            "speaker_id": Value("string"),
            "gender": Value("string"),
            "duration": Value("float64"),
        }
    )
    schema = features.arrow_schema
    pq.write_table(pa.table(columns, schema=schema), path, row_group_size=5)


def write_audformat(root: Path, clips: Sequence[Told], segmented: bool = False) -> None:
    """An audformat database: `db.yaml`, a table of labels for each part, a table of speakers."""
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


def _write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
