"""Corpora and networks of other packages: the example package works in every command; mistakes are
named.
"""

import shutil
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.processes import warm_process

import ser_hf.corpora
import ser_hf.models
from ser_hf.utils import plugins
from ser_hf.utils.errors import UserError

EXAMPLE = Path(__file__).parents[1] / "examples" / "plugin"
IMPORTS = "import torch, transformers, ser_hf.cli, ser_hf.experiment.run, ser_hf.report.plots"
# In the folder of the test, as a new process would start.
PROGRAM = """
import os, sys
import ser_hf.cli

os.chdir(sys.argv.pop(1))
print("code", ser_hf.cli.main())
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the example package as an installer leaves it, for PYTHONPATH."""
    target = tmp_path_factory.mktemp("installed")
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    shutil.copytree(EXAMPLE / "ser_hf_example", target / "ser_hf_example")
    metadata = target / f"{project['name']}-{project['version']}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
    with (metadata / "entry_points.txt").open("w") as file:
        for group, points in project["entry-points"].items():
            file.write(
                f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
            )
    return target


def write_calls(folder):
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for speaker in ("anna", "bert", "cleo", "dora", "emil"):
        for number, emotion in enumerate(("angry", "happy", "neutral", "sad") * 2):
            noise = (
                0.1 * generator.standard_normal(8000) * np.sin(np.arange(8000) / (3 + number % 4))
            )
            soundfile.write(folder / f"{speaker}_{emotion}_{number}.wav", noise, 16000)


@pytest.mark.slow
def test_the_example_package_trains_and_its_model_loads_without_ser_hf(installed, tmp_path):
    write_calls(tmp_path / "data" / "Hotline")
    environment = {
        "PYTHONPATH": f"{installed}:{Path(ser_hf.__file__).parents[1]}",
        "SER_HF_CACHE": str(tmp_path / "cache"),
    }
    with warm_process(IMPORTS, environment, tmp_path / "written") as start:

        def command(*words):
            _, out, err = start(PROGRAM, str(tmp_path), *words).ended()
            assert "code 0" in out, err
            return out

        use_everywhere(command, tmp_path)


def use_everywhere(command, folder):
    """Use the corpus and the network of the example package in each command."""
    command("inspect", "hotline", "data/Hotline", "--output", "inspection")
    recipe = ["training.num_train_epochs=1", "evaluation.bootstrap=10", "output_dir=run"]
    command("train", str(EXAMPLE / "hotline.yaml"), *recipe)
    card = (folder / "run" / "model" / "README.md").read_text()
    assert "Hotline" in card
    assert "the mean of each mel band over a clip" in card
    assert (
        "ser_hf."
        not in (folder / "run" / "model" / "modeling_mean_mlp.py").read_text().partition('"""\n')[2]
    )
    # through `pipeline`, in a process that cannot import ser_hf
    assert "good" in command("verify", "run")
    assert "angry" in command("predict", "run", "data/Hotline/anna_angry_0.wav")


@pytest.mark.parametrize(
    ("group", "value", "expected"),
    [
        (
            "corpora",
            "no_such_package.corpus",
            "ModuleNotFoundError: No module named 'no_such_package'",
        ),
        ("corpora", "json", "a corpus is a module with a function parse(settings)"),
        ("corpora", "ser_hf.corpora.synthetic:parse", "a corpus is a module with a function parse"),
        ("networks", "json:JSONDecoder", "a network is a class derived from"),
        (
            "networks",
            "ser_hf.models:CRNNForAudioClassification",
            "CRNNConfig needs a model_type that no other class has",
        ),
    ],
)
def test_a_plugin_that_is_none_is_named_when_it_is_used(group, value, expected, monkeypatch):
    point = EntryPoint("odd", value, f"ser_hf.{group}")
    monkeypatch.setattr(plugins, "entry_points", lambda group: [point])
    tables = {"corpora": ser_hf.corpora.CORPORA, "networks": ser_hf.models.ARCHITECTURES}
    built_in = tables[group]
    table = plugins.WithPlugins(built_in.entries, built_in.group, built_in.check)
    assert list(table) == [*built_in, "odd"]
    with pytest.raises(
        UserError, match=f"plug-in odd .ser_hf.{group}. of the package {value}: "
    ) as caught:
        table["odd"]
    assert expected in str(caught.value)


def test_a_plugin_takes_no_name_of_ser_hf(monkeypatch):
    point = EntryPoint("ravdess", "json", "ser_hf.corpora")
    monkeypatch.setattr(plugins, "entry_points", lambda group: [point])
    corpora = ser_hf.corpora.CORPORA
    with pytest.raises(
        UserError, match="plug-in ravdess .*: ser_hf has a ravdess, so its entry point needs"
    ):
        plugins.WithPlugins(corpora.entries, corpora.group, corpora.check)["ravdess"]
