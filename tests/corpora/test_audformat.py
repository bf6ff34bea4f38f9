"""audEERING's databases: schemes, labels of schemes, splits by table."""

import os
import pickle
import sys

import numpy as np
import pytest
import soundfile
from support.damage import Payload
from support.layouts import write_audformat
from support.testing.corpora import Clip

from ser_hf.corpora import audformat, corpus_settings
from ser_hf.utils.errors import UserError


def parse(root=None, **keys):
    return audformat.parse(corpus_settings("audformat", root, **keys))


SPEAKERS = [("anna", "female"), ("ben", "male"), ("cleo", "female")]


@pytest.fixture
def database(tmp_path):
    """A function that writes a database of three speakers with two clips each, and gives its
    folder.
    """
    pytest.importorskip("audformat")

    def write(segmented=False):
        clips = []
        for number, (speaker, sex) in enumerate(SPEAKERS):
            for emotion in ("anger", "joy"):
                path = tmp_path / "wav" / f"{speaker}_{emotion}.wav"
                path.parent.mkdir(exist_ok=True)
                samples = np.arange(8000, dtype=np.int16) + number
                soundfile.write(path, samples, 8000)
                clips.append(Clip(path, emotion, speaker, sex, 1.0, 8000))
        write_audformat(tmp_path, clips, segmented)
        return tmp_path

    return write


def read(root, **options):
    return sorted(parse(root, **options).clips, key=lambda clip: clip.id)


def edit(root, file, old, new):
    text = (root / file).read_text(encoding="utf-8")
    assert old in text
    (root / file).write_text(text.replace(old, new), encoding="utf-8")


def test_a_database(database):
    clips = read(database(), language="de")
    assert [clip.id for clip in clips[:2]] == ["audformat/wav/anna_anger", "audformat/wav/anna_joy"]
    assert [clip.emotion for clip in clips[:2]] == ["angry", "happy"]
    assert [clip.speaker for clip in clips[::2]] == [
        "audformat:anna",
        "audformat:ben",
        "audformat:cleo",
    ]
    assert [clip.sex for clip in clips[::2]] == ["female", "male", "female"]
    assert [clip.extra["split"] for clip in clips[::2]] == ["train", "validation", "test"]
    assert clips[0].language == "de"


def test_tables_are_chosen(database):
    clips = parse(database(), tables=["emotion.train", "emotion.test"]).clips
    assert {clip.extra["split"] for clip in clips} == {"train", "test"}


def test_rows_of_segmented_tables_are_segments(database):
    clips = read(database(segmented=True))
    assert all(clip.start is not None for clip in clips)
    assert all(clip.id.endswith(("-end", f"{clip.end or 0:09.3f}")) for clip in clips)


def test_other_schemes_by_name(database):
    root = database()
    for part in ("train", "dev", "test"):
        edit(root, f"db.emotion.{part}.csv", "emotion,speaker", "emotion,speaker,years,session")
        text = (root / f"db.emotion.{part}.csv").read_text(encoding="utf-8").splitlines()
        lines = [text[0], *(f"{line},31,{part} room" for line in text[1:])]
        (root / f"db.emotion.{part}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    column = "      speaker:\n        scheme_id: speaker\n"
    edit(root, "db.yaml", column, column + "      years: {}\n      session: {}\n")
    clips = read(root, columns={"age": "years"})
    assert clips[0].age == 31
    assert clips[0].extra == {"split": "train", "session": "train room"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"label": "mood"},
            "label: the database has no scheme 'mood'; it has emotion, gender, speaker",
        ),
        (
            {"tables": ["votes"]},
            "tables: no table 'votes'; the database has emotion.dev, emotion.test, emotion.train",
        ),
    ],
)
def test_missing_schemes_and_tables_are_named(database, options, message):
    with pytest.raises(UserError, match=f"corpus.{message}"):
        parse(database(), **options)


def test_tables_that_contradict_each_other_are_named(database):
    root = database()
    edit(
        root,
        "db.emotion.test.csv",
        "file,emotion,speaker\n",
        "file,emotion,speaker\nwav/anna_joy.wav,anger,anna\n",
    )
    tables = "emotion, emotion.dev, emotion.test, emotion.train"
    with pytest.raises(
        UserError, match=f"corpus.tables: the tables of {tables}, are damaged or contr"
    ):
        parse(root)


@pytest.mark.parametrize("header", ["a: [b", "", "- 1", "name: x\ntables: 3\n"])
def test_a_damaged_header_is_named(database, header):
    root = database()
    (root / "db.yaml").write_text(header, encoding="utf-8")
    with pytest.raises(UserError, match="db.yaml: the database cannot be read: "):
        parse(root)


def test_a_table_that_is_missing_or_damaged_is_named(database):
    root = database()
    (root / "db.emotion.dev.csv").write_bytes(b"\xff\xfe\x00garbage")
    with pytest.raises(
        UserError, match="corpus.tables: the tables of emotion, .*emotion.dev, .* are damaged"
    ):
        parse(root)
    (root / "db.emotion.dev.csv").unlink()
    with pytest.raises(UserError, match="emotion.dev"):
        parse(root)


@pytest.mark.parametrize("kind", ["alone", "older", "newer", "tag"])
def test_code_in_a_database_never_runs(database, kind):
    """In pickles, which audformat prefers to tables beside them, and in tags of the header."""
    root = database()
    marker = root / "was_run"
    table = root / "db.emotion.dev.csv"
    if kind == "tag":
        edit(
            root,
            "db.yaml",
            "source: support.testing",
            f"source: !!python/object/apply:os.mkdir ['{marker}']",
        )
    else:
        table.with_suffix(".pkl").write_bytes(pickle.dumps(Payload(marker)))
        os.utime(table, ns=(time := table.with_suffix(".pkl").stat().st_mtime_ns,) * 2)
        os.utime(table, ns=(time + {"alone": 0, "older": 10**9, "newer": -(10**9)}[kind],) * 2)
    if kind == "alone":
        table.unlink()
    if kind in ("older", "newer"):
        assert len(read(root)) == 6
    else:
        with pytest.raises(
            UserError,
            match=r"db.yaml: .* tags .* not supported|db.emotion.dev.pkl: a pickle, .* as CSV",
        ):
            parse(root)
    assert not marker.exists()


# The section of db.yaml that names a table by a path, and the text around the name.
PATHS_OF_TABLES = {
    "absolute": "tables:\n  {path}:\n    type: filewise\n",
    "miscellaneous": "misc_tables:\n  {path}: {{}}\n",
    "a number": "tables:\n  7: {{}}\n",
    "a list": "tables: [{path}]\n",
    "one level deeper": "deeper:\n  source: x\n  usage: other\n  tables:\n    {path}: {{}}\n",
}


@pytest.mark.parametrize("section", PATHS_OF_TABLES)
def test_a_table_is_never_named_by_a_path(tmp_path, section):
    """audformat opens the file that the name leads to, and prefers a pickle there."""
    pytest.importorskip("audformat")
    marker = tmp_path / "was_run"
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(Payload(marker)))
    path = "x" + "/.." * 12 + str(tmp_path / "evil")
    text = PATHS_OF_TABLES[section].format(path=path)
    if "deeper" not in section:
        text = f"name: a\nsource: x\nusage: other\n{text}"
    (tmp_path / "db.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"db\.yaml: (tables|misc_tables|.*name is missing)"):
        parse(tmp_path)
    assert not marker.exists()


def test_aliases_in_a_header_are_not_multiplied(database):
    root = database()
    lines = ["x0: &x0 [a, a, a, a, a, a, a, a, a]"]
    for number in range(1, 30):
        lines.append(f"x{number}: &x{number} [{', '.join([f'*x{number - 1}'] * 9)}]")
    with (root / "db.yaml").open("a", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    with pytest.raises(UserError, match=r"db\.yaml: .*aliases"):
        parse(root)


@pytest.mark.parametrize("root", [None, "."])
def test_a_folder_without_a_database_is_named(root, tmp_path):
    pytest.importorskip("audformat")
    message = "^corpus.root: .*; audformat needs the folder of a database, with its db.yaml"
    with pytest.raises(UserError, match=message):
        parse(root and tmp_path)


def test_a_missing_package_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "audformat", None)
    message = r'^corpus.name: audformat needs that package: pip install "ser_hf\[audformat\]"'
    with pytest.raises(UserError, match=message):
        parse(tmp_path)
