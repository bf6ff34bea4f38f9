"""One recipe from raw audio to a model folder that loads where ser_hf does not exist."""

import json
import re
from pathlib import Path

import imageio_ffmpeg
import pyarrow.parquet as pq
import pytest
from support.isolated import run_without_ser_hf
from support.testing import write_checkpoint, write_corpus

import ser_hf

pytestmark = pytest.mark.slow  # two runs, and a process that loads their models

RECIPES = Path(__file__).parents[2] / "recipes"
SMALL = [
    "corpus.speakers=6",
    "corpus.takes=2",
    "protocol.validation=2.0e-1",
    "training.num_train_epochs=2",
    "evaluation.bootstrap=20",
    *("audio.max_duration=0.6", "model.channels=[4, 8, 8]", "model.lstm_hidden=8"),
]


def snippets(card: Path) -> list[str]:
    """The Python code that a model card shows."""
    return re.findall(r"```python\n(.*?)```", card.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.fixture(scope="module")
def crnn_run(tmp_path_factory, rendered):
    folder = tmp_path_factory.mktemp("runs") / "quickstart"
    with rendered():
        ser_hf.run_recipe(RECIPES / "quickstart.yaml", [*SMALL, f"output_dir={folder}"])
    return folder


@pytest.fixture(scope="module")
def encoder_run(tmp_path_factory):
    """The shipped wav2vec2 recipe with a tiny checkpoint and a tiny corpus in CREMA-D's grammar."""
    base = tmp_path_factory.mktemp("cremad")
    write_corpus("cremad", base / "CREMA-D", speakers=5, takes=2)
    write_checkpoint(base / "checkpoint", "wav2vec2", "group")
    folder = base / "run"
    overrides = [
        f"corpus.root={base / 'CREMA-D'}",
        f"model.checkpoint={base / 'checkpoint'}",
        f"output_dir={folder}",
        "training.max_steps=4",
        "training.seeds=[1, 2]",
        "evaluation.bootstrap=20",
    ]
    ser_hf.run_recipe(RECIPES / "cremad_full.yaml", overrides)
    return folder


def test_predictions_name_their_clips(crnn_run):
    table = pq.read_table(crnn_run / "report" / "predictions.parquet").to_pylist()
    split = json.loads((crnn_run / "split.json").read_text())
    for part in ("validation", "test"):
        assert sorted(clip["id"] for clip in table if clip["part"] == part) == sorted(
            split["ids"][part]
        )
    # synthetic/s03_angry_001: the id contains the label, so a shifted row fails.
    assert all(f"_{clip['label']}_" in clip["id"] for clip in table)


ELSEWHERE = """
import json, os
from pathlib import Path
from transformers import pipeline
from transformers.audio_utils import load_audio

for route, (model, clips, wanted, options, snippets) in ROUTES.items():
    classifier = pipeline("audio-classification", model=model, **options)
    rate = classifier.feature_extractor.sampling_rate
    for path in sorted(Path(clips).rglob("*.wav")):
        if path.stem in wanted:
            scores = classifier(load_audio(str(path), sampling_rate=rate), top_k=None)
            score_of_label = {item["label"]: item["score"] for item in scores}
            print(f"scores {route}", json.dumps([path.stem, score_of_label]))
    os.chdir(route)
    print(f"card {route}")
    exec("\\n".join(snippets), {})
    os.chdir("..")
"""


def chosen_of(run):
    """The folder of the run whose model is the aggregate's."""
    report = json.loads((run / "report" / "report.json").read_text())
    return run / f"seed-{report['chosen_seed']}" if "chosen_seed" in report else run


def sample_of_clips(run):
    """Six predictions of the test split by the stem of their clip."""
    table = pq.read_table(chosen_of(run) / "report" / "predictions.parquet").to_pylist()
    tested = [clip for clip in table if clip["part"] == "test"][:6]
    return {clip["id"].partition("/")[2]: clip for clip in tested}


@pytest.fixture(scope="module")
def elsewhere(crnn_run, encoder_run, private_cache, tmp_path_factory):
    """By route, where ser_hf does not exist: the scores that `pipeline` gives some test clips, and
    the lines that the snippets of the card print in a folder with a clip. In one process, as its
    start takes longer than all it does."""
    folder = tmp_path_factory.mktemp("elsewhere")
    routes = {}
    for route, run, clips, options in (
        ("crnn", crnn_run, private_cache / "synthetic", {"trust_remote_code": True}),
        ("encoder", encoder_run, encoder_run.parent / "CREMA-D", {}),
    ):
        (folder / route).mkdir()
        (folder / route / "clip.wav").write_bytes(min(clips.rglob("*.wav")).read_bytes())
        code = snippets(run / "model" / "README.md")
        routes[route] = (str(run / "model"), str(clips), list(sample_of_clips(run)), options, code)
    # The wheel's binary carries its version in its name; the pipeline looks for `ffmpeg` on the
    # PATH.
    (folder / "bin").mkdir()
    (folder / "bin" / "ffmpeg").symlink_to(imageio_ffmpeg.get_ffmpeg_exe())
    printed = run_without_ser_hf(
        f"ROUTES = {routes!r}\n" + ELSEWHERE, folder, path=str(folder / "bin")
    )
    scores = {route: {} for route in routes}
    lines = {route: [] for route in routes}
    route = None
    for line in printed.splitlines():
        if line.startswith("scores "):
            stem, own = json.loads(line.split(maxsplit=2)[2])
            scores[line.split()[1]][stem] = own
        elif line.startswith("card "):
            route = line.split()[1]
        elif route:
            lines[route].append(line)
    return scores, lines


@pytest.mark.parametrize("route", ["crnn", "encoder"])
def test_pipeline_gives_the_training_process_s_scores_without_ser_hf(route, request, elsewhere):
    """The report's probabilities come from the model before it was saved, on waveforms from the
    store.
    """
    expected = sample_of_clips(request.getfixturevalue(f"{route}_run"))
    scores = elsewhere[0][route]
    assert len(expected) == 6
    assert set(scores) == set(expected)
    for stem, score in scores.items():
        for label, value in score.items():
            assert value == pytest.approx(expected[stem][f"p_{label}"], abs=1e-5)


@pytest.mark.parametrize("route", ["crnn", "encoder"])
def test_the_snippets_of_the_card_run_unchanged(route, request, elsewhere):
    code = snippets(request.getfixturevalue(f"{route}_run") / "model" / "README.md")
    assert len(code) == 2
    assert ("trust_remote_code" in code[0]) == (route == "crnn")
    from_array, from_path = (
        json.loads(line.replace("'", '"')) for line in elsewhere[1][route] if line.startswith("[{")
    )
    for one, other in zip(from_array, from_path, strict=True):
        assert one["label"] == other["label"]
        assert one["score"] == pytest.approx(other["score"], abs=1e-4)
