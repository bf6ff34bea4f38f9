"""A table of the user's own: columns by name, labels in the user's words, every mistake with its
line.
"""

import os

import pytest
from datasets import Value
from support.blank import write_blank

from ser_hf.corpora import corpus_facts, corpus_settings, load_corpus, tables
from ser_hf.corpora.schema import EMOTIONS, SYNONYMS
from ser_hf.experiment.reading import read_recipe
from ser_hf.utils.errors import UserError


def parse(root=None, **keys):
    return tables.parse(corpus_settings("csv", root, **keys))


PLAIN = "path,label,speaker\na.wav,angry,anna\nsub/b.wav,sad,ben\n"


@pytest.fixture
def table(tmp_path):
    """A function that writes a table and a few audio files, and returns the path of the table."""
    write_blank(tmp_path, "a.wav", "sub/b.wav", "sub/c.flac")

    def write(text, name="clips.csv", encoding="utf-8"):
        (tmp_path / name).write_bytes(text.encode(encoding))
        return tmp_path / name

    return write


def test_three_columns_are_enough(table):
    root = table(PLAIN)
    first, second = parse(root).clips
    assert (first.path, first.emotion, first.speaker) == (
        str(root.parent / "a.wav"),
        "angry",
        "csv:anna",
    )
    assert (first.id, second.id) == ("csv/a", "csv/sub/b")
    assert [first.sex, first.age, first.language, first.sentence, first.intensity, first.take] == [
        None
    ] * 6
    assert first.extra == {}


def test_known_columns_fill_the_row_and_others_are_carried_along(table):
    text = (
        "path,label,speaker,id,sex,age,language,sentence,intensity,take,session,rating,count,code,empty,\n"
        'a.wav,angry,anna,x1,F,31,de,"Nein, danke",high,2,1,0.5,3,007,,0\n'
        "sub/b.wav,sad,ben,x2,male,,,,,,2,4,,8,,1\n"
    )
    first, second = parse(table(text), language="en").clips
    assert (first.id, first.sex, first.age, first.language) == ("csv/x1", "female", 31, "de")
    assert (first.sentence, first.intensity, first.take) == ("Nein, danke", "high", 2)
    assert first.extra == {"session": "1", "rating": 0.5, "count": 3, "code": "007"}
    assert (second.sex, second.age, second.language, second.take) == ("male", None, "en", None)
    assert second.extra == {"session": "2", "rating": 4.0, "code": "8"}
    features = load_corpus("csv", table(text)).features
    assert (features["rating"], features["count"]) == (Value("float64"), Value("int64"))


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_separators_byte_order_marks_and_line_ends(table, separator, end):
    text = PLAIN.replace(",", separator).replace("\n", end)
    assert [clip.speaker for clip in parse(table(text, encoding="utf-8-sig")).clips] == [
        "csv:anna",
        "csv:ben",
    ]


def test_blank_lines_spaces_and_short_rows(table):
    text = "path, label ,speaker,note,\n\n a.wav ,angry, anna\n,,,,\nsub/b.wav,sad,ben,,\n"
    assert [(clip.speaker, clip.extra) for clip in parse(table(text)).clips] == [
        ("csv:anna", {}),
        ("csv:ben", {}),
    ]


def test_paths_start_from_the_tables_folder_or_from_audio_root(table, tmp_path):
    elsewhere = tmp_path / "tables"
    elsewhere.mkdir()
    root = table(PLAIN, "tables/clips.csv")
    with pytest.raises(
        UserError, match=r"clips.csv, line 2: no file .*tables/a.wav; correct the path"
    ):
        parse(root)
    clips = parse(root, audio_root=str(tmp_path)).clips
    assert [clip.id for clip in clips] == ["csv/a", "csv/sub/b"]
    absolute = parse(
        table(PLAIN.replace("a.wav", str(tmp_path / "a.wav")), "tables/clips.csv"),
        on_unknown="skip",
    )
    assert [clip.id for clip in absolute.clips] == [f"csv/{tmp_path / 'a'}"]
    assert absolute.skipped == [(f"{root}, line 3", "no such file")]


def test_every_common_word_means_a_canonical_emotion():
    assert set(SYNONYMS.values()) <= set(EMOTIONS)
    assert not SYNONYMS.keys() & set(EMOTIONS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "path,label\na.wav,sad\n",
            "corpus.speaker: .* has no column 'speaker'; it has path, label; name the column",
        ),
        (
            "file,label,speaker\na.wav,sad,x\n",
            "corpus.path: .* has no column 'path'; it has file, label, speaker",
        ),
        ("", "corpus.path: .* it has none"),
        ("path,label,speaker\n,sad,x\n", r"line 2: the cell of 'path' \(corpus.path\) is empty"),
        (
            "path,label,speaker\na.wav,sad,x,y\n",
            r"line 2: more cells than the header has columns \(3\)",
        ),
        ("path,label,speaker,label\na.wav,sad,x,y\n", "the column 'label' .* twice"),
        (PLAIN + "sub/../a.wav,sad,cy\n", r"line 4: sub/../a.wav is also in .*, line 2"),
        (
            'path,label,speaker,note\na.wav,sad,x,"two\nlines"\nno.wav,sad,x,\n',
            "line 4: no file .*no.wav",
        ),
        ("path,label,speaker" + ",c" * 1000, "1,003 columns; a table of clips has 1,000 at"),
        (
            PLAIN + "a.wav,sad," + "x" * 200_000,
            r"clips.csv, line 4: not valid CSV \(field larger than field limit",
        ),
    ],
)
def test_a_mistake_is_named(table, text, message):
    with pytest.raises(UserError, match=message):
        parse(table(text))


def test_a_table_that_is_not_utf8_is_named(table):
    with pytest.raises(
        UserError,
        match=r"clips.csv, line 2: cannot be read as UTF-8 text .*save the table as UTF-8",
    ):
        parse(table(PLAIN.replace("anna", "ännä"), encoding="latin-1"))


@pytest.mark.parametrize(
    ("missing", "message"), [(None, "missing"), ("absent.csv", ".*absent.csv"), (".", ".*")]
)
def test_a_missing_table_is_named(tmp_path, missing, message):
    with pytest.raises(UserError, match=f"corpus.root: {message}.*; csv needs a table of clips"):
        parse(None if missing is None else tmp_path / missing)


def test_facts_come_from_the_options(table):
    corpus = {
        "name": "csv",
        "root": str(table(PLAIN)),
        "corpus_name": "calls",
        "license": "cc0-1.0",
        "acted": True,
    }
    recipe = read_recipe({"corpus": corpus, "model": {"architecture": "crnn"}})
    facts = corpus_facts("csv", recipe.corpus.options)
    assert [facts[key] for key in ("title", "license", "url", "acted")] == [
        "calls",
        "cc0-1.0",
        None,
        True,
    ]
    assert corpus_facts("csv", {"title": "Calls of 2020"})["title"] == "Calls of 2020"


def test_custom_labels_are_classes_after_the_emotions_and_can_be_merged(table):
    text = "path,label,speaker\na.wav,Satisfied,anna\nsub/b.wav,sad,ben\nsub/c.flac,fine,ben\n"
    settings = {"custom_labels": ["satisfied", "pleased"], "label_map": {"fine": "pleased"}}
    dataset = load_corpus("csv", table(text), **settings)
    assert dataset.features["label"].names == ["sad", "pleased", "satisfied"]
    merged = load_corpus(
        "csv", table(text), **settings, merge={"pleased": "satisfied"}, labels=["satisfied", "sad"]
    )
    assert merged["label"][:] == [0, 1, 0]
    happy = load_corpus("csv", table(text), **settings, merge={"pleased": "happy"})
    assert happy.features["label"].names == ["happy", "sad", "satisfied"]
    own = {"name": "csv", "root": str(table(text)), "drop": ["pleased"], **settings}
    mixed = load_corpus("mixture", corpora=[own])
    assert mixed.features["label"].names == ["sad", "satisfied"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"custom_labels": ["angry"]}, "custom_labels: 'angry': give words of lower-case letters"),
        ({"custom_labels": ["a b"]}, "custom_labels: 'a b': give words of lower-case letters"),
        (
            {"label_map": {"sad": "satisfied"}},
            "'satisfied'; choose one of .*or list it in corpus.custom_labels",
        ),
        ({"drop": ["satisfied"]}, "drop: 'satisfied' is not a canonical emotion"),
    ],
)
def test_labels_that_are_no_custom_labels(table, settings, message):
    with pytest.raises(UserError, match=message):
        load_corpus("csv", table(PLAIN), **settings)


SEGMENTS = "path,start,end,label,speaker\n"


def test_rows_with_a_start_and_an_end_are_segments(table):
    text = SEGMENTS + "a.wav,0.1,0.25,angry,anna\na.wav,0.3,,sad,ben\nsub/b.wav,,,sad,ben\n"
    dataset = load_corpus("csv", table(text))
    assert dataset["start"][:] == [0.1, 0.3, None]
    assert dataset["end"][:] == [0.25, None, None]
    assert dataset["id"][:] == [
        "csv/a@00000.100-00000.250",
        "csv/a@00000.300-end",
        "csv/sub/b",
    ]


def test_columns_of_segments_have_any_name(table):
    text = "path,from,to (ms),label,speaker\na.wav,0.1,250,angry,anna\nsub/b.wav,0,100,sad,ben\n"
    dataset = load_corpus("csv", table(text), start="from", end="to (ms)")
    assert dataset["end"][:] == [0.25, 0.1]
    whole = load_corpus("csv", table(text), start=None)
    assert whole["start"][:] == [None, None]
    assert whole["from"][:] == [0.1, 0.0]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("a.wav,2,1,angry,anna\n", {}, "line 2: .*ends at 1 s, but begins at 2 s"),
        ("a.wav,-2,1,angry,anna\n", {}, "line 2: .*'-2' in column start is a negative time"),
        ("a.wav,x,1,angry,anna\n", {}, "line 2: .*'x' in column start is no time"),
        (
            "a.wav,0,1,angry,anna\na.wav,0,1,sad,anna\n",
            {},
            "line 3: a.wav, 0.000-1.000 s, is also in .*, line 2 with the label 'angry'",
        ),
        ("a.wav,0,1,angry,anna\n", {"start": "from"}, r"corpus\.start: .* no column 'from'"),
    ],
)
def test_wrong_times_name_their_row(table, text, options, message):
    with pytest.raises(UserError, match=message):
        load_corpus("csv", table(SEGMENTS + text), **options)


def test_times_under_other_names_are_not_left_unread(table):
    text = "path,onset,offset,label,speaker\na.wav,0.1,0.2,angry,anna\n"
    with pytest.raises(UserError, match=r"onset and offset .*corpus\.start and corpus\.end"):
        load_corpus("csv", table(text))


def test_paths_with_backslashes_are_found(table):
    clips = parse(table(PLAIN.replace("sub/b.wav", ".\\sub\\b.wav"))).clips
    assert [clip.id for clip in clips] == ["csv/a", "csv/sub/b"]


@pytest.mark.skipif(os.name == "nt", reason="a path with a drive may exist")
@pytest.mark.parametrize("path", ["C:\\data\\b.wav", "d:/data/b.wav"])
def test_paths_with_a_drive_of_windows_are_named(table, path):
    with pytest.raises(UserError) as error:
        parse(table(PLAIN.replace("sub/b.wav", path)))
    message = str(error.value)
    assert "line 3: " in message
    assert f"{path} is a path of Windows" in message
    assert "corpus.audio_root" in message


@pytest.mark.parametrize("column", ["id", "key"])
def test_repeated_ids_name_the_column_and_both_lines(table, column):
    text = f"path,label,speaker,{column}\na.wav,angry,anna,x\nsub/b.wav,sad,ben,x\n"
    columns = None if column == "id" else {"id": column}
    with pytest.raises(UserError) as error:
        parse(table(text), columns=columns)
    message = str(error.value)
    assert "line 3: " in message
    assert f"the column {column!r} has 'x'" in message
    assert "clips.csv, line 2" in message


def test_missing_ids_may_repeat(table):
    text = "path,label,speaker,id\na.wav,angry,anna,NA\nsub/b.wav,sad,ben,NA\n"
    assert [clip.id for clip in parse(table(text)).clips] == ["csv/a", "csv/sub/b"]
