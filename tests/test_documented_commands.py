"""The commands of README and docs run, page by page, on small corpora and with two steps of
training. That they parse is tested in test_documentation.py."""

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.layouts import write_layout
from support.pages import PAGES, ROOT, blocks, name_of, named_recipes
from support.recipes import TINY_CRNN
from support.testing import CHECKPOINTS, write_checkpoint, write_corpus
from support.testing.corpora import write_csv
from support.testing.models import TINY
from transformers import AutoConfig, AutoModelForAudioClassification

import ser_hf
from ser_hf import cli
from ser_hf.audio import transforms
from ser_hf.experiment.reading import read_recipe
from ser_hf.utils.annotations import Turn, write_turns
from ser_hf.utils.segments import Segment

# Verbs that need the network, an account, published weights, a browser, or minutes to hours. Tests
# of their own run them.
ELSEWHERE = {"convert", "download", "publish", "reproduce", "demo", "sweep", "doctor"}
# Arguments that name other data here, so that one folder serves all pages.
HERE = {("inspect", "audiofolder"): ("data", "folder"), ("table", "calls"): ("calls", "flat")}
# What a page says is refused or found; everything else has exit code 0.
CODES = {
    "table calls": 2,  # it names a pattern to add
    # The Hub is out of reach; the other models have their cells.
    "evaluate runs/ravdess_crnn runs/emodb_crnn superb/wav2vec2-base-superb-er "
    "--corpus ravdess=data/RAVDESS --corpus emodb=data/EMO-DB": 1,
    # Here every run is a crnn, whose LSTM torch.export cannot export.
    "export runs/ravdess_se_resnet --output se_resnet.pt2": 2,
    # The converted weights are not here.
    "predict weights/emotion2vec_plus_base recording.wav": 2,
    "verify USER/MODEL": 1,  # its labels have no names
    # After two steps of training no threshold keeps the error.
    "predict runs/ravdess_crnn calls/ --unknown auto": 2,
    # Here the model has two labels.
    "evaluate someone/wav2vec2-emotion --corpus ravdess --root data/RAVDESS "
    "--label-names angry,sad,happy,neutral": 2,
    "evaluate USER/MODEL --corpus ravdess --root data/RAVDESS": 2,
}


def commands(page):
    """The words after `ser-hf` in shell blocks, up to a pipe. Launchers of several processes and
    `--jobs` are left out, which have tests of their own.
    """
    for block in blocks(page, "bash"):
        for line in block.replace("\\\n", "").splitlines():
            line = re.sub(
                r"^(\w+=\S+ )*(accelerate launch|torchrun|python)\b.* -m ser_hf\.(cli )?",
                "ser-hf ",
                line,
            )
            program, *words = shlex.split(line.partition(" | ")[0], comments=True) or [""]
            if "--jobs" in words:
                continue
            if program == "ser-hf" and words[0].islower() and words[0] not in ELSEWHERE:
                yield words


# Those of the benchmarks take hours and real corpora.
BY_PAGE = {
    name_of(page): found
    for page in PAGES
    if "bench" not in str(page) and (found := [*commands(page)])
}


def write_call(folder):
    """A call of two synthetic voices with a pause, and its turns."""
    clips = ser_hf.load_corpus("synthetic", speakers=3, takes=1)
    parts = [np.zeros(8000, dtype=np.float32)]
    turns = []
    for row, speaker in ((0, "anna"), (4, "ben")):
        samples, rate = soundfile.read(clips["audio"][row]["path"], dtype="float32")
        start = sum(map(len, parts)) / rate
        turns.append(Turn(Segment(start, start + len(samples) / rate), None, speaker, "", "call"))
        parts += [samples, np.zeros(rate, dtype=np.float32)]
    soundfile.write(folder / "call.wav", np.concatenate(parts), rate)
    write_turns(folder / "call.rttm", turns, 0.0)
    rows = [[*turn.segment, turn.speaker, "happy"] for turn in turns]
    write_csv(folder / "call.csv", ["start", "end", "speaker", "label"], rows)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """What the pages have at hand: corpora, recordings, recipes, models of others."""
    folder = tmp_path_factory.mktemp("documented")
    clips = write_corpus("ravdess", folder / "data/RAVDESS", speakers=24, takes=1)
    write_corpus("emodb", folder / "data/EMO-DB", speakers=10, takes=1)
    write_corpus("iemocap", folder / "data/IEMOCAP", speakers=4, takes=1)
    write_corpus("cremad", folder / "data/CREMA-D", speakers=10, takes=1)
    write_layout("hub", folder / "data/parquet")
    write_layout("emobox", folder / "EmoBox", speakers=24, takes=1)
    for name in ("clip.wav", "call.wav", "recording.wav", "calls/1.wav", "more_calls/1.wav"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(clips[0], folder / name)
    write_call(folder)
    write_csv(folder / "calls.csv", ["path", "speaker"], [["clip.wav", "anna"]])
    for table, words in {
        "clips.csv": ("cheerful", "anger"),
        "data/my_clips.csv": ("happy", "angry"),
    }.items():
        rows = [
            [clip, words[clip.parts[-1][7] == "5"], clip.stem[-2:], "female"]
            for clip in clips
            if clip.stem[7] in "35"
        ]
        write_csv(folder / table, ["path", "label", "speaker", "sex"], rows)
    (folder / "flat").mkdir()
    for clip, label, speaker, _ in rows:
        shutil.copy(clip, folder / "flat" / f"{speaker}_{label}_1.wav")
        (folder / "folder" / label).mkdir(parents=True, exist_ok=True)
        shutil.copy(clip, folder / "folder" / label / f"{'ab'[int(speaker) % 2]}_{speaker}.wav")
    write_noise_and_room(folder / "data/ESC-50/audio", folder / "data/EchoThief")
    write_foreign(write_checkpoint(folder / "tiny", **CHECKPOINTS["wavlm"]), folder)
    shutil.copytree(ROOT / "recipes", folder / "recipes")
    for name, text in named_recipes().items():
        (folder / name).write_text(text)
    return folder


def write_noise_and_room(noise_folder, room_folder):
    """A recording of noise, and the impulse response of a room that falls by 60 dB in 0.3 s."""
    generator = np.random.default_rng(0)
    for path in (noise_folder, room_folder):
        path.mkdir(parents=True)
    noise = generator.normal(size=16000).astype(np.float32) / 10
    soundfile.write(noise_folder / "noise.wav", noise, 16000)
    response = transforms.generated_response(0.3, 0.0, 16000, generator) / 2
    soundfile.write(room_folder / "room.wav", response, 16000)


def write_foreign(tiny, folder):
    """Models that others might have published: two classes or three, without names; dimensions."""
    dimensions = {
        "problem_type": "regression",
        "id2label": dict(enumerate(("arousal", "dominance", "valence"))),
    }
    kinds = {"USER/MODEL": {"num_labels": 3}, "someone/wav2vec2-emotion": {"num_labels": 2}}
    for name, options in (kinds | {"someone/wav2vec2-dimensions": dimensions}).items():
        config = AutoConfig.from_pretrained(tiny, **options)
        AutoModelForAudioClassification.from_config(config).save_pretrained(folder / name)
        shutil.copy(tiny / "preprocessor_config.json", folder / name)


def small(recipe, *words):
    """Overrides with which a recipe trains in a second."""
    values = read_recipe(recipe, [word for word in words if not word.startswith("-")])
    settings = [
        f"model.{key}={value}" for key, value in TINY.get(values.model.architecture, {}).items()
    ]
    if values.model.architecture == "encoder":
        settings = ["model.checkpoint=tiny"]
    if values.training.solver == "trainer":
        settings += ["training.max_steps=2"]
    if values.corpus.name == "synthetic":
        settings += ["corpus.speakers=10", "corpus.takes=1"]
    return [*settings, "evaluation.bootstrap=10", "--overwrite"]


def write_run(folder, seed):
    training = {"max_steps": 2, "seeds": [seed]}
    values = {
        "corpus": {"name": "ravdess", "root": "data/RAVDESS"},
        "model": TINY_CRNN,
        "training": training,
    }
    ser_hf.run_recipe(values | {"evaluation": {"bootstrap": 10}, "output_dir": folder})


# The first pages that a user follows run in every suite.
FIRST_PAGES = (
    "README.md",
    "AGENTS.md",
    "docs/prediction.md",
    "docs/publishing.md",
    "docs/tutorials/own-recordings.md",
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=[] if page in FIRST_PAGES else pytest.mark.exhaustive)
        for page in BY_PAGE
    ],
)
def test_commands_run(page, base, tmp_path, monkeypatch):
    shutil.copytree(base, tmp_path, dirs_exist_ok=True, symlinks=True)
    monkeypatch.chdir(tmp_path)
    for words in BY_PAGE[page]:
        line = " ".join(words)
        for seed, run in enumerate(re.findall(r"(?<!\S)runs/\w+(?!\S)", line)):
            if not Path(run).exists():
                write_run(run, seed)
        for model in re.findall(r"(?<!\S)USER/[\w-]+(?!\S)", line):
            if not Path(model).exists():
                write_run("runs/published", 1)
                shutil.copytree("runs/published/model", model)
        words = [*words, *(small(*words[1:]) if words[0] == "train" else ())]
        old, new = HERE.get(tuple(words[:2]), ("", ""))
        assert cli.main([new if word == old else word for word in words]) == CODES.get(line, 0), (
            line
        )
