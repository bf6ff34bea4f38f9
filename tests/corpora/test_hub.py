"""Data sets of the Hub and parquet files: embedded audio, columns by name, splits, configurations,
a pinned commit.
"""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Features, Value

from ser_hf.corpora import corpus_settings, hub, load_corpus
from ser_hf.corpora.hub_files import load_splits
from ser_hf.utils.errors import UserError


def parse(root=None, **keys):
    return hub.parse(corpus_settings("hub", root, **keys))


COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAMES = {"label": "emotion", "speaker": "who"}
ROWS = [("a.wav", "sad", "anna"), ("b.wav", "angry", "ben"), ("c.wav", "sad", "cleo")]


def audio(name, content=b"RIFF not decoded here"):
    return {"bytes": content + name.encode(), "path": name}


@pytest.fixture
def write(tmp_path):
    """A function that writes a parquet file of rows (name, label, speaker) with embedded audio;
    returns its folder.
    """

    def table(path="data/train-00000-of-00001.parquet", rows=ROWS, **columns):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        usual = {
            "audio": [audio(name) for name, *_ in rows],
            "emotion": [label for _, label, _ in rows],
            "who": [speaker for *_, speaker in rows],
        }
        pq.write_table(pa.table(usual | columns), tmp_path / path, row_group_size=2)
        return tmp_path

    return table


def test_embedded_audio_becomes_files_once(write):
    root = write()
    first, _, third = parse(root, **NAMES).clips
    assert (first.id, first.emotion, first.speaker) == ("hub/a", "sad", "hub:anna")
    assert Path(first.path).read_bytes() == b"RIFF not decoded herea.wav"
    assert Path(third.path).read_bytes() == b"RIFF not decoded herec.wav"
    assert first.extra == {"split": "train"}
    assert first.path.endswith("row_0000000.wav")
    written = Path(first.path).stat().st_mtime_ns
    assert parse(root, **NAMES).clips[0] == first
    assert Path(first.path).stat().st_mtime_ns == written


def test_columns_are_mapped_and_the_rest_is_kept(write):
    columns = {"gender": ["F", "male", None], "text": ["x", "y", "z"], "duration": [1.0, 2.5, 3.0]}
    columns |= {
        "code": ["1", "2", "3"],
        "words": [["x"], [], []],
        "clean": [audio("x.wav")] * 3,
        "raw": [b"x"] * 3,
    }
    listing = parse(
        write(**columns), **NAMES, columns={"sex": "gender", "sentence": "text"}, language="de"
    )
    first = listing.clips[0]
    assert (first.sex, first.sentence, first.language) == ("female", "x", "de")
    assert first.extra == {"split": "train", "own_duration": 1.0, "code": "1"}


def test_class_numbers_are_read_by_their_names(write):
    path = write() / "data/train-00000-of-00001.parquet"
    features = Features({"emotion": ClassLabel(names=["sadness", "anger"]), "who": Value("string")})
    table = pa.table({"emotion": [0, 1, -1], "who": ["x", "y", "z"]}).cast(features.arrow_schema)
    old = pq.read_table(path)
    metadata = {
        b"huggingface": b'{"info": {"features": {'
        b'"emotion": {"names": ["sadness", "anger"], "_type": "ClassLabel"}, '
        b'"who": {"dtype": "string", "_type": "Value"}, '
        b'"audio": {"_type": "Audio"}}}}'
    }
    pq.write_table(
        table.append_column("audio", old["audio"]).replace_schema_metadata(metadata), path
    )
    listing = parse(path, on_unknown="skip", **NAMES)
    assert [clip.emotion for clip in listing.clips] == ["sad", "angry"]
    assert listing.skipped == [("split train, row 2", "no label")]


def test_rows_without_embedded_audio_are_an_error_or_skipped(write):
    root = write(audio=[audio("a.wav"), {"bytes": None, "path": "b.wav"}, None])
    with pytest.raises(UserError, match="split train, row 1: no embedded audio; correct the table"):
        parse(root, **NAMES)
    listing = parse(root, on_unknown="skip", **NAMES)
    assert [clip.id for clip in listing.clips] == ["hub/train/0000000"]
    assert [reason for _, reason in listing.skipped] == ["no such file", "no such file"]


def test_audio_is_unpacked_after_the_checks_and_only_of_the_chosen_splits(write, monkeypatch):
    write(
        "data/train-00000-of-00001.parquet", [("q.wav", "sad", "anna"), ("r.wav", "weird", "ben")]
    )
    root = write("data/test-00000-of-00001.parquet", [("s.wav", "sad", None)])
    unpacked = []
    usual = hub.unpack
    monkeypatch.setattr(hub, "unpack", lambda *given: unpacked.append(given[2]) or usual(*given))
    with pytest.raises(UserError, match="'weird' is not a known emotion"):
        parse(root, **NAMES)
    with pytest.raises(UserError, match="no speaker is given"):
        parse(root, on_unknown="skip", **NAMES)
    assert unpacked == []
    clips = parse(root, splits=["train"], on_unknown="skip", **NAMES).clips
    assert ([clip.id for clip in clips], unpacked) == (["hub/q"], [f"{root.name} train"])


def test_audio_that_is_missing_in_the_cache_is_unpacked_again(write):
    root = write()
    paths = [Path(clip.path) for clip in parse(root, **NAMES).clips]
    assert [path.read_bytes()[-5:] for path in paths] == [b"a.wav", b"b.wav", b"c.wav"]
    paths[1].unlink()
    assert [clip.path for clip in parse(root, **NAMES).clips] == [str(path) for path in paths]
    assert paths[1].read_bytes()[-5:] == b"b.wav"


@pytest.mark.parametrize(
    ("name", "content", "suffix"),
    [
        ("a.wav", b"fLaC...", ".flac"),
        (None, b"RIFF....WAVE", ".wav"),
        ("x/a.MP3", b"\xff\xfb", ".mp3"),
        ("a.m4a/..: x", b"?", ".mp3"),
    ],
)
def test_unpacked_files_have_the_suffix_of_their_content(write, name, content, suffix):
    root = write(rows=[("x", "sad", "anna")], audio=[{"bytes": content, "path": name}])
    (clip,) = parse(root, **NAMES).clips
    assert Path(clip.path).name == f"row_0000000{suffix}"
    assert Path(clip.path).read_bytes() == content


def test_the_split_of_a_file_comes_before_a_column_of_that_name(write):
    own = {"split": ["Session1", None, "x"]}
    write("data/test-00000-of-00001.parquet", **own)
    root = write(**own)
    listing = parse(root, splits=["test"], **NAMES)
    expected = [
        {"split": "test", "own_split": word} if word else {"split": "test"} for word in own["split"]
    ]
    assert [clip.extra for clip in listing.clips] == expected
    alone = write("alone/calls.parquet", **own) / "alone/calls.parquet"
    assert [clip.extra.get("split") for clip in parse(alone, **NAMES).clips] == own["split"]


CARD = """---
configs:
- config_name: one
  data_files:
  - split: train
    path: one/train-*
  - split: held_out
    path: [one/test-*]
- config_name: other
  data_files: other/*.parquet
---
"""


@pytest.fixture
def carded(write):
    for place in ("one/train-00000-of-00001", "one/test-00000-of-00001", "other/x"):
        root = write(f"{place}.parquet", [(f"{place[:8]}{name}", *rest) for name, *rest in ROWS])
    (root / "README.md").write_text(CARD, encoding="utf-8")
    return root


def test_the_card_lists_configurations_and_splits(carded):
    clips = parse(carded, config="one", **NAMES).clips
    assert [clip.extra["split"] for clip in clips] == ["train"] * 3 + ["held_out"] * 3
    assert {
        c.extra["split"] for c in parse(carded, config="one", splits=["held_out"], **NAMES).clips
    } == {"held_out"}
    assert len(parse(carded, config="other", **NAMES).clips) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "corpus.root: .* cannot be loaded: Config name is missing"),
        ({"config": "two"}, "corpus.root: .* cannot be loaded: BuilderConfig 'two' not found"),
        (
            {"config": "one", "splits": ["dev"]},
            "corpus.splits: no split 'dev'; the dataset has train, held_out",
        ),
    ],
)
def test_a_mistake_in_choosing_is_named(carded, options, message):
    with pytest.raises(UserError, match=message):
        parse(carded, **options, **NAMES)


def test_a_folder_without_a_data_set_is_named(tmp_path, write):
    with pytest.raises(UserError, match="cannot be loaded: .* corpus.name: audiofolder"):
        parse(tmp_path)
    (tmp_path / "bad.parquet").write_bytes(
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    )
    with pytest.raises(UserError, match="bad.parquet cannot be loaded: "):
        parse(tmp_path / "bad.parquet")
    path = write() / "data/train-00000-of-00001.parquet"
    with pytest.raises(
        UserError, match="corpus.audio: no column 'speech'; name one of audio, emotion, who"
    ):
        parse(path, audio="speech", **NAMES)
    pq.write_table(pa.table({"audio": [1], "emotion": ["sad"]}), tmp_path / "n.parquet")
    with pytest.raises(
        UserError, match=r"corpus.audio: the column 'audio' holds .*int64.*, not audio"
    ):
        parse(tmp_path / "n.parquet", **NAMES)


@pytest.fixture
def on_the_hub(carded, monkeypatch):
    """The data set as the Hub has it at COMMIT."""

    def load(source, name=None, revision=None):
        if revision is None:
            return load_splits(source, name)
        if (source, revision) != ("user/calls", COMMIT):
            raise OSError("Cannot find it")
        return load_splits(str(carded), name)

    monkeypatch.setattr(hub, "load_splits", load)


def test_a_data_set_of_the_hub(on_the_hub):
    options = {"dataset": "user/calls", "revision": COMMIT, "config": "one", **NAMES}
    dataset = load_corpus("hub", **options, splits=["train", "held_out"], corpus_name="calls")
    assert dataset["split"][:] == ["held_out"] * 3 + ["train"] * 3
    assert dataset["corpus"][0] == "calls"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "corpus.dataset: give an id on the Hub, or a folder or parquet file in corpus.root"),
        ({"root": "x", "dataset": "user/name"}, "corpus.dataset: give an id on the Hub, or"),
        ({"root": "nowhere"}, "corpus.root: nowhere cannot be loaded: "),
        (
            {"dataset": "user/calls"},
            "corpus.revision: expected a commit of 40 hexadecimal digits, got None",
        ),
        (
            {"dataset": "user/calls", "revision": "main"},
            "corpus.revision: expected a commit of 40 hexa.*, got main",
        ),
        (
            {"dataset": "a/b", "revision": "f" * 40},
            "corpus.dataset: a/b cannot be loaded: Cannot find it",
        ),
    ],
)
def test_a_data_set_that_is_not_there_is_refused(on_the_hub, options, message):
    with pytest.raises(UserError, match=f"^{message}"):
        parse(**options)
