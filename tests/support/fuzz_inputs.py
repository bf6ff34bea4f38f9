"""Damaged audio files and tables, drawn at random and read as the commands read them.

`one_audio` and `one_table` write an example below a folder. They return the message of the
`UserError` that refuses it, or None if it is read. Any other exception is raised, with the example
as its note.
"""

import io
import json
import math
import random
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

from ser_hf.audio import decode, prepare
from ser_hf.corpora import load_corpus
from ser_hf.inference.chunks import read_chunks
from ser_hf.inference.recordings import from_paths
from ser_hf.inspection import inspect_corpus
from ser_hf.models.preparation import Preparation
from ser_hf.protocols import split_corpus
from ser_hf.utils.errors import UserError

RATE = 16000
_TONE = (0.5 * np.sin(np.arange(3200) / 5)).astype(np.float32)
# by the tag of WAV
_BITS = {1: (8, 16, 24, 32), 3: (32, 64), 6: (8,), 7: (8,), 2: (4,), 0x55: (0,), 0xFFFE: (16,)}
_INTEGERS = (0, 1, 2, 3, 16, 255, 1024, 8000, RATE, 65535, 10**9, 2**31 - 1, 2**31, 2**32 - 1)
_FLOATS = (math.nan, math.inf, -math.inf, 1e-45, 1e20, 3e38)
_SUFFIXES = (
    ".wav",
    ".flac",
    ".ogg",
    ".mp3",
    ".aiff",
    ".au",
    ".raw",
    ".vox",
    ".gsm",
    ".w64",
    ".caf",
    "",
)
_FORMATS = ("WAV", "FLAC", "OGG", "MP3", "AIFF", "AU", "W64", "CAF")


def one_audio(draw: random.Random, folder: Path) -> str | None:
    """One audio file, read by itself, by a prediction, by the store beside good files, or by an
    inspection.
    """
    content = draw.choice((_wav, _wav, _encoded))(draw)
    content = draw.choice(
        (content, damage(draw, content), damage(draw, content), draw.randbytes(draw.randrange(99)))
    )
    path = folder / f"a{draw.choice(_SUFFIXES)}"
    path.write_bytes(content)
    table = _write(
        folder / "clips.csv", f"path,label,speaker\n{path.name},sad,x\nb.wav,angry,y\nc.wav,sad,z\n"
    )
    for name in ("b.wav", "c.wav"):
        soundfile.write(folder / name, _TONE, RATE)
    readers = (
        lambda: decode(str(path), None, draw.choice((None, RATE))),
        lambda: decode("a", content, RATE),
        lambda: list(read_chunks(from_paths([path]), RATE, Preparation())),
        lambda: prepare(load_corpus("csv", table), RATE, folder / "cache"),
        lambda: inspect_corpus("csv", table),
    )
    return message_of(
        draw.choice(readers), f"{path.name} {content[:80].hex()} ({len(content)} bytes)"
    )


def message_of(read: Callable[[], object], example: str) -> str | None:
    """The message of the `UserError` of a reader, which is one short line; None without one."""
    try:
        read()
        return None
    except UserError as error:
        message = str(error)
    except Exception as error:
        error.add_note(example)
        raise
    assert message.isprintable() and len(message) <= 300, message  # noqa: PT018
    return message


def _wav(draw: random.Random) -> bytes:
    """A WAV file whose header may lie about anything."""

    def maybe(value: int, bits: int = 32) -> int:
        return (draw.choice(_INTEGERS) if draw.random() < 0.15 else value) % 2**bits

    tag = draw.choice(list(_BITS))
    bits = draw.choice(_BITS[tag])
    channels = draw.choice((1, 1, 2, 5))
    samples = np.tile(_TONE[: draw.choice((0, 1, 160, 3200))], channels)
    if tag == 3 and draw.random() < 0.4:
        samples[draw.randrange(len(samples) + 1) :] = draw.choice(_FLOATS)
    payload = samples.astype(f"<f{bits // 8}") if tag == 3 else (samples * 30000).astype("<i2")
    frame = channels * bits // 8
    fields = (
        maybe(tag, 16),
        maybe(channels, 16),
        maybe(RATE),
        maybe(RATE * frame),
        frame,
        maybe(bits, 16),
    )
    body = b"WAVEfmt " + struct.pack("<IHHIIHH", maybe(16), *fields)
    if draw.random() < 0.2:
        body += (
            draw.choice((b"fact", b"LIST", b"ds64", b"\0\0\0\0"))
            + struct.pack("<I", maybe(4))
            + bytes(4)
        )
    body += b"data" + struct.pack("<I", maybe(payload.nbytes)) + payload.tobytes()
    return (
        draw.choice((b"RIFF", b"RIFF", b"RIFF", b"RF64", b"RIFX"))
        + struct.pack("<I", maybe(len(body)))
        + body
    )


def _encoded(draw: random.Random) -> bytes:
    """A file as libsndfile writes it."""
    file = io.BytesIO()
    soundfile.write(file, _TONE, draw.choice((8000, RATE, 44100)), format=draw.choice(_FORMATS))
    return file.getvalue()


def damage(draw: random.Random, content: bytes) -> bytes:
    """The content with some bytes changed, cut, doubled or added, mostly in its first 48."""
    data = bytearray(content)
    for _ in range(draw.choice((0, 1, 1, 2, 5, 40))):
        place = draw.randrange(max(min(len(data), draw.choice((48, 10**9))), 1))
        match draw.randrange(5):
            case 0:
                data[place : place + 1] = draw.randbytes(1)
            case 1:
                data[place : place + 4] = struct.pack(
                    draw.choice("<>") + "I", draw.choice(_INTEGERS)
                )
            case 2:
                del data[draw.randrange(len(data) + 1) :]
            case 3:
                data[place:place] = data[place : place + draw.randrange(64)]
            case 4:
                data += draw.randbytes(draw.randrange(64))
    return bytes(data)


_NAMES = (
    *(
        "path",
        "label",
        "speaker",
        "file_name",
        "id",
        "sex",
        "age",
        "language",
        "sentence",
        "take",
        "split",
        "part",
    ),
    *(
        "session",
        "duration",
        "audio",
        "content_hash",
        "votes",
        "corpus",
        "emotion",
        "fold_1",
        "own_duration",
        "",
        " ",
    ),
    *("n\0l", "two\nlines", "=1+1", "ü", "x" * 5000, "\ud800", "__index_level_0__"),
)
_FILES = ("a.wav", "b.wav", "c.flac")
_PATHS = (
    *(
        *_FILES,
        "sub/../a.wav",
        "../a.wav",
        "/etc/passwd",
        "/dev/zero",
        "/dev/stdin",
        "https://example.org/a.wav",
    ),
    *(
        "a\0.wav",
        "no.wav",
        "",
        ".",
        "/",
        "~",
        "a" * 5000,
        "\\\\h\\a",
        "\ud800.wav",
        "a.wav\nb.wav",
        "x.raw",
        "-",
    ),
)
_LABELS = (
    "sad",
    "angry",
    "Happy",
    "wut",
    "",
    " ",
    "7",
    "=cmd|' /C calc'!A0",
    "nan",
    "\ud800",
    "s\0d",
    "\u202e",
)
_VALUES = (
    *(
        None,
        True,
        -1,
        7,
        2**31,
        2**63,
        10**30,
        0.5,
        1e308,
        math.nan,
        math.inf,
        [],
        [1],
        {"a": 1},
        "",
        "1",
        "1e999",
    ),
    *(
        "007",
        "true",
        "NaN",
        "x" * 200_000,
        "\0",
        "\ud800",
        "a\r\nb",
        '"',
        "'",
        ",;\t",
        "train",
        "test",
    ),
)
_SENSIBLE = {
    "path": _FILES,
    "file_name": _FILES,
    "label": _LABELS[:3],
    "speaker": ("anna", "ben", "cy"),
}
_SENSIBLE |= {"part": ("train", "test", "dev"), "id": ("csv/a", "csv/b", "1", "2")}
_WILD = {"path": _PATHS, "file_name": _PATHS, "label": _LABELS}
# As the schemas that `datasets` writes into Parquet files.
_SCHEMAS = (
    b"{}",
    b"[",
    b'{"info": 1}',
    b'{"info": {"features": {"label": {"_type": "ClassLabel", "names": 7}}}}',
)


def one_table(draw: random.Random, folder: Path) -> str | None:
    """One table of clips or list of splits, read as corpora, protocols and predictions read it."""
    for name in _FILES:
        soundfile.write(folder / name, _TONE * (1 + _FILES.index(name)) / 4, RATE)
    kind = draw.choice(("csv", "csv", "tsv", "jsonl", "parquet"))
    path = folder / f"{draw.choice(('metadata', 'metadata', 'clips'))}.{kind}"
    files = draw.choice(("path", "file_name"))
    header = list(
        dict.fromkeys([files, "label", "speaker", *draw.sample(_NAMES, draw.choice((0, 1, 3, 8)))])
    )
    if draw.random() < 0.05:
        header += draw.choice((["path"], [f"c{i}" for i in range(2000)]))
    if draw.random() < 0.1:
        del header[draw.randrange(len(header)) :]
    rows = [_row(draw, header) for _ in range(draw.choice((0, 1, 3, 3, 6, 40)))]
    if draw.random() < 0.7:  # each clip once, which most readers need
        rows = [
            row | ({files: name} if files in row else {})
            for row, name in zip(rows, _FILES, strict=False)
        ]
    content = {"jsonl": _json_lines, "parquet": _parquet}.get(kind, _text_table)(draw, header, rows)
    path.write_bytes(damage(draw, content) if draw.random() < 0.2 else content)
    options = {
        "on_unknown": draw.choice(("error", "skip")),
        "no_speaker": draw.choice(("error", "skip", "one")),
    }
    good = _write(
        folder / "good.csv", "path,label,speaker\na.wav,sad,anna\nb.wav,angry,ben\nc.flac,sad,cy\n"
    )
    parts = _write_parts(draw, folder / "parts.json") if draw.random() < 0.7 else path
    items = [{"name": "csv", "root": str(root), "corpus_name": root.name} for root in (good, path)]
    readers = {
        "csv": lambda: prepare(
            load_corpus("csv", path, path=files, **options), RATE, folder / "cache"
        ),
        "folder": lambda: prepare(
            load_corpus("audiofolder", folder, **options), RATE, folder / "cache"
        ),
        "predict": lambda: list(
            read_chunks(from_paths([path], True), RATE, Preparation(), lambda *skipped: None)
        ),
        "split": lambda: split_corpus(load_corpus("csv", good), "file", path=str(parts)),
        "hub": lambda: load_corpus("hub", path, audio=files, **options),
        "mixture": lambda: load_corpus("mixture", corpora=items),
    }
    usual = {"jsonl": ("folder", "split"), "parquet": ("folder", "hub")}
    usual = usual.get(kind, ("csv", "predict", "mixture", "split"))
    reader = draw.choice((*usual, *usual, *usual, *readers))
    return message_of(
        readers[reader], f"{reader} {path.name} {content[:200]!r} ({len(content)} bytes)"
    )


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def _row(draw: random.Random, header: Sequence[str]) -> dict[str, object]:
    """The cells of a row, sensible ones mostly where the column has a meaning."""
    wild = 0.3 if draw.random() < 0.15 else 0.0

    def cell(name: str) -> object:
        return draw.choice(
            _WILD.get(name, _VALUES)
            if draw.random() < wild
            else _SENSIBLE.get(name, ("", "1", "x"))
        )

    return {name: cell(name) for name in header}


def _text_table(
    draw: random.Random, header: Sequence[str], rows: Sequence[dict[str, object]]
) -> bytes:
    separator = draw.choice(",,;\t")
    end = draw.choice(("\n", "\n", "\r\n", "\r"))

    def quoted(value: object) -> str:
        text = "" if value is None else str(value)
        needed = any(mark in text for mark in '"\r\n' + separator)
        return '"' + text.replace('"', '""') + '"' if needed and draw.random() < 0.9 else text

    lines = [
        header,
        *([row[name] for name in header][: draw.choice((9999, 9999, 9999, 2))] for row in rows),
    ]
    text = end.join(separator.join(map(quoted, line)) for line in lines)
    encoding = draw.choice((*["utf-8"] * 9, "utf-8-sig", "utf-16", "latin-1"))
    return text.encode(
        encoding,
        errors="replace" if draw.random() < 0.9 or encoding == "latin-1" else "surrogatepass",
    )


def _json_lines(
    draw: random.Random, header: Sequence[str], rows: Sequence[dict[str, object]]
) -> bytes:
    lines = [json.dumps(row) for row in rows]
    if draw.random() < 0.2:
        lines.append(
            draw.choice(
                ("[" * 100_000, "9" * 5000, "null", "[]", '{"path": NaN}', '{"a": 1, "a": 2}', "{")
            )
        )
    return "\n".join(lines).encode()


def _parquet(
    draw: random.Random, header: Sequence[str], rows: Sequence[dict[str, object]]
) -> bytes:
    columns = {}
    for name in header:
        values = [row[name] for row in rows]
        try:
            column = pa.array(values)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            column = pa.array([str(value).encode("utf-8", "replace").decode() for value in values])
        if name == "take":
            column = pa.array([draw.choice((0, -(2**62), 2**62)) for _ in rows], pa.timestamp("us"))
        columns[name.encode("utf-8", "replace").decode()] = column
    found = pa.table(columns or {"path": ["a.wav"]})
    if draw.random() < 0.2:
        found = found.replace_schema_metadata({b"huggingface": draw.choice(_SCHEMAS)})
    file = io.BytesIO()
    pq.write_table(found, file)
    return file.getvalue()


def _write_parts(draw: random.Random, path: Path) -> Path:
    """A list of splits in JSON."""

    def entries() -> list[object]:
        return [draw.choice(_VALUES if draw.random() < 0.05 else ("csv:anna", "csv:ben", "csv:cy"))]

    lists = {"train": entries(), "test": entries()}
    value = draw.choice(_VALUES)
    forms = (
        {"folds": [lists, lists]},
        {"ids": lists, "fold": value},
        {"folds": value},
        value,
        lists | {"x": value},
    )
    content = json.dumps(draw.choice((lists, lists, lists, *forms))).encode()
    path.write_bytes(draw.choice((*[content] * 9, damage(draw, content), b"[" * 100_000)))
    return path
