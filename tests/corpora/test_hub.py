"""Data sets of the Hub: parquet with audio inside, columns by name, parts and configurations, a commit that is pinned.

Nothing is fetched: what the Hub answers with is played by a folder."""

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Features, Value
from huggingface_hub.errors import LocalEntryNotFoundError
from huggingface_hub.utils import filter_repo_objects

from ser_hf.corpora import hub, load_corpus, segments
from ser_hf.corpora.audiofolder import METADATA
from ser_hf.corpora.hub import parse
from ser_hf.utils.errors import UserError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAMES = {"label": "emotion", "speaker": "who"}
ROWS = [("a.wav", "sad", "anna"), ("b.wav", "angry", "ben"), ("c.wav", "sad", "cleo")]


def audio(name, content=b"RIFF not decoded here"):
    return {"bytes": content + name.encode(), "path": name}


@pytest.fixture
def write(tmp_path):
    """A function that writes a parquet file of rows (name, label, speaker) with audio inside, and gives its folder."""

    def table(path="data/train-00000-of-00001.parquet", rows=ROWS, **columns):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        told = {
            "audio": [audio(name) for name, *_ in rows],
            "emotion": [label for _, label, _ in rows],
            "who": [speaker for *_, speaker in rows],
        }
        pq.write_table(pa.table(told | columns), tmp_path / path, row_group_size=2)
        return tmp_path

    return table


def test_audio_inside_becomes_files(write):
    first, second, third = parse(write(), **NAMES).clips
    assert (first.id, first.emotion, first.speaker) == ("hub/a", "sad", "hub:anna")
    assert Path(first.path).read_bytes() == b"RIFF not decoded herea.wav"
    assert Path(third.path).read_bytes() == b"RIFF not decoded herec.wav"
    assert first.extra == {"split": "train"}
    assert first.path.endswith("row_0000000.wav")
    assert Path(first.path).parent.name.startswith("train-00000-of-00001-")


def test_the_second_time_the_files_stand(write):
    root = write()
    first = [(clip.path, Path(clip.path).stat().st_mtime_ns) for clip in parse(root, **NAMES).clips]
    assert [(clip.path, Path(clip.path).stat().st_mtime_ns) for clip in parse(root, **NAMES).clips] == first


def test_columns_are_mapped_and_the_rest_carried_along(write):
    columns = {
        "gender": ["F", "male", None],
        "text": ["x", "y", "z"],
        "duration": [1.0, 2.5, 3.0],
        "code": ["1", "2", "3"],
        "words": [["x"], [], []],
    }
    listing = parse(write(**columns), **NAMES, columns={"sex": "gender", "sentence": "text"}, language="de")
    first = listing.clips[0]
    assert (first.sex, first.sentence, first.language) == ("female", "x", "de")
    assert first.extra == {"split": "train", "own_duration": 1.0, "code": "1"}


def test_class_numbers_are_read_by_their_names(write, tmp_path):
    root = write()
    features = Features({"emotion": ClassLabel(names=["sadness", "anger"]), "who": Value("string")})
    table = pa.table({"emotion": [0, 1, -1], "who": ["x", "y", "z"]}).cast(features.arrow_schema)
    path = root / "data/train-00000-of-00001.parquet"
    old = pq.read_table(path)
    pq.write_table(table.append_column("audio", old["audio"]), path)
    listing = parse(root, on_unknown="skip", **NAMES)
    assert [clip.emotion for clip in listing.clips] == ["sad", "angry"]
    assert listing.skipped == [(f"{path}, row 2", "no label")]


def test_audio_beside_the_table(write, tmp_path):
    root = write(audio=[None, {"bytes": None, "path": "b.wav"}, {"bytes": None, "path": "no.wav"}])
    (root / "data/b.wav").write_bytes(b"not decoded here")
    listing = parse(root, on_unknown="skip", **NAMES)
    assert [clip.path for clip in listing.clips] == [str(root / "data/b.wav")]
    assert [reason for _, reason in listing.skipped] == ["no such file", "no such file"]
    with pytest.raises(UserError, match=r"parquet, row 0: no audio at .*; correct the table"):
        parse(root, **NAMES)
    paths = write("paths.parquet", audio=["data/b.wav", "data/b.wav", "data/b.wav"]) / "paths.parquet"
    assert {clip.path for clip in parse(paths, **NAMES).clips} == {str(root / "data/b.wav")}


def test_a_speaker_pattern_is_matched_with_the_name_that_a_file_had(write):
    rows = [("anna_1.wav", "sad", None), ("ben_2.wav", "angry", None)]
    clips = parse(write(rows=rows), **NAMES, speaker_pattern="^([a-z]+)_").clips
    assert [clip.speaker for clip in clips] == ["hub:anna", "hub:ben"]


def test_speakers_as_numbers_with_a_gap(write):
    root = write(who=[1.0, float("nan"), 2.0])
    with pytest.raises(UserError, match="of-00001.parquet, row 1: no speaker is given"):
        parse(root, **NAMES)
    clips = parse(root, **NAMES, no_speaker="one").clips
    assert [clip.speaker for clip in clips] == ["hub:1", "hub:unknown", "hub:2"]


def folders():
    unpacked = segments.cache_root() / "unpacked"
    named = [path for path in unpacked.iterdir() if path.is_dir()] if unpacked.is_dir() else []
    return {path.name for path in named if path.name.startswith("kept")}


def test_audio_is_unpacked_after_the_checks_and_once_whatever_parts_are_read(write):
    """Of files that no other test has: the cache is that of all of them."""
    write("data/kept1-00000-of-00001.parquet", [("q.wav", "sad", "anna"), ("r.wav", "weird", "ben")])
    root = write("data/kept2-00000-of-00001.parquet", [("s.wav", "sad", None)])
    with pytest.raises(UserError, match="'weird' is not a known emotion"):
        parse(root, **NAMES)
    with pytest.raises(UserError, match="no speaker is given"):
        parse(root, on_unknown="skip", **NAMES)
    assert folders() == set()
    options = {"on_unknown": "skip", "no_speaker": "one", **NAMES}
    parse(root, splits=["kept1"], **options)
    assert {name.partition("-")[0] for name in folders()} == {"kept1"}
    parse(root, splits=["kept2"], **options)
    both = folders()
    path = root / "data/kept1-00000-of-00001.parquet"
    path.touch()
    clips = parse(root, **options).clips
    assert folders() == both
    assert len(both) == 2
    assert [Path(clip.path).read_bytes()[-5:] for clip in clips] == [b"q.wav", b"s.wav"]


def test_columns_that_nobody_uses_are_not_read(write, monkeypatch):
    root = write(clean=[audio("x.wav")] * 3, mel=[[0.5] * 9] * 3, raw=[b"x"] * 3, note=["x"] * 3)
    read = []
    usual = pq.ParquetFile.iter_batches

    def iter_batches(table, size, columns):
        read.extend(columns)
        return usual(table, size, columns=columns)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", iter_batches)
    assert parse(root, **NAMES).clips[0].extra == {"split": "train", "note": "x"}
    assert set(read) == {"audio", "emotion", "who", "note"}


def test_damaged_audio_of_the_cache_is_unpacked_anew(write):
    root = write(rows=[(f"damaged {name}", *rest) for name, *rest in ROWS])
    paths = [Path(clip.path) for clip in parse(root, **NAMES).clips]
    paths[1].unlink()
    (paths[0].parent / "row_0000001.flac").write_bytes(b"strange")
    assert [Path(clip.path) for clip in parse(root, **NAMES).clips] == paths
    assert [path.read_bytes()[-5:] for path in paths] == [b"a.wav", b"b.wav", b"c.wav"]


def test_the_part_of_a_file_comes_before_a_column_of_that_name(write):
    own = {"split": ["Session1", None, "x"]}
    write("data/test-00000-of-00001.parquet", **own)
    root = write(**own)
    listing = parse(root, splits=["test"], **NAMES)
    assert [clip.extra for clip in listing.clips] == [{"split": "test", "own_split": word} for word in own["split"]]
    alone = write("alone/calls.parquet", **own) / "alone/calls.parquet"
    assert [clip.extra["split"] for clip in parse(alone, **NAMES).clips] == own["split"]


def test_a_git_lfs_pointer_in_place_of_a_table(tmp_path):
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    (tmp_path / "x.parquet").write_bytes(pointer)
    with pytest.raises(UserError, match=r"x.parquet: a Git LFS pointer, not a parquet file; run `git lfs pull`"):
        parse(tmp_path)


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


def test_the_card_lists_configurations_and_parts(carded):
    clips = parse(carded, config="one", **NAMES).clips
    assert [clip.extra["split"] for clip in clips] == ["train"] * 3 + ["held_out"] * 3
    assert {c.extra["split"] for c in parse(carded, config="one", splits=["held_out"], **NAMES).clips} == {"held_out"}
    assert len(parse(carded, config="other", **NAMES).clips) == 3


def test_the_default_configuration(carded):
    (carded / "README.md").write_text(CARD.replace("other\n", "other\n  default: true\n"), encoding="utf-8")
    assert len(parse(carded, **NAMES).clips) == 3
    (carded / "README.md").write_text(CARD.replace(" one\n", " default\n"), encoding="utf-8")
    assert len(parse(carded, **NAMES).clips) == 6


@pytest.mark.parametrize(
    ("card", "options", "told"),
    [
        (CARD, {}, "corpus.config: .* has several, one, other; name one"),
        (CARD, {"config": "two"}, "corpus.config: no configuration 'two'; the data set has one, other"),
        (
            CARD,
            {"config": "one", "splits": ["dev"]},
            "corpus.splits: no split 'dev'; the data set has train, held_out",
        ),
        (CARD.replace("one/train-*", "../*"), {"config": "one"}, "README.md: lists ../\\*, which lies outside"),
        (CARD.replace("one/train-*", "/etc/*"), {"config": "one"}, "README.md: lists /etc/\\*, which lies outside"),
        (
            CARD.replace("one/train-*", "one/nothing-*"),
            {"config": "one"},
            "README.md: lists one/nothing-\\*, which matches no file below .*; complete the data set, or choose",
        ),
        (
            CARD.replace("one/train-*", "README.md"),
            {"config": "one", "splits": ["train"]},
            "neither parquet nor audio",
        ),
        ("---\na: [\n---\n", {}, "README.md: its metadata is not valid YAML"),
        (
            "no front matter",
            {"config": "two"},
            "corpus.config: .* no card that lists configurations, and no folder 'two'",
        ),
        ("---\n- 1\n---\n", {"splits": ["dev"]}, "corpus.splits: no split 'dev'; the data set has "),
    ],
)
def test_a_mistake_in_choosing_is_named(carded, card, options, told):
    (carded / "README.md").write_text(card, encoding="utf-8")
    with pytest.raises(UserError, match=told):
        parse(carded, **options, **NAMES)


@pytest.mark.parametrize(
    ("configs", "config", "expected"),
    [
        ("- {config_name: a, data_dir: one}\n- {config_name: b, data_dir: other}", "a", {"train", "test"}),
        ("- {config_name: b, data_dir: ./one/, data_files: [{split: dev, path: test-*}]}", None, {"dev"}),
        ("- data_files: one/**", None, {"train"}),
        ("- data_files: '**/x.parquet'", None, {"train"}),
        ("- data_files: {train: 'one/tra?n-*', held: 'one/te[!r]t-*'}", None, {"train", "held"}),
        ("- 5\n- {config_name: 7, data_files: [other/*]}", "7", {"train"}),
    ],
)
def test_cards_in_all_their_forms(carded, configs, config, expected):
    (carded / "README.md").write_text(f"---\nconfigs:\n{configs}\n---\n", encoding="utf-8")
    assert {clip.extra["split"] for clip in parse(carded, config=config, **NAMES).clips} == expected


@pytest.fixture
def sounding(tmp_path):
    """Files of audio in two configurations, with the card that lists them."""
    for name in ("en/x/sad/anna_1.wav", "en/y/sad/ben_1.wav", "zh/x/angry/li_1.wav"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(b"not decoded here")
    (tmp_path / "README.md").write_text(
        "---\nconfigs:\n- config_name: en\n  data_files:\n  - {split: train, path: en/x/**}\n"
        "  - {split: held, path: en/y/*/*.wav}\n- config_name: zh\n  data_dir: zh\n---\n",
        encoding="utf-8",
    )
    return tmp_path


PATTERN = {"speaker_pattern": "([a-z]+)_[0-9]"}


def test_the_card_s_configurations_and_parts_hold_for_files_of_audio(sounding):
    def told(**options):
        return [(clip.speaker, clip.extra.get("split")) for clip in parse(sounding, **options, **PATTERN).clips]

    assert told(config="en") == [("hub:anna", "train"), ("hub:ben", "held")]
    assert told(config="en", splits=["held"]) == [("hub:ben", "held")]
    assert told(config="zh") == [("hub:li", None)]
    with pytest.raises(UserError, match="^corpus.config: no configuration 'xx'; the data set has en, zh"):
        told(config="xx")
    (sounding / "README.md").unlink()
    assert told(config="en") == [("hub:anna", None), ("hub:ben", None)]
    assert len(told(splits=["train"])) == 3
    with pytest.raises(UserError, match="^corpus.config: .* no folder 'fr'"):
        told(config="fr")


def test_metadata_is_of_the_files_that_are_meant(sounding):
    lines = ["file_name,label,speaker", "x/sad/anna_1.wav,happy,zoe", "y/sad/ben_1.wav,happy,yves"]
    (sounding / "en/metadata.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (clip,) = parse(sounding, config="en", splits=["train"]).clips
    assert (clip.speaker, clip.emotion, clip.extra) == ("hub:zoe", "happy", {"split": "train"})
    card = "---\nconfigs:\n- data_files: [{split: test, path: en/metadata.csv}]\n---\n"
    (sounding / "README.md").write_text(card, encoding="utf-8")
    assert [(clip.speaker, clip.extra) for clip in parse(sounding).clips] == [
        ("hub:zoe", {"split": "test"}),
        ("hub:yves", {"split": "test"}),
    ]


def test_metadata_in_parquet_beside_audio_is_no_table_of_clips(sounding):
    (sounding / "README.md").unlink()
    table = pa.table({"file_name": ["en/x/sad/anna_1.wav"], "label": ["happy"], "speaker": ["zoe"]})
    pq.write_table(table, sounding / "metadata.parquet")
    assert [clip.speaker for clip in parse(sounding).clips] == ["hub:zoe"]


def test_without_a_card_folders_are_configurations(carded):
    (carded / "README.md").unlink()
    assert [clip.extra["split"] for clip in parse(carded, config="one", **NAMES).clips] == ["test"] * 3 + ["train"] * 3


def test_without_parquet_the_folder_is_an_audiofolder(tmp_path):
    for name in ("train/sad/anna_1.wav", "test/angry/ben_1.wav"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(b"not decoded here")
    clips = parse(tmp_path, speaker_pattern="/([a-z]+)_").clips
    assert [clip.speaker for clip in clips] == ["hub:ben", "hub:anna"]
    (clip,) = parse(tmp_path, speaker_pattern="/([a-z]+)_", splits=["train"]).clips
    assert clip.id == "hub/train/sad/anna_1"
    with pytest.raises(UserError, match="^corpus.splits: no split 'trian'; the data set has test, train$"):
        parse(tmp_path, speaker_pattern="/([a-z]+)_", splits=["trian"])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "corpus.dataset: name an id on the Hub here, or a folder or parquet file in corpus.root"),
        ({"root": "x", "dataset": "user/name"}, "corpus.dataset: name an id on the Hub here, or"),
        ({"root": "nowhere"}, "corpus.root: nowhere is neither a folder nor a parquet file"),
    ],
)
def test_a_data_set_is_needed(options, told):
    with pytest.raises(UserError, match=f"^{told}"):
        parse(**options)


def test_what_is_no_data_set_is_named(tmp_path, write):
    with pytest.raises(UserError, match="holds neither parquet nor audio files"):
        parse(tmp_path)
    (tmp_path / "bad.parquet").write_bytes(b"not parquet")
    with pytest.raises(UserError, match="bad.parquet: cannot be read as parquet: "):
        parse(tmp_path / "bad.parquet")
    root = write(**{"sound": ["a.wav"] * 3})
    with pytest.raises(UserError, match="corpus.audio: .* has no column 'speech'; it has audio, emotion, who, sound"):
        parse(root / "data/train-00000-of-00001.parquet", audio="speech", **NAMES)
    pq.write_table(pa.table({"audio": [1], "emotion": ["sad"]}), tmp_path / "n.parquet")
    with pytest.raises(UserError, match="corpus.audio: the column 'audio' holds int64, not audio"):
        parse(tmp_path / "n.parquet", **NAMES)


def test_a_folder_that_cannot_be_read_is_named(write, monkeypatch):
    def refused(root, refuse):
        refuse(PermissionError(13, "Permission denied", f"{root}/data"))

    monkeypatch.setattr(hub, "folders_below", refused)
    with pytest.raises(UserError, match=r"/data: cannot be read \(Permission denied\); corpus.root and all in it"):
        parse(write(), **NAMES)


@pytest.fixture
def on_the_hub(carded, tmp_path_factory, monkeypatch):
    """The data set as the Hub has it at COMMIT; a list of the patterns that were fetched."""
    fetched, local = [], tmp_path_factory.mktemp("snapshot")

    def snapshot_download(dataset, repo_type, revision, allow_patterns):
        if (dataset, repo_type, revision) != ("user/calls", "dataset", COMMIT):
            raise LocalEntryNotFoundError("Cannot find it. More words.")
        fetched.append(allow_patterns)
        files = [path.relative_to(carded).as_posix() for path in carded.rglob("*") if path.is_file()]
        for name in filter_repo_objects(files, allow_patterns=allow_patterns):
            (local / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(carded / name, local / name)
        return str(local)

    class Api:
        def dataset_info(self, dataset, revision):
            if dataset != "user/calls":
                raise OSError("no such data set. More words.")
            return type("Info", (), {"sha": COMMIT})

    monkeypatch.setattr(hub, "snapshot_download", snapshot_download)
    monkeypatch.setattr(hub, "HfApi", Api)
    return fetched


def test_a_data_set_of_the_hub(on_the_hub):
    options = {"dataset": "user/calls", "revision": COMMIT, "config": "one", **NAMES}
    dataset = load_corpus("hub", **options, splits=["train", "held_out"], corpus_name="calls")
    assert len(dataset) == 6
    assert "other/*.parquet" not in on_the_hub[-1]
    assert dataset["split"][:] == ["held_out"] * 3 + ["train"] * 3
    assert dataset["corpus"][0] == "calls"
    parse(**options, splits=["train"])
    assert on_the_hub[-1][4:] == ["one/train-*", *(f"*/{name}" for name in METADATA)]


def test_a_data_set_without_a_card(on_the_hub, carded):
    (carded / "README.md").unlink()
    listing = parse(dataset="user/calls", revision=COMMIT, config="other", **NAMES)
    assert len(listing.clips) == 3
    assert on_the_hub[-1][4:6] == ["other/*.parquet", "other/*.aif"]


@pytest.mark.parametrize(
    ("revision", "told"),
    [
        (None, f"missing; give a commit .* the newest is {COMMIT} today"),
        ("main", f"main may move; .* main is {COMMIT}"),
    ],
)
def test_a_revision_is_a_commit(on_the_hub, revision, told):
    with pytest.raises(UserError, match=f"^corpus.revision: {told}"):
        parse(dataset="user/calls", revision=revision)


def test_what_the_hub_does_not_have_is_named(on_the_hub):
    with pytest.raises(UserError, match="^corpus.dataset: user/other cannot be had from the Hub: no such data set$"):
        parse(dataset="user/other")
    with pytest.raises(
        UserError, match="^corpus.dataset: user/calls at f+ cannot be had from the Hub: Cannot find it$"
    ):
        parse(dataset="user/calls", revision="f" * 40)
    with pytest.raises(UserError, match="^corpus.splits: no split 'dev'"):
        parse(dataset="user/calls", revision=COMMIT, config="one", splits=["dev"])


def test_features_of_another_version_are_passed_over(write):
    root = write(emotion=["sad", "angry", "sad"])
    path = root / "data/train-00000-of-00001.parquet"
    table = pq.read_table(path)
    odd = b'{"info": {"features": {"emotion": {"names": ["x"], "_type": "ClassLabelOfTomorrow"}}}}'
    pq.write_table(table.replace_schema_metadata({b"huggingface": odd}), path)
    assert [clip.emotion for clip in parse(root, **NAMES).clips] == ["sad", "angry", "sad"]
