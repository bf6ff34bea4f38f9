"""Mistakes on the command line: exit code 2 and one line on standard error that names the key or
file.
"""

import shutil
import subprocess
from pathlib import Path

import pytest
import soundfile
from entry_points import SER_HF, TRAIN, command
from golden import unpacked

RECIPE = """
corpus: {name: synthetic, speakers: 4, takes: 1}
model: {architecture: crnn}
training: {num_train_epochs: 1}
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working folder with a recipe, a broken one, a finished run, its model, an audio file and a
    text file.
    """
    monkeypatch.chdir(tmp_path)
    Path("recipe.yaml").write_text(RECIPE)
    Path("broken.yaml").write_text("corpus: {name: [")
    Path("notes.txt").write_text("no audio")
    Path("thesis").mkdir()
    Path("thesis/chapter.tex").write_text("x")
    soundfile.write("clip.wav", [0.0, 0.1] * 8000, 16000)
    shutil.copytree(unpacked() / "runs" / "single", "run")
    shutil.copytree(unpacked() / "models" / "cnn1d", "model")
    return tmp_path


# Overrides whose own key is named.
NAMED = """
corpus.name=ravdes corpus.speekers=4 corpus.speakers=many corpus.exclude=[synthetic/x]
corpus.speakers protocol.name=spaker_independent protocol.k=3 protocol.folds=[2]
protocol.foil=rendom protocol.test=[99] model.architecture=crn model.chanels=[8]
training.lerning_rate=1 training.learning_rate=fast training.seeds=1 training.solver=sklearn
evaluation.part=tests output_dir=thesis output_dir=clip.wav
"""
TRAINING = {override: override.partition("=")[0] for override in NAMED.split()} | {
    "corpus.labels=[angry, bored]": "corpus.labels",
    "corpus.labels=[angry, happy]": "corpus.merge",
    "corpus={name: ravdess, root: /nowhere/RAVDESS}": "/nowhere/RAVDESS",
    "corpus={name: ravdess}": "corpus.root",
    "corpus={name: csv, root: nowhere.csv}": "nowhere.csv",
    "model={architecture: encoder}": "model.checkpoint",
    "model={architecture: encoder, checkpoint: nowhere/at/all}": "model.checkpoint",
    "lora.rank=4": "lora",
    "trainig.seeds=[1]": "trainig",
    "output_dir=run": "--overwrite",
}
OTHERS = {
    "train nowhere.yaml": "nowhere.yaml",
    "train broken.yaml": "broken.yaml",
    "train recipe.yaml output_dir=run --resume": "corpus.",
    "train recipe.yaml output_dir=thesis --overwrite": "thesis",
    "predict nowhere clip.wav": "nowhere",
    "predict model nowhere.wav --on-error error": "nowhere.wav",
    "predict model": "INPUT",
    "predict model clip.wav --output predictions.docx": "predictions.docx",
    "predict thesis clip.wav": "thesis",
    "evaluate nowhere --corpus synthetic speakers=3 takes=1": "nowhere",
    "evaluate model": "--corpus",
    "evaluate model --corpus synthetic takes=none": "corpus.takes",
    "evaluate model --corpus synthetic --part test": "--protocol",
    "reproduce nowhere": "nowhere",
    "reproduce thesis": "thesis",
    "reproduce run --output run": "output_dir",
    "compare run nowhere": "nowhere",
    "export nowhere --output model.onnx": "nowhere",
    "publish nowhere": "--repo",
    "inspect nowhere.csv": "nowhere.csv",
}


def complaint(capsys, *arguments):
    """The one line of a mistake, nothing having been written."""
    before = files()
    assert command(*arguments) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert files() == before
    return lines[0]


def files():
    return sorted(path for path in Path().rglob("*") if path.is_file())


@pytest.mark.parametrize("override", TRAINING)
def test_a_mistake_in_a_recipe(override, here, capsys):
    assert TRAINING[override] in complaint(capsys, "train", "recipe.yaml", override)


@pytest.mark.parametrize("line", OTHERS)
def test_a_mistake_of_another_kind(line, here, capsys):
    assert OTHERS[line] in complaint(capsys, *line.split())


def test_the_commands_as_processes(here):
    """`python -m ser_hf.train` writes only that line; `ser-hf` works."""
    done = subprocess.run([*TRAIN, "nowhere.yaml"], capture_output=True, text=True, timeout=900)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: nowhere.yaml: ")
    assert len(done.stderr.splitlines()) == 1
    done = subprocess.run([*SER_HF, "--version"], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0
    assert done.stdout.startswith("ser-hf ")


def test_damaged_audio_is_named(here, capsys):
    for speaker in range(4):
        for emotion in ("angry", "sad"):
            folder = Path("corpus", emotion)
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy("clip.wav", folder / f"{speaker}.wav")
    shutil.copy("notes.txt", "corpus/sad/0.wav")
    corpus = "corpus={name: audiofolder, root: corpus, speaker_pattern: '(?P<speaker>[0-9])[.]wav'}"
    assert "sad/0.wav" in complaint(capsys, "train", "recipe.yaml", corpus)
