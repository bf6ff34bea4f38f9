"""A user's list: every form it may have, and every mistake in it named by file, line and entry."""

import json
import re

import pytest

from ser_hf.protocols import audit, save_splits, split_corpus
from ser_hf.utils.errors import UserError

pytestmark = pytest.mark.usefixtures("few_draws")

SPEAKERS = {"train": ["x:01", "x:02", "x:03"], "validation": ["x:04"], "test": ["x:05", "x:06"]}


@pytest.fixture(scope="module")
def dataset(make_corpus):
    return make_corpus(6)


@pytest.fixture
def written(tmp_path):
    """A function from a file's name and its content (JSON unless it is text) to the path as a
    recipe names it.
    """

    def write(name, content):
        path = tmp_path / name
        path.write_text(
            content if isinstance(content, str) else json.dumps(content), encoding="utf-8"
        )
        return str(path)

    return write


def listed_split(dataset, path, **options):
    """The split that a file lists, which has one fold."""
    (split,) = split_corpus(dataset, "file", path=path, **options)
    return split


def ids_of(dataset, speakers):
    return [
        row["id"] for row in dataset.select_columns(["id", "speaker"]) if row["speaker"] in speakers
    ]


@pytest.mark.parametrize("spelling", ["validation", "dev", "val"])
def test_ids_speakers_and_a_mixture_are_equal(dataset, written, spelling):
    ids = {part: ids_of(dataset, names) for part, names in SPEAKERS.items()}
    mixed = {
        "train": [*ids["train"][:7], "x:02", "x:03"],
        spelling: ids["validation"],
        "test": ["x:05", *ids["test"]],
    }
    expected = listed_split(dataset, written("list.json", SPEAKERS))
    assert listed_split(dataset, written("list.json", ids)) == expected
    assert listed_split(dataset, written("list.json", mixed)) == expected


def test_folds_of_json(dataset, written):
    second = {"train": ["x:05", "x:06"], "dev": ["x:04"], "test": ["x:01"]}
    path = written("list.json", {"folds": [SPEAKERS, second]})
    folds = split_corpus(dataset, "file", path=path)
    assert [fold.speakers["test"] for fold in folds] == [["x:05", "x:06"], ["x:01"]]
    assert [fold.fold for fold in folds] == ["1 of 2", "2 of 2"]
    assert listed_split(dataset, written("list.json", {"folds": [SPEAKERS]})).fold is None


@pytest.mark.parametrize("name", ["speaker_independent", "kfold"])
def test_the_split_file_of_a_run_is_a_valid_list(dataset, tmp_path, name):
    splits = split_corpus(dataset, name, validation=0.2)
    save_splits(splits, [audit(split, dataset) for split in splits], tmp_path / "split.json")
    again = split_corpus(dataset, "file", path=str(tmp_path / "split.json"))
    assert [split.sha256 for split in again] == [split.sha256 for split in splits]
    assert [split.fold for split in again] == [split.fold for split in splits]


def test_validation_speakers_are_drawn_if_none_are_listed(dataset, written):
    content = {"train": ["x:01", "x:02", "x:03", "x:04"], "test": ["x:05"]}
    split = listed_split(dataset, written("list.json", content), validation=0.5, seed=1)
    assert len(split.speakers["validation"]) == 2
    assert sorted(split.speakers["train"] + split.speakers["validation"]) == content["train"]
    assert split.notes == (
        "The list has no validation part: 0.5 of the training speakers were drawn.",
    )
    drawn = set()
    for seed in range(6):
        split = listed_split(dataset, written("list.json", content), seed=seed)
        drawn.add(tuple(split.speakers["validation"]))
    assert len(drawn) > 1


def by_clip(dataset, parts=("train", "validation", "test")):
    """Deal each speaker's clips to the splits in turn, so that every split has every label and
    speaker.
    """
    listed = {part: [] for part in parts}
    for row, clip in enumerate(dataset.select_columns(["id", "label"])):
        part = parts[(row // 6 + clip["label"]) % len(parts)]
        listed[part].append(clip["id"])
    return listed


def test_a_list_by_clip_is_refused_unless_it_is_allowed(dataset, written):
    path = written("list.json", by_clip(dataset, ("train", "validation", "test")))
    with pytest.raises(UserError) as error:
        listed_split(dataset, path)
    leak = "Speaker-dependent: 6 of the 6 test speakers were used for training"
    assert str(error.value).startswith(f"{path}: {leak}")
    assert str(error.value).endswith(" protocol.shared_speakers: true")
    split = listed_split(dataset, path, shared_speakers=True)
    assert split.notes == ("6 speakers are in train and in validation, as listed.",)
    assert split.leak.startswith(leak)
    assert split.apart == dict.fromkeys(split.apart, ())
    assert audit(split, dataset).shared["train/test"]["speakers"] == 6


WHOLE = {"train": ["x:01"], "dev": ["x:02"], "test": ["x:03"]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{train: [1]", "not valid JSON ("),
        ("[" * 100_000, "not valid JSON ("),
        ([["x:01"]], "expected train, validation and test"),
        (WHOLE | {"exam": ["x:04"]}, "unknown part 'exam'; choose one of train, validation"),
        (WHOLE | {"test": "x:03"}, "test is not a list"),
        (WHOLE | {"test": []}, "nothing is listed for test"),
        ({"folds": [WHOLE, WHOLE | {"test": []}]}, "nothing is listed for test in fold 2 of 2"),
        (WHOLE | {"dev": ["x:02", "x:02/9"]}, "validation: 'x:02/9' "),
        (WHOLE | {"test": ["x:03", "x:01/2"]}, "x:01/2 is in train and in test"),
    ],
)
def test_mistakes_in_json_name_the_file_and_the_entry(dataset, written, content, message):
    path = written("list.json", content)
    with pytest.raises(UserError) as error:
        listed_split(dataset, path)
    assert str(error.value).startswith(f"{path}: {message}")


def table(header, lines):
    return "\n".join([header, *lines]) + "\n"


def lines_of(listed):
    return [f"{entry},{part}" for part, entries in listed.items() for entry in entries]


def test_a_table_of_ids_or_speakers_is_as_json(dataset, written):
    expected = listed_split(dataset, written("list.json", SPEAKERS))
    by_speaker = table("speaker,split", lines_of(SPEAKERS))
    assert listed_split(dataset, written("list.csv", by_speaker)) == expected
    ids = {part: ids_of(dataset, names) for part, names in SPEAKERS.items()}
    by_id = table("id\tSplit\tlength", [f"{line}\t1" for line in lines_of(ids)])
    by_id = by_id.replace(",", "\t").replace("validation", "dev")
    assert listed_split(dataset, written("list.TSV", by_id)) == expected


@pytest.mark.parametrize("prefix", ["", "./", "data/corpus/"])
def test_a_table_of_paths_is_as_json(dataset, written, prefix):
    """The listed path may be shorter or longer than that of the dataset."""
    expected = listed_split(dataset, written("list.json", SPEAKERS))
    paths = {
        part: [f"{prefix}{clip_id}.wav" for clip_id in ids_of(dataset, names)]
        for part, names in SPEAKERS.items()
    }
    path = written("list.csv", table("path,split", lines_of(paths)))
    assert listed_split(dataset, path) == expected
    path = written("list.csv", table("path,split", lines_of(paths)).replace("/", "\\"))
    assert listed_split(dataset, path) == expected


def test_folds_of_a_table(dataset, written):
    lines = ["x:01,train,a", "x:02,train,a", "x:03,dev,a", "x:04,test,a"]
    lines += ["x:04,train,b", "x:02,train,b", "x:03,dev,b", "x:01,test,b"]
    path = written("list.csv", table("speaker,split,fold", lines))
    folds = split_corpus(dataset, "file", path=path)
    assert [fold.fold for fold in folds] == ["a", "b"]
    assert [fold.speakers["test"] for fold in folds] == [["x:04"], ["x:01"]]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["id,part", "x:01/0,train"], ": expected the columns split and id, path or speaker"),
        (["id,split"], ": no line below the header"),
        (["id,split", "x:01/0,exam"], ", line 2: unknown part 'exam'"),
        (["id,split", "x:01/0,"], ", line 2: the cell of split is empty"),
        (["id,split", ",train"], ", line 2: the cell of id is empty"),
        (["id,split", "x:01/99,train"], ", line 2: 'x:01/99' is neither an id nor a speaker"),
        (["path,split", "x:01/99.wav,train"], ", line 2: no clip of the corpus has the path"),
        (["path,split", "x:99/0.wav,train"], ", line 2: no clip of the corpus has the path"),
        (["path,split", "0.wav,train"], ", line 2: '0.wav' may be x:01/0.wav or x:02/0.wav"),
        (["speaker,split", "x:01,train", "x:02,dev"], ": nothing is listed for test"),
        (["speaker,split,fold", "x:01,train,1", "x:02,test,"], ": some lines have no fold"),
    ],
)
def test_mistakes_in_a_table_name_the_file_and_the_line(dataset, written, lines, message):
    path = written("list.csv", "\n".join(lines))
    with pytest.raises(UserError) as error:
        listed_split(dataset, path)
    assert str(error.value).startswith(f"{path}{message}")


def test_a_list_is_needed(dataset, tmp_path):
    with pytest.raises(UserError, match=r"^protocol\.path: missing"):
        split_corpus(dataset, "file")
    missing = str(tmp_path / "none.json")
    with pytest.raises(UserError, match=f"^{re.escape(missing)}: "):
        listed_split(dataset, missing)
    folder = str(tmp_path)
    with pytest.raises(UserError, match=f"^{re.escape(folder)}: "):
        listed_split(dataset, folder)
