"""ser-hf evaluate: runs of ser_hf and other models on a corpus."""

import json

import pyarrow.parquet as pq
import pytest
from support.recipes import TINY_CRNN
from support.testing import CHECKPOINTS, write_checkpoint, write_corpus

import ser_hf
from ser_hf.cli import main

LABELS = ["angry", "happy", "neutral", "sad"]
DROPPED = ["fear", "disgust", "surprise"]
RECIPE = {
    "name": "tiny",
    "corpus": {"name": "ravdess", "labels": LABELS, "merge": {"calm": "neutral"}, "drop": DROPPED},
    "protocol": {"name": "speaker_independent", "validation": 0.2, "test": 0.4},
    "audio": {"trim_silence": 40},
    "model": TINY_CRNN,
    "training": {"num_train_epochs": 1, "learning_rate": 0.01, "use_cpu": True},
    "evaluation": {"bootstrap": 20},
}
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    root = tmp_path_factory.mktemp("corpora")
    for name in ("ravdess", "emodb"):
        write_corpus(name, root / name, speakers=5, takes=1)
    return root


@pytest.fixture(scope="module")
def run(tmp_path_factory, roots):
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    ser_hf.run_recipe(RECIPE, [f"corpus.root={roots / 'ravdess'}", f"output_dir={folder}"])
    return folder


@pytest.fixture(scope="module")
def random_head(tmp_path_factory):
    """A stock pretrained encoder without a classifier, with other label names."""
    folder = write_checkpoint(tmp_path_factory.mktemp("stock"), **CHECKPOINTS["wavlm-large"])
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = {"0": "ang", "1": "hap", "2": "neu", "3": "sad"}
    config["label2id"] = {word: int(i) for i, word in config["id2label"].items()}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def _evaluate(*words):
    return main(["evaluate", *map(str, words), "--bootstrap", "20"])


def test_a_run_is_evaluated_again_on_its_test_split(run, roots, tmp_path, capsys):
    assert _evaluate(run, "--recipe", run, "--output", tmp_path / "again") == 0
    report = json.loads((tmp_path / "again" / "report.json").read_text())
    saved = json.loads((run / "report" / "report.json").read_text())
    assert report["metrics"] == pytest.approx(saved["metrics"], abs=1e-6)
    assert report["confusion"] == saved["confusion"]
    assert report["labels"] == saved["labels"]
    assert report["audit"]["shared"]["train/test"]["speakers"] == 0
    columns = ["id", "label", "predicted", "speaker"]
    again, before = (
        pq.read_table(folder / "predictions.parquet", filters=[("part", "=", "test")])
        .select(columns)
        .to_pylist()
        for folder in (tmp_path / "again", run / "report")
    )
    by_id = {row["id"]: row for row in before}
    assert {row["id"]: row for row in again} == by_id
    assert f"report: {(tmp_path / 'again' / 'index.html').as_uri()}" in capsys.readouterr().out


def test_training_speakers_are_left_out_unless_requested(run, roots, tmp_path):
    words = [
        run,
        "--corpus",
        "ravdess",
        "--root",
        roots / "ravdess",
        "merge={calm: neutral}",
        "--output",
    ]
    assert _evaluate(*words, tmp_path / "new") == 0
    report = json.loads((tmp_path / "new" / "report.json").read_text())
    saved = json.loads((run / "report" / "report.json").read_text())
    assert (
        report["protocol"]["parts"]["test"]["speakers"]
        == saved["protocol"]["parts"]["test"]["speakers"]
    )
    assert report["metrics"] == pytest.approx(saved["metrics"], abs=1e-6)
    assert any("no label for fear" in note for note in report["protocol"]["notes"])
    assert _evaluate(*words, tmp_path / "known", "--training-speakers") == 0
    leaky = json.loads((tmp_path / "known" / "report.json").read_text())
    assert leaky["protocol"]["leak"].startswith("3 of 5 test speakers")
    assert "Leaky protocol" in (tmp_path / "known" / "index.html").read_text()


def test_training_recordings_are_recognized_under_other_names(run, roots, tmp_path):
    split = json.loads((run / "split.json").read_text())
    tested = {speaker.removeprefix("ravdess:") for speaker in split["speakers"]["test"]}
    lines = ["path,label,speaker"]
    for clip in ser_hf.load_corpus("ravdess", roots / "ravdess", drop=DROPPED):
        name = clip["speaker"].removeprefix("ravdess:")
        lines.append(
            f"{clip['audio']['path']},{'angry' if len(lines) % 2 else 'sad'},person {name}"
        )
    table = tmp_path / "clips.csv"
    table.write_text("\n".join(lines))
    report = ser_hf.evaluate_model(run, "csv", table, bootstrap=20)
    speakers = report.protocol.parts["test"].speakers
    assert speakers == sorted(f"csv:person {name}" for name in tested)
    assert "recordings of their speakers, under other names" in " ".join(report.protocol.notes)


def test_a_matrix_marks_the_training_corpus_and_its_speakers(run, roots, tmp_path):
    corpora = {"ravdess": roots / "ravdess", "emodb": roots / "emodb"}
    matrix = ser_hf.evaluate_matrix([run], corpora, tmp_path / "new", bootstrap=20, map=None)
    (model,) = matrix.models
    on_own = matrix.cell(model, "ravdess")
    assert (on_own.relation, on_own.overlap) == ("own", "left out")
    assert on_own.left_out > on_own.clips
    on_foreign = matrix.cell(model, "emodb")
    # The two tiny corpora have recordings in common, which are recognized by their samples.
    assert (on_foreign.relation, on_foreign.overlap) == ("foreign", "left out")
    assert 0 < on_foreign.left_out < on_foreign.clips

    options = {"bootstrap": 20, "map": None, "training_speakers": True}
    leaky = ser_hf.evaluate_matrix(
        [run], {"ravdess": roots / "ravdess"}, tmp_path / "all", **options
    )
    assert leaky.cell(model, "ravdess").overlap == "shared"
    assert leaky.cell(model, "ravdess").left_out == 0


def test_a_stock_checkpoint_with_a_random_head_is_refused(random_head, roots, tmp_path, capsys):
    words = [random_head, "--corpus", "emodb", "--root", roots / "emodb"]
    assert _evaluate(*words, "--output", tmp_path / "stock") == 2
    assert f"{random_head}: a " in capsys.readouterr().err
    assert not (tmp_path / "stock").exists()


def test_an_evaluation_is_replaced_only_with_overwrite(run, roots, tmp_path, capsys):
    words = [run, "--corpus", "emodb", "--root", roots / "emodb", "--output"]
    assert _evaluate(*words, run) == 2
    assert "files that are not of an evaluation" in capsys.readouterr().err
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "report.json").write_text('{"kind": "evaluation"}')
    assert _evaluate(*words, tmp_path / "old") == 2
    assert "replace it with --overwrite" in capsys.readouterr().err
    assert (tmp_path / "old" / "report.json").read_text() == '{"kind": "evaluation"}'
    assert _evaluate(*words, run / "report", "--overwrite") == 2, (
        "the report of a run is no evaluation"
    )
    with pytest.raises(ser_hf.UserError, match="files that are not of an evaluation"):
        ser_hf.evaluate_model(run, "emodb", roots / "emodb", output=run.parent)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--corpus", "emodb", "--label-map", "nonsense"], "--label-map: expected WORD=EMOTION"),
        (["--recipe", "x.yaml", "--corpus", "emodb"], "--recipe: names its corpus"),
    ],
)
def test_mistakes_print_one_line(words, expected, run, roots, tmp_path, capsys):
    root = (
        ["--root", roots / "emodb"]
        if words.count("--corpus") == 1 and "--recipe" not in words
        else []
    )
    assert _evaluate(run, *words, *root, "--output", tmp_path / "none") == 2
    error = capsys.readouterr().err
    assert expected in error
    assert "Traceback" not in error
    assert not (tmp_path / "none").exists()


def test_training_speakers_of_the_checkpoint_are_left_out(run, roots, tmp_path):
    """A second run starts from the weights of the first and is trained on another corpus."""
    changes = {"name": "second", "corpus": RECIPE["corpus"] | {"name": "emodb", "merge": {}}}
    changes["corpus"]["drop"] = ["fear", "disgust", "boredom"]
    model = {"checkpoint": str(run / "model")}
    folder = tmp_path / "second"
    second = (
        {key: value for key, value in RECIPE.items() if key != "audio"} | changes | {"model": model}
    )
    overrides = [f"corpus.root={roots / 'emodb'}", f"output_dir={folder}"]
    # A made clip of one test speaker has the samples of a clip of the other corpus.
    overrides.append("protocol.parent_speakers=tell")
    report = ser_hf.run_recipe(second, overrides)
    first = json.loads((run / "report" / "report.json").read_text())["protocol"]["parts"]
    known = {*first["train"]["speakers"], *first["validation"]["speakers"]}
    assert set(report.protocol.inherited) == known
    words = [folder, "--corpus", "ravdess", "--root", roots / "ravdess", "merge={calm: neutral}"]
    assert _evaluate(*words, "--output", tmp_path / "out") == 0
    tested = json.loads((tmp_path / "out" / "report.json").read_text())["protocol"]["parts"][
        "test"
    ]["speakers"]
    assert tested == first["test"]["speakers"]
