"""One recipe from raw audio to a model folder that loads where ser_hf does not exist."""

import json
import re
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from isolated import run_without_ser_hf

import ser_hf
from ser_hf.testing import write_checkpoint, write_corpus

RECIPES = Path(__file__).parents[1] / "recipes"
SMALL = [
    "corpus.speakers=6",
    "corpus.takes=2",
    "protocol.validation=2.0e-1",
    "training.num_train_epochs=2",
    "evaluation.bootstrap=50",
]


def snippets(card: Path) -> list[str]:
    """The Python code that a model card shows."""
    return re.findall(r"```python\n(.*?)```", card.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.fixture(scope="module")
def crnn_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "quickstart"
    ser_hf.run_recipe(RECIPES / "quickstart.yaml", [*SMALL, f"output_dir={folder}"])
    return folder


@pytest.fixture(scope="module")
def encoder_run(tmp_path_factory):
    """The shipped wav2vec2 recipe with a tiny checkpoint and a tiny corpus in CREMA-D's grammar."""
    base = tmp_path_factory.mktemp("cremad")
    write_corpus("cremad", base / "CREMA-D", speakers=5, takes=2)
    write_checkpoint(base / "checkpoint", "wav2vec2", "group")
    folder = base / "run"
    ser_hf.run_recipe(
        RECIPES / "cremad_full.yaml",
        [
            f"corpus.root={base / 'CREMA-D'}",
            f"model.checkpoint={base / 'checkpoint'}",
            f"output_dir={folder}",
            "training.max_steps=4",
            "training.seeds=[1, 2]",
            "evaluation.bootstrap=50",
        ],
    )
    return folder


def test_the_run_folder_holds_what_the_contract_says(crnn_run):
    for name in (
        "recipe.yaml",
        "split.json",
        "model/config.json",
        "model/model.safetensors",
        "model/modeling_crnn.py",
        "model/preprocessor_config.json",
        "model/README.md",
        "report/README.md",
        "report/report.json",
        "report/predictions.parquet",
        "report/confusion_matrix.png",
        "report/training_curves.png",
        "report/class_distribution.png",
        "logs/run.log",
    ):
        assert (crnn_run / name).stat().st_size > 0, name
    assert not list(crnn_run.rglob("*.partial"))


def test_the_report_holds_what_the_contract_says(crnn_run):
    report = json.loads((crnn_run / "report" / "report.json").read_text())
    assert set(report["metrics"]) == {"uar", "wa", "macro_f1", "weighted_f1"}
    assert set(report["parts"]) == {"train", "validation"}
    for low, high in report["intervals"].values():
        assert 0 <= low <= high <= 1
    assert len(report["history"]) == 2
    assert all(np.isfinite(entry["validation"]["loss"]) for entry in report["history"])
    assert np.sum(report["confusion"]) == report["protocol"]["parts"]["test"]["clips"]
    assert report["audit"]["shared"]["train/test"] == {
        "speakers": 0,
        "recordings": 0,
        "sentences": 2,
        "near_duplicates": None,  # the quickstart does not look: its clips are generated one by one
    }
    apart = report["audit"]["apart"]["train/test"]
    assert set(apart) == {"speakers", "recordings"}
    assert report["protocol"]["leak"] is None
    assert report["foil"] is None
    split = json.loads((crnn_run / "split.json").read_text())
    assert split["sha256"] == report["protocol"]["sha256"]
    assert not set(split["speakers"]["train"]) & set(split["speakers"]["test"])


def test_predictions_name_their_clips(crnn_run):
    table = pq.read_table(crnn_run / "report" / "predictions.parquet").to_pylist()
    split = json.loads((crnn_run / "split.json").read_text())
    for part in ("validation", "test"):
        assert sorted(clip["id"] for clip in table if clip["part"] == part) == sorted(split["ids"][part])
    # synthetic/s03_angry_001: the id itself says the label, so a shifted row would show.
    assert all(f"_{clip['label']}_" in clip["id"] for clip in table)


LOAD_AND_CLASSIFY = """
import json, sys
from pathlib import Path
from transformers import pipeline
from transformers.audio_utils import load_audio

classifier = pipeline("audio-classification", model=MODEL, **OPTIONS)
rate = classifier.feature_extractor.sampling_rate
for path in sorted(Path(CLIPS).rglob("*.wav")):
    if path.stem in WANTED:
        scores = classifier(load_audio(str(path), sampling_rate=rate), top_k=None)
        print("scores", json.dumps([path.stem, {item["label"]: item["score"] for item in scores}]))
"""


def scores_elsewhere(model: Path, clips: Path, wanted: list[str], options: dict, folder: Path) -> dict:
    head = f"MODEL, CLIPS, WANTED, OPTIONS = {str(model)!r}, {str(clips)!r}, {wanted!r}, {options!r}\n"
    printed = run_without_ser_hf(head + LOAD_AND_CLASSIFY, folder)
    return dict(json.loads(line.removeprefix("scores ")) for line in printed.splitlines() if line.startswith("scores"))


@pytest.mark.parametrize("route", ["crnn", pytest.param("encoder", marks=pytest.mark.slow)])
def test_pipeline_gives_the_training_process_s_scores_without_ser_hf(route, request, tmp_path, private_cache):
    """The report's probabilities come from the model before it was saved, on waveforms from the store."""
    run = request.getfixturevalue(f"{route}_run")
    clips = private_cache / "synthetic" if route == "crnn" else run.parent / "CREMA-D"
    options = {"trust_remote_code": True} if route == "crnn" else {}
    seed = (
        run if route == "crnn" else run / f"seed-{json.loads((run / 'report/report.json').read_text())['chosen_seed']}"
    )
    table = pq.read_table(seed / "report" / "predictions.parquet").to_pylist()
    judged = {clip["id"].partition("/")[2]: clip for clip in table if clip["part"] == "test"}
    wanted = list(judged)[:6]
    scores = scores_elsewhere(run / "model", clips, wanted, options, tmp_path)
    assert set(scores) == set(wanted)
    for stem, score in scores.items():
        for label, value in score.items():
            assert value == pytest.approx(judged[stem][f"p_{label}"], abs=1e-5)


@pytest.mark.parametrize("route", [pytest.param("crnn", marks=pytest.mark.slow), "encoder"])
def test_the_card_s_snippets_run_as_they_stand(route, request, tmp_path, private_cache):
    run = request.getfixturevalue(f"{route}_run")
    code = snippets(run / "model" / "README.md")
    assert len(code) == 2
    assert ("trust_remote_code" in code[0]) == (route == "crnn")
    wav = next(iter(sorted((private_cache / "synthetic" if route == "crnn" else run.parent).rglob("*.wav"))))
    (tmp_path / "clip.wav").write_bytes(wav.read_bytes())
    # The wheel's binary carries its version in its name; the pipeline looks for `ffmpeg` on the PATH.
    binaries = tmp_path / "bin"
    binaries.mkdir()
    (binaries / "ffmpeg").symlink_to(imageio_ffmpeg.get_ffmpeg_exe())
    printed = run_without_ser_hf("\n".join(code), tmp_path, path=str(binaries))
    from_array, from_path = [json.loads(line.replace("'", '"')) for line in printed.splitlines() if "score" in line]
    for one, other in zip(from_array, from_path, strict=True):
        assert one["label"] == other["label"]
        assert one["score"] == pytest.approx(other["score"], abs=1e-4)


def test_seeds_are_aggregated_and_the_model_is_the_one_validation_prefers(encoder_run):
    report = json.loads((encoder_run / "report" / "report.json").read_text())
    parts = [json.loads((encoder_run / f"seed-{seed}/report/report.json").read_text()) for seed in (1, 2)]
    for name, value in report["metrics"].items():
        assert value == pytest.approx(np.mean([part["metrics"][name] for part in parts]))
    best = [max(entry["validation"]["uar"] for entry in part["history"]) for part in parts]
    assert report["chosen_seed"] == 1 + int(np.argmax(best))
    chosen = encoder_run / f"seed-{report['chosen_seed']}" / "model" / "model.safetensors"
    assert (encoder_run / "model" / "model.safetensors").read_bytes() == chosen.read_bytes()


def test_a_resolved_recipe_reproduces_its_run(crnn_run, tmp_path):
    recipe = yaml.safe_load((crnn_run / "recipe.yaml").read_text())
    assert recipe["provenance"]["versions"]["torch"]
    again = ser_hf.run_recipe(crnn_run / "recipe.yaml", [f"output_dir={tmp_path / 'again'}"])
    first = json.loads((crnn_run / "report" / "report.json").read_text())
    assert again["metrics"] == first["metrics"]
    assert again["parts"] == first["parts"]
    assert again["protocol"] == first["protocol"]


def test_judging_on_validation_leaves_the_test_part_untouched(tmp_path):
    overrides = [*SMALL, "training.num_train_epochs=1", "evaluation.part=validation"]
    report = ser_hf.run_recipe(RECIPES / "quickstart.yaml", [*overrides, f"output_dir={tmp_path / 'run'}"])
    assert report["judged_on"] == "validation"
    assert report["metrics"] == report["parts"]["validation"]
    table = pq.read_table(tmp_path / "run" / "report" / "predictions.parquet")
    assert set(table["part"].to_pylist()) == {"validation"}
    assert "left untouched" in (tmp_path / "run" / "model" / "README.md").read_text()


@pytest.mark.slow  # folds refuse it too, in test_folded_runs.py
def test_a_resumed_run_refuses_a_changed_corpus(tmp_path):
    corpus = tmp_path / "RAVDESS"
    paths = write_corpus("ravdess", corpus, speakers=3, takes=2)
    overrides = [
        f"corpus.root={corpus}",
        *("protocol.train=[1]", "protocol.validation=[2]", "protocol.test=[3]"),
        *("training.num_train_epochs=1", "evaluation.bootstrap=20", f"output_dir={tmp_path / 'run'}"),
        "model.channels=[4, 4, 4, 4]",
    ]
    ser_hf.run_recipe(RECIPES / "ravdess_crnn.yaml", [*overrides, "training.seeds=[1, 2]"])
    (tmp_path / "run" / "report" / "report.json").unlink()  # as if cut off before the aggregate
    paths[1].unlink()
    with pytest.raises(ser_hf.UserError, match="its labels or its split have changed since this run began"):
        ser_hf.run_recipe(RECIPES / "ravdess_crnn.yaml", [*overrides, "training.seeds=[1, 2]"], resume=True)


def test_the_aggregate_keeps_every_seed_s_predictions(encoder_run):
    table = pq.read_table(encoder_run / "report" / "predictions.parquet").to_pylist()
    for seed in (1, 2):
        own = pq.read_table(encoder_run / f"seed-{seed}" / "report" / "predictions.parquet").to_pylist()
        assert [clip | {"seed": seed} for clip in own] == [clip for clip in table if clip["seed"] == seed]
