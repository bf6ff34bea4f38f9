"""The Python blocks of README and docs run as they stand, in a folder with a small corpus and a
tiny trained model.
"""

import re
import shutil
from pathlib import Path

import datasets
import pytest
import safetensors.torch
import torch
import transformers
from support.pages import PAGES, ROOT, blocks, name_of
from support.recipes import TINY_CRNN

import ser_hf

# tests/hub/test_demo_in_browser.py runs those that call a page.
BLOCKS = {
    f"{name_of(page)}-{number}": block
    for page in PAGES
    for number, block in enumerate(blocks(page, "python"))
    if "gradio_client" not in block
}


@pytest.fixture(scope="module")
def workplace(tmp_path_factory, ravdess_root):
    """The files that the blocks name: recordings, runs, a model that was published, weights in a
    pickle.
    """
    folder = tmp_path_factory.mktemp("snippets")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        for name in ("data", "USER", "FOLDER"):
            Path(name).mkdir()
        Path("data/RAVDESS").symlink_to(ravdess_root)
        shutil.copy(next(ravdess_root.rglob("*.wav")), "clip.wav")
        recipe = {
            "name": "quickstart",
            "corpus": {"name": "ravdess", "root": "data/RAVDESS"},
            "model": TINY_CRNN,
        }
        ser_hf.run_recipe(
            recipe | {"training": {"num_train_epochs": 1}, "evaluation": {"bootstrap": 10}}
        )
        Path("runs/ravdess_crnn").symlink_to("quickstart")
        Path("USER/quickstart").symlink_to("../runs/quickstart/model")
        torch.save(
            safetensors.torch.load_file("runs/quickstart/model/model.safetensors"),
            "FOLDER/pytorch_model.bin",
        )
        write_program("se_resnet.pt2")
        ser_hf.export_model("runs/quickstart", Path("crnn.onnx"))
    return folder


def write_program(path):
    """A program of torch with the inputs and outputs of an exported model."""

    class Program(torch.nn.Module):
        def forward(self, input_values, attention_mask):
            logits = (input_values * attention_mask).mean(dim=1, keepdim=True) * torch.ones(8)
            return logits, logits.softmax(dim=1)

    inputs = (torch.zeros(1, 16000), torch.ones(1, 16000, dtype=torch.long))
    names = ("input_values", "attention_mask")
    program = torch.export.export(Program(), (), kwargs=dict(zip(names, inputs, strict=True)))
    torch.export.save(program, path)


@pytest.mark.slow
@pytest.mark.parametrize("name", BLOCKS)
def test_python_blocks(name, workplace, encoder_folder, monkeypatch):
    """A block without imports has its names from the text around it. Uploads are only recorded
    here: a push to a Hub is in tests/hub/test_split_datasets.py."""
    monkeypatch.chdir(workplace)
    monkeypatch.setattr(
        transformers.dynamic_module_utils, "HF_MODULES_CACHE", str(workplace / "modules")
    )
    pushed = []
    monkeypatch.setattr(
        datasets.DatasetDict,
        "push_to_hub",
        lambda *given, **options: pushed.append((given, options)),
    )
    given = {"waveform": torch.zeros(1, 16000)}
    if "import" not in BLOCKS[name]:
        tiny = encoder_folder("wav2vec2")
        given = {name: getattr(transformers, name) for name in ("Trainer", "TrainingArguments")}
        given |= {
            "ser_hf": ser_hf,
            "extractor": transformers.AutoFeatureExtractor.from_pretrained(tiny),
            "model": transformers.AutoModelForAudioClassification.from_pretrained(
                tiny, num_labels=8
            ),
        }
    exec(compile(BLOCKS[name], name, "exec"), given)
    assert len(pushed) == BLOCKS[name].count("push_to_hub")
    if "trainer" in given:
        given["trainer"].args.max_steps = 2
        given["trainer"].train()
        assert "eval_uar" in given["trainer"].evaluate()


@pytest.mark.slow
def test_readme_lists_the_run_folder(workplace):
    listed = re.search(
        r"^```\n(recipe.yaml .*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL
    )[1]
    names = re.findall(r"^([\w.]+)|(?<=/ )(\w+)/", listed, re.MULTILINE)
    assert {*map("".join, names)} == {
        path.name for path in (workplace / "runs/quickstart").iterdir()
    }
