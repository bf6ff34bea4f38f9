"""Several corpora as one: rows of all of them under one label treatment, every mistake with its
place in the list.
"""

from collections import Counter

import pytest
from datasets import Value
from support.blank import write_blank
from support.layouts import write_votes
from support.testing import write_corpus

from ser_hf.corpora import corpus_facts, corpus_settings, load_corpus, read_corpus
from ser_hf.experiment.reading import read_recipe
from ser_hf.utils.errors import UserError


def read(name, root=None, **keys):
    return read_corpus(corpus_settings(name, root, **keys))


MODEL = {"architecture": "crnn"}


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """Four small corpora: their folders, and the table of csv."""
    folder = tmp_path_factory.mktemp("mixed")
    for seed, name in enumerate(("ravdess", "cremad", "savee", "csv", "iemocap")):
        # Different seeds, since equal voices would give equal recordings.
        paths = write_corpus(name, folder / name, speakers=3, takes=1, seed=seed)
        if name == "cremad":
            write_votes(folder / name, paths, seed)
    folders = {name: str(folder / name) for name in ("ravdess", "cremad", "savee", "iemocap")}
    return folders | {"csv": str(folder / "csv" / "clips.csv")}


@pytest.fixture
def item(roots):
    """A function from a corpus's name to its item of `corpus.corpora`."""
    return lambda name, **options: {"name": name, "root": roots[name], **options}


def table(path, text):
    write_blank(path.parent, *(line.partition(",")[0] for line in text.splitlines()[1:]))
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_rows_of_all_corpora_come_in_the_order_of_their_ids(item):
    dataset = load_corpus("mixture", corpora=[item("savee"), item("ravdess"), item("cremad")])
    ids, corpora, speakers = (dataset[column][:] for column in ("id", "corpus", "speaker"))
    assert ids == sorted(ids)
    assert dict.fromkeys(corpora) == dict.fromkeys(["cremad", "ravdess", "savee"])
    assert all(name.startswith(f"{own}/") for name, own in zip(ids, corpora, strict=True))
    assert all(
        speaker.startswith(f"{own}:") for speaker, own in zip(speakers, corpora, strict=True)
    )
    assert len(dataset) == sum(len(load_corpus(name, item(name)["root"])) for name in set(corpora))
    assert (
        dataset[:]
        == load_corpus("mixture", corpora=[item("cremad"), item("savee"), item("ravdess")])[:]
    )


def test_labels_are_treated_over_all_corpora_together(item):
    dataset = load_corpus(
        "mixture",
        corpora=[item("ravdess"), item("cremad")],
        labels=["sad", "neutral", "happy", "angry", "fear", "disgust"],
        merge={"calm": "neutral"},
        drop=["surprise"],
        exclude=["cremad/1001_DFA_ANG_XX"],
    )
    labels = dataset.features["label"]
    assert labels.names == ["sad", "neutral", "happy", "angry", "fear", "disgust"]
    neutral = [row["corpus"] for row in dataset if labels.int2str(row["label"]) == "neutral"]
    assert (neutral.count("ravdess"), neutral.count("cremad")) == (6, 3), (
        "calm and neutral of 3 actors, neutral of 3"
    )
    assert "cremad/1001_DFA_ANG_XX" not in dataset["id"][:]
    assert "cremad/1002_DFA_ANG_XX" in dataset["id"][:]
    with pytest.raises(UserError, match=r"corpus\.labels: 'surprise' \(3 clips, .* is not listed"):
        load_corpus(
            "mixture",
            corpora=[item("ravdess"), item("cremad")],
            labels=labels.names,
            merge={"calm": "sad"},
        )


def test_a_column_of_one_corpus_is_null_in_the_others(item):
    rated = item("cremad", target="voice", soft=True)
    dataset = load_corpus("mixture", corpora=[rated, item("csv"), item("iemocap"), item("savee")])
    corpora_of_column = {
        "votes": {"cremad"},
        "loudness": {"csv"},
        "kind": {"iemocap"},
        "valence": {"iemocap"},
        "session": {"csv", "iemocap"},
    }
    for column, corpora in corpora_of_column.items():
        assert {row["corpus"] for row in dataset if row[column] is not None} == corpora
    assert dataset.features["loudness"] == Value("float64")


def test_sessions_are_prefixed_and_sentences_are_not(tmp_path, item):
    write_corpus("csv", tmp_path, speakers=3, takes=1)
    corpora = [
        item("csv"),
        {"name": "csv", "root": str(tmp_path / "clips.csv"), "corpus_name": "calls"},
    ]
    dataset = load_corpus("mixture", corpora=corpora)
    assert set(dataset["session"][:]) == {"csv:morning", "calls:morning"}
    assert {row["session"].partition(":")[0] == row["corpus"] for row in dataset} == {True}
    sentences = set(
        load_corpus("mixture", corpora=[item("ravdess"), item("cremad")])["sentence"][:]
    )
    assert "Kids are talking by the door" in sentences


def test_on_unknown_of_an_item_takes_precedence(tmp_path, item, caplog):
    write_corpus("savee", tmp_path, speakers=2, takes=1)
    write_blank(tmp_path, "notes.wav")
    savee = {"name": "savee", "root": str(tmp_path)}
    with pytest.raises(
        UserError, match=r"notes\.wav: not a .*, or set corpus\.corpora\[1\]\.on_unknown: skip"
    ):
        load_corpus("mixture", corpora=[item("cremad"), savee])
    with pytest.raises(UserError, match=r"corpus\.corpora\[1\]\.on_unknown: skip"):
        load_corpus(
            "mixture", on_unknown="skip", corpora=[item("cremad"), savee | {"on_unknown": "error"}]
        )
    for spoken in (
        {"corpora": [item("cremad"), savee | {"on_unknown": "skip"}]},
        {"on_unknown": "skip"},
    ):
        caplog.clear()
        assert (
            len(load_corpus("mixture", **{"corpora": [item("cremad"), savee]} | spoken)) == 18 + 14
        )
        assert "left out, not a file name of SAVEE: 1" in caplog.text


@pytest.mark.parametrize(
    ("corpora", "message"),
    [
        (
            None,
            "corpora: missing; a mixture lists its corpora, such as [{name: ravdess, ",
        ),
        (
            [{"name": "savee"}, {"name": "mixture"}],
            "corpora[1].name: unknown corpus 'mixture'; choose one of ",
        ),
        (
            [{"name": "cremad", "target": "voices"}],
            "corpora[0].target: expected one of intended, voice, ",
        ),
        (
            [{"name": "savee", "weight": 0}],
            "corpora[0].weight: expected a number of more than 0 and at most 100",
        ),
        (
            [{"name": "tess", "weight": 101}],
            "corpora[0].weight: expected a number of more than 0 and at most 100",
        ),
    ],
)
def test_a_mistake_is_named_by_its_place_before_any_file_is_touched(corpora, message):
    recipe = {"corpus": {"name": "mixture", "corpora": corpora}, "model": MODEL}
    for refused in (lambda: read_recipe(recipe), lambda: load_corpus("mixture", corpora=corpora)):
        with pytest.raises(UserError) as error:
            refused()
        assert str(error.value).startswith(f"corpus.{message}")


def test_a_mistake_in_the_files_is_named_by_its_place(tmp_path, item):
    with pytest.raises(
        UserError, match=r"^corpus\.corpora\[1\]\.root: missing; name the folder .* of RAVDESS"
    ):
        load_corpus("mixture", corpora=[item("savee"), {"name": "ravdess"}])
    # A folder that looks like a key is not taken for one.
    odd = tmp_path / "corpus.root" / "files"
    odd.mkdir(parents=True)
    with pytest.raises(UserError) as error:
        load_corpus("mixture", corpora=[{"name": "ravdess", "root": str(odd)}])
    assert str(error.value).startswith(f"corpus.corpora[0].root: {tmp_path}/corpus.root/")
    write_blank(odd, "strange.wav")
    with pytest.raises(UserError, match=r"corpora\[1\]\.root: .* holds no clip of savee \(1 files"):
        load_corpus(
            "mixture",
            corpora=[item("ravdess"), {"name": "savee", "root": str(odd), "on_unknown": "skip"}],
        )
    words = table(tmp_path / "odd.csv", "path,label,speaker\na.wav,zestful,anna\n")
    with pytest.raises(UserError, match=r"map it with corpus\.corpora\[0\]\.label_map, as in"):
        load_corpus("mixture", corpora=[{"name": "csv", "root": words}])


def test_a_corpus_is_in_a_mixture_once(item):
    with pytest.raises(
        UserError,
        match=r"corpora\[2\]\.name: savee is already used by corpus\.corpora\[0\]; list it",
    ):
        load_corpus("mixture", corpora=[item("savee"), item("ravdess"), item("savee")])
    with pytest.raises(
        UserError, match=r"corpora\[1\]\.name: csv is .*; give each another corpus_name"
    ):
        load_corpus("mixture", corpora=[item("csv"), item("csv")])


def test_a_resolved_recipe_has_every_key_of_every_corpus_and_reads_back(item, tmp_path):
    corpus = {"name": "mixture", "corpora": [item("ravdess", song="yes"), item("cremad")]}
    recipe = read_recipe({"corpus": corpus, "model": MODEL})
    first, second = recipe.corpus.options["corpora"]
    defaults = {"on_unknown": None, "merge": {}, "drop": [], "weight": 1.0, "cap": None}
    assert first.model_dump() == item("ravdess", song=True, **defaults)
    assert second.target == "intended"
    assert read_recipe(recipe.to_dict()) == recipe
    file = tmp_path / "resolved.yaml"
    file.write_text(recipe.to_yaml(), encoding="utf-8")
    assert read_recipe(file) == recipe
    assert corpus_settings("mixture", **recipe.corpus.options).options == recipe.corpus.options


def test_the_facts_of_all_corpora():
    facts = corpus_facts(
        "mixture", {"corpora": [{"name": "cremad"}, {"name": "ravdess"}, {"name": "emodb"}]}
    )
    assert facts["title"] == "CREMA-D, RAVDESS and EMO-DB"
    assert facts["license"] == ["odbl", "cc-by-nc-sa-4.0", corpus_facts("emodb", {})["license"]]
    assert facts["language"] == ["en", "de"]
    assert "Livingstone" in facts["citation"]
    assert facts["acted"] is True
    assert facts["non_commercial"] is True, "one that forbids it forbids it for all"
    corpora = [{"name": "cremad"}, {"name": "ravdess"}, {"name": "csv", "corpus_name": "calls"}]
    trainings = {"cremad"}, {"calls", "cremad"}, {"x"}
    facts = [corpus_facts("mixture", {"corpora": corpora}, trained_on) for trained_on in trainings]
    assert [one["title"].count("RAVDESS") for one in facts] == [0, 0, 1], (
        "only what the model is trained on"
    )
    assert [one["non_commercial"] for one in facts] == [False, False, True]
    free = corpus_facts("mixture", {"corpora": [{"name": "cremad"}]})
    assert (free["title"], free["license"], free["language"]) == ("CREMA-D", "odbl", "en")
    assert free["non_commercial"] is False
    calls = {"name": "csv", "title": "Calls", "license": "cc0-1.0"}
    mixed = corpus_facts("mixture", {"corpora": [{"name": "cremad"}, calls]})
    assert (mixed["title"], mixed["acted"], mixed["language"]) == ("CREMA-D and Calls", False, "en")


# ------------------------------------------------------------------------------- labels, caps and
# weights of an item


def outcomes(corpus):
    """{(corpus, emotion): {class or reason: clips}}"""
    classes = {}
    for source in corpus.sources:
        classes_of_emotion = classes.setdefault((source.corpus, source.emotion), {})
        classes_of_emotion[source.label or source.left_out] = source.clips
    return classes


def test_every_label_of_every_corpus_is_accounted_for(item, caplog):
    corpora = [
        item("ravdess", merge={"calm": "calm"}),
        item("savee", merge={"surprise": "happy"}, drop=["disgust"]),
    ]
    with caplog.at_level("INFO", "ser_hf"):
        rules = {"merge": {"calm": "neutral"}, "drop": ["fear"], "exclude": ["savee/DC_a01"]}
        corpus = read("mixture", corpora=corpora, **rules)
    classes = outcomes(corpus)
    assert classes["ravdess", "calm"] == {"calm": 3}
    assert classes["savee", "surprise"] == {"happy": 3}
    assert classes["ravdess", "surprise"] == {"surprise": 3}
    assert classes["savee", "disgust"] == {"dropped": 3}
    assert classes["ravdess", "disgust"] == {"disgust": 3}
    assert classes["ravdess", "fear"] == classes["savee", "fear"] == {"dropped": 3}
    assert classes["savee", "angry"] == {"angry": 2, "corpus.exclude": 1}
    assert sum(source.clips for source in corpus.sources) == 8 * 3 + 7 * 3
    assert sum(source.clips for source in corpus.sources if source.label) == len(corpus.dataset)
    lines = [" ".join(line.split()) for line in caplog.text.splitlines()]
    assert "savee surprise (su) 3 happy" in lines
    assert "savee angry (a) 1 left out: corpus.exclude" in lines


@pytest.fixture(scope="module")
def uneven(tmp_path_factory):
    """TESS's two speakers, the second with half as many clips, in five and in ten takes of seven
    emotions.
    """
    folder = tmp_path_factory.mktemp("uneven")
    for path in write_corpus("tess", folder, speakers=2, takes=8, seed=9):
        if path.name.startswith("YAF") and path.name.split("_")[1] in (
            "bean",
            "beg",
            "bite",
            "boat",
        ):
            path.unlink()
    return str(folder)


def test_a_cap_keeps_speakers_and_their_emotions_in_proportion(item, uneven):
    tess = {"name": "tess", "root": uneven, "cap": 42, "drop": ["disgust"]}
    corpus = read("mixture", corpora=[item("savee"), tess])
    kept = [(row["speaker"], row["label"]) for row in corpus.dataset if row["corpus"] == "tess"]
    assert len(kept) == 42, "clips that are dropped do not count"
    by_speaker = Counter(speaker for speaker, _ in kept)
    assert by_speaker == {"tess:OAF": 28, "tess:YAF": 14}
    assert set(Counter(pair for pair in kept if pair[0] == "tess:OAF").values()) <= {4, 5}
    assert set(Counter(pair for pair in kept if pair[0] == "tess:YAF").values()) <= {2, 3}
    classes = outcomes(corpus)
    assert classes["tess", "disgust"] == {"dropped": 12}
    assert (
        sum(counts.get("over corpus.corpora[1].cap", 0) for counts in classes.values()) == 72 - 42
    )
    assert Counter(corpus.dataset["corpus"][:])["savee"] == 21


def test_the_draw_of_a_cap_depends_on_the_seed(item, uneven):
    def ids(seed, cap):
        tess = {"name": "tess", "root": uneven, "cap": cap}
        return load_corpus("mixture", corpora=[tess], seed=seed)["id"][:]

    assert ids(0, 30) == ids(0, 30) != ids(1, 30)
    assert ids(0, 1000) == load_corpus("tess", uneven)["id"][:]
    with pytest.raises(UserError, match="^corpus.seed: expected a whole number of at least 0"):
        ids(-1, 30)


@pytest.mark.parametrize(
    "settings", [{"own": ["sad"], "drop": ["fear"]}, {"exclude": ["calls/a", "calls/b"]}]
)
def test_a_corpus_without_a_clip_left_is_named(item, tmp_path, settings):
    calls = table(tmp_path / "calls.csv", "path,label,speaker\na.wav,sad,anna\nb.wav,fear,anna\n")
    member = {"name": "csv", "root": calls, "corpus_name": "calls", "drop": settings.pop("own", [])}
    with pytest.raises(
        UserError,
        match=r"^corpus.drop, corpus.exclude: no clip of calls \(corpus.corpora\[1\]\) is",
    ):
        load_corpus("mixture", corpora=[item("savee"), member], **settings)
