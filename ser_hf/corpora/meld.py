"""MELD: the Multimodal EmotionLines Dataset.

13,708 utterances of 1,433 dialogues of the television series Friends, in seven emotions, labelled from text, sound and
picture together: 9,989 for training, 1,109 for validation, 2,610 for test. Acted for an audience: laughter, music and
other voices are in the clips, and half of them are neutral.

License: GPL-3.0 as the page says; the recordings belong to their makers. Taken as non-commercial here.

Layout: `train_sent_emo.csv`, `dev_sent_emo.csv` and `test_sent_emo.csv` with a row an utterance, and its film as
`dia0_utt0.mp4` in `train_splits`, `dev_splits_complete` and `output_repeated_splits_test`. Extract
the audio of the films first, into the same folders or folders whose names begin alike (train, dev,
output_repeated_splits_test or test):

    for f in */dia*.mp4; do ffmpeg -i "$f" -vn -ac 1 -ar 16000 "${f%.mp4}.wav"; done

Quirks:
- The film of `dia125_utt3` (train) is damaged, that of `dia110_utt7` (dev) is not in the release. Both are left out,
  and so are files without a row, such as `final_videos_testdia0_utt0`.
- Speakers are names of characters. The six friends are in all splits, so the official splits are speaker-dependent:
  the protocol `column` (by `split`) needs `shared_speakers: true`. A Waitress in two dialogues may be two people.
"""

import re
from pathlib import Path
from typing import Any, Literal

from ..utils.errors import UserError
from ..utils.files import read_table
from .files import audio_files
from .schema import Clip, Listing

LICENSE = "gpl-3.0"
NON_COMMERCIAL = True
LANGUAGE = "en"
TITLE = "MELD"
URL = "https://affective-meld.github.io"
CITATION = (
    "Poria S, Hazarika D, Majumder N, Naik G, Cambria E, Mihalcea R (2019). MELD: A Multimodal Multi-Party Dataset "
    "for Emotion Recognition in Conversations. ACL 2019: 527-536."
)
ACTED = True

EMOTION_CODES = {
    "anger": "angry",
    "disgust": "disgust",
    "fear": "fear",
    "joy": "happy",
    "neutral": "neutral",
    "sadness": "sad",
    "surprise": "surprise",
}
# Split -> its table, and the beginnings of its folders' names.
PARTS = {
    "train": ("train_sent_emo.csv", ("train",)),
    "validation": ("dev_sent_emo.csv", ("dev",)),
    "test": ("test_sent_emo.csv", ("output_repeated_splits_test", "test")),
}
COLUMNS = ("Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID", "Season", "Episode")
KNOWN_BAD = {
    ("train", "dia125_utt3"): "its film is damaged",
    ("validation", "dia110_utt7"): "its film is not in the release",
}
GRAMMAR = re.compile(r"dia(?P<dialogue>[0-9]+)_utt(?P<utterance>[0-9]+)", re.ASCII)


def parse(root: str | Path | None, on_unknown: Literal["error", "skip"] = "error") -> Listing:
    """Read the utterances of the tables below `root`; of the splits that have a table.

    Args:
        on_unknown: with ``"skip"``, utterances without a file of audio are left out.
    """
    if root is None or not Path(root).is_dir():
        raise UserError(f"corpus.root: {root or 'missing'}; MELD needs the folder with its tables and audio")
    root = Path(root)
    tables = {part: sorted(root.rglob(name), key=lambda path: len(path.parts)) for part, (name, _) in PARTS.items()}
    if not any(tables.values()):
        raise UserError(f"corpus.root: {root} holds none of {', '.join(name for name, _ in PARTS.values())}")
    audio = _by_part(root)
    clips, skipped, seen = [], [], set()
    for part, table in ((part, found[0]) for part, found in tables.items() if found):
        for line, row in _rows(table):
            where, name = f"{table}, line {line}", f"dia{row['Dialogue_ID']}_utt{row['Utterance_ID']}"
            if (part, name) in KNOWN_BAD:
                skipped.append((where, KNOWN_BAD[part, name]))
            elif (part, name) in audio:
                seen.add(audio[part, name])
                clips.append(_clip(row, where, audio[part, name], part, name))
            elif on_unknown == "skip":
                skipped.append((where, "no such file"))
            else:
                raise UserError(
                    f"{where}: no audio {name}.wav (or .flac) in a folder that begins with {PARTS[part][1][0]} below "
                    f"{root}; extract it from the films with ffmpeg (the docstring of ser_hf.corpora.meld has the "
                    "line), or set corpus.on_unknown: skip"
                )
    skipped += [(str(path), "not in any table") for path in audio_files(root, TITLE) if path not in seen]
    return Listing("meld", clips, skipped)


def _clip(row: dict[str, str | None], where: str, path: Path, part: str, name: str) -> Clip:
    emotion = EMOTION_CODES.get((row["Emotion"] or "").lower())
    if emotion is None or not row["Speaker"]:
        raise UserError(f"{where}: expected a speaker and one of {', '.join(EMOTION_CODES)}, got {row['Emotion']!r}")
    return Clip(
        path=str(path),
        emotion=emotion,
        word=row["Emotion"],
        speaker=f"meld:{row['Speaker']}",
        id=f"meld/{part}/{name}",
        language=LANGUAGE,
        sentence=row["Utterance"],
        extra={
            "split": part,
            "dialogue": f"{part} {row['Dialogue_ID']}",
            "sentiment": row["Sentiment"],
            "season": row["Season"],
            "episode": row["Episode"],
        },
    )


def _rows(table: Path) -> list[tuple[int, dict[str, Any]]]:
    content = table.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:  # some copies went through a Windows program
        text = content.decode("cp1252", errors="replace")
    columns, rows = read_table(table, text.replace("\r\n", "\n"))
    missing = [name for name in COLUMNS if name not in columns]
    if missing:
        raise UserError(f"{table}: not MELD's table, it lacks the column {missing[0]!r}; take it from {URL}")
    return [(line, dict.fromkeys(COLUMNS) | row) for line, row in rows]


def _by_part(root: Path) -> dict[tuple[str, str], Path]:
    """Split and name of an utterance -> its audio."""
    found: dict[tuple[str, str], Path] = {}
    for path in audio_files(root, TITLE):
        folders = [folder.lower() for folder in reversed(path.relative_to(root).parts[:-1])]
        part = next((part for folder in folders for part in PARTS if folder.startswith(PARTS[part][1])), None)
        if part and GRAMMAR.fullmatch(path.stem):
            first = found.setdefault((part, path.stem), path)
            if first != path:
                raise UserError(f"{path}: {path.stem} of {part} is also at {first}; remove one of the two")
    return found
