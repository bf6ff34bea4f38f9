"""Folders of strangers, drawn at random: datasets as the Hub has them, and audformat databases.

`one_dataset` and `one_database` write an example below a folder and read it as `inspect` and
`train` do. They return the message of the `UserError` that refuses it, or None if it is read. No
code of the folder may run, and no file outside of it may be read as data or written.
"""

import bz2
import gzip
import io
import json
import pickle
import random
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
import yaml

from ser_hf.audio import prepare
from ser_hf.corpora import load_corpus

from .damage import Payload
from .fuzz_inputs import RATE, damage, message_of

_LABELS = ("angry", "happy", "sad", 0, 1, -1, None, "wut", "")
_SPEAKERS = ("anna", "ben", "cleo", None, "", 7)
_RATES = (RATE, RATE, RATE, 8000, 0, -1, 10**9, None, 2.5)
_NAMES = ("a.wav", "../../a.wav", "/etc/passwd", "", None, "a\0b", "x" * 3000, "b.flac")
_PLACES = ("train.parquet", "data/*", "/etc/hostname", "../*", "https://example.org/a.parquet")


def one_dataset(draw: random.Random, folder: Path) -> str | None:
    """One folder of a dataset, with embedded files or arrays, archives, and a card."""
    root = folder / "data"
    root.mkdir()
    content = _table(draw)
    if draw.random() < 0.15:
        content = damage(draw, content)
    name, content = _packed(draw, content)
    (root / name).write_bytes(content)
    if draw.random() < 0.2:
        data_files = [{"split": "train", "path": draw.choice(_PLACES)}]
        card = {"configs": [{"config_name": "default", "data_files": data_files}]}
        (root / "README.md").write_text(f"---\n{yaml.safe_dump(card)}---\n", encoding="utf-8")

    settings = {"on_unknown": draw.choice(("error", "skip")), "no_speaker": "one"}

    def read() -> None:
        prepare(load_corpus("hub", root, **settings), RATE, folder / "cache")

    return message_of(read, f"{name} {content[:80].hex()} ({len(content)} bytes)")


def _table(draw: random.Random) -> bytes:
    """A Parquet file with a column of audio, whose cells may be anything of the right form."""
    sane = draw.random() < 0.5
    rows = draw.choice((4, 6) if sane else (1, 3, 6))
    cell = draw.choice((_file_cell, _array_cell))
    columns = {"audio": [cell(draw, sane) for _ in range(rows)]}
    for name, values in {"label": _LABELS, "speaker": _SPEAKERS}.items():
        kind = draw.choice((str, str, int))
        possible = [value for value in values if isinstance(value, kind)]
        columns[name] = [draw.choice(possible) for _ in range(rows)]
    if sane:
        columns["label"] = (["angry", "sad"] * rows)[:rows]
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


def _file_cell(draw: random.Random, sane: bool) -> dict[str, object]:
    file = io.BytesIO()
    length = 3200 if sane else draw.choice((1, 800, 3200))
    samples = 0.4 * np.sin(np.arange(length) / draw.choice((3, 7, 9)))
    soundfile.write(file, samples, RATE, format=draw.choice(("WAV", "FLAC", "OGG")))
    content = file.getvalue()
    if not sane:
        content = draw.choice((content, content, content, damage(draw, content), b"", None))
    return {"bytes": content, "path": draw.choice(_NAMES)}


def _array_cell(draw: random.Random, sane: bool) -> dict[str, object]:
    if sane:
        return {"array": [0.3, -0.2] * draw.choice((800, 900)), "sampling_rate": RATE}
    samples = [0.3, -0.3] * draw.choice((0, 1, 800))
    if draw.random() < 0.2:
        samples[:1] = [draw.choice((float("nan"), float("inf"), 3e38, 20_000.0))]
    return {"array": samples or None, "sampling_rate": draw.choice(_RATES)}


def _packed(draw: random.Random, content: bytes) -> tuple[str, bytes]:
    """The name and content of the file: mostly a table, sometimes compressed or a bomb."""
    kind = draw.choice(("parquet", "parquet", "parquet", "zip", "gzip", "bzip2", "rar"))
    if kind == "parquet":
        return "train.parquet", content
    if draw.random() < 0.3:
        content = bytes(2**26)
    if kind == "zip":
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(draw.choice(("a.parquet", "../a.csv", "/a.json")), content)
        return "train.zip", file.getvalue()
    packed = {"gzip": gzip.compress, "bzip2": bz2.compress, "rar": b"Rar!\x1a\x07\x00".__add__}
    return draw.choice(("train.csv", "train.jsonl", "train.csv.gz")), packed[kind](content)


_TABLE_NAMES = ("emotion", "emotion.train", "{path}", "../db.x", "x/../{path}", "", "a" * 300, 7)
_VALUES = (None, [], {}, "x", 3, {"type": "filewise"}, {"type": "segmented"}, {"columns": 1})


def one_database(draw: random.Random, folder: Path) -> str | None:
    """One database whose tables may be named by paths, with pickles beside it."""
    marker = folder / "was_run"
    root = folder / "db"
    root.mkdir()
    soundfile.write(root / "a.wav", 0.4 * np.sin(np.arange(3200) / 5), RATE)
    soundfile.write(root / "b.wav", 0.4 * np.sin(np.arange(3200) / 7), RATE)
    path = "x" + "/.." * 12 + str(folder / "evil")
    (folder / "evil.pkl").write_bytes(pickle.dumps(Payload(marker)))
    columns = {"emotion": {"scheme_id": "emotion"}, "speaker": {"scheme_id": "speaker"}}
    table = {"type": "filewise", "columns": columns}
    header = {
        "name": "db",
        "source": "x",
        "usage": "other",
        "languages": ["eng"],
        "schemes": {"emotion": {"dtype": "str"}, "speaker": {"dtype": "str"}},
        "tables": {"emotion": table},
    }
    (root / "db.emotion.csv").write_text("file,emotion,speaker\na.wav,anger,x\nb.wav,joy,y\n")
    for _ in range(draw.choice((0, 1, 1, 2))):
        name = draw.choice(_TABLE_NAMES)
        name = name.format(path=path) if isinstance(name, str) else name
        match draw.randrange(4):
            case 0:
                header[draw.choice(("tables", "misc_tables"))] = {name: table}
            case 1:
                header[draw.choice([*header])] = draw.choice(_VALUES)
            case 2:
                header.pop(draw.choice([*header]))
            case 3:
                (root / "db.emotion.pkl").write_bytes(pickle.dumps(Payload(marker)))
    text = yaml.safe_dump({"db": header} if draw.random() < 0.1 else header)
    if draw.random() < 0.2:
        text += draw.choice(
            ("x: !!python/name:os.system\n", "y: [", "\0", f"z: {json.dumps(path)}\n")
        )
    (root / "db.yaml").write_text(text, encoding="utf-8")

    def read() -> None:
        load_corpus("audformat", root)

    refusal = message_of(read, text)
    assert not marker.exists(), text
    return refusal
