"""Facts of runs, models, cards and pages, the recipes that they come from, and the fixtures to
compare them with.
"""

import functools
import json
import lzma
import os
import re
import tarfile
import tempfile
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from entry_points import architectures, from_published_weights, tiny_options
from huggingface_hub import ModelCard
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification, PreTrainedConfig

FIXTURES = Path(__file__).parent / "fixtures"
# SER_HF_EXACT=1 is for the machine that made the fixtures, or one with the same kind of processor.
# Other processors add in another order, which changes the last digits of a logit and, near a
# decision, a prediction. The audio of a run is generated again, which may change a sample by one
# step of 16 bit.
EXACT = os.environ.get("SER_HF_EXACT") == "1"
LOGITS = {"rtol": 1e-6, "atol": 1e-6} if EXACT else {"rtol": 1e-4, "atol": 1e-5}
PROBABILITIES = (
    1e-6 if EXACT else 1e-3
)  # the audio is generated again, which may change a sample by one step of 16 bit
FIGURES = 0.0 if EXACT else 0.1  # of weights that are the same, or fitted to one optimum

CORPUS = {"name": "synthetic", "speakers": 4, "takes": 2}
FITTED = [name for name in architectures() if name.startswith(("mfcc", "functionals"))]
CLIPS = "s00_angry_000", "s01_sad_001"


def recipe(name: str, model: dict, **sections: object) -> dict:
    """A recipe of a small run on the built-in corpus."""
    training = {"num_train_epochs": 2, "per_device_train_batch_size": 8, "learning_rate": 3e-3}
    if model["architecture"] in FITTED or sections.get("training", {}).get("solver") == "sklearn":
        training = {}  # fitted by scikit-learn
    values = {"name": name, "corpus": CORPUS, "model": model, "evaluation": {"bootstrap": 20}}
    return values | sections | {"training": training | sections.get("training", {})}


def network(architecture: str) -> dict:
    """The model section of a tiny network."""
    start = {"random_init": True} if architecture in from_published_weights() else {}
    return {"architecture": architecture} | start | tiny_options(architecture)


def encoder(checkpoint: str, **options: object) -> dict:
    return {"architecture": "encoder", "checkpoint": checkpoint} | options


def run_recipes() -> dict[str, dict]:
    """Name -> recipe of the runs whose folders and reports are frozen."""
    folds = {"protocol": {"name": "kfold", "k": 2, "foil": "random_stratified"}}
    three = CORPUS | {"speakers": 8, "takes": 4, "drop": ["disgust", "fear", "happy"]}
    easy = {"normalization": "fixed", "hop_length": 320, "channels": [8, 16], "pooling": "mean_std"}
    easy |= {
        "band_pooling": [4, 4],
        "conv_dropout": 0.0,
        "dropout": 0.0,
        "time_masks": 0,
        "band_masks": 0,
    }
    long = {"num_train_epochs": 8, "per_device_train_batch_size": 4, "learning_rate": 1e-2}
    return {
        "single": recipe("single", network("crnn") | easy, corpus=three, training=long),
        "folds": recipe("folds", network("mfcc_svm"), **folds),
        "seeds": recipe("seeds", network("crnn"), training={"seeds": [1, 2]}),
        "lora": recipe("lora", encoder("wav2vec2"), lora={"rank": 2}),
    }


def model_recipes() -> dict[str, dict]:
    """Name -> recipe of the models whose weights are kept, beside those of `run_recipes`."""
    models = {name: network(name) for name in architectures()}
    models |= {
        "wav2vec2": encoder("wav2vec2"),
        "hubert_weighted_layers": encoder("hubert", weighted_layer_sum=True),
        "wav2vec2_pooled": encoder("wav2vec2", pooling="attention", head_layers=[8]),
    }
    return {name: recipe(name, model) for name, model in models.items()}


def read(name: str) -> dict:
    """The content of a JSON file among the fixtures."""
    path = FIXTURES / name
    return json.loads(
        lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()
    )


@functools.cache
def unpacked() -> Path:
    """A folder with `models/NAME`, `runs/NAME` and `checkpoints/NAME` of the fixtures."""
    kept = tempfile.TemporaryDirectory(prefix="ser_hf-fixtures-")
    unpacked.kept = kept  # removed when the process ends
    with tarfile.open(FIXTURES / "folders.tar.xz") as archive:
        archive.extractall(kept.name, filter="data")
    return Path(kept.name)


# Files


def files_of(run: Path) -> list[str]:
    """The files of a run folder or model folder. Numbered checkpoints count as one, and so do
    Python files, since the number and the names of those may change."""
    names = (path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file())
    names = (re.sub(r"checkpoints/.*", "checkpoints/", name) for name in names)
    return sorted({re.sub(r"[^/]+\.py$", "*.py", name) for name in names})


def columns_of(run: Path) -> dict[str, str]:
    """The columns of a run's tables: name -> type."""
    tables = {
        table.stem: pq.read_schema(table) for table in sorted((run / "report").glob("*.parquet"))
    }
    return {
        f"{table}.{field.name}": str(field.type)
        for table, schema in tables.items()
        for field in schema
    }


def key_types(path: Path) -> dict[str, str]:
    """The keys of a JSON file and the types of their values, such as `metrics.uar: number`. Labels,
    speakers and numbers that serve as keys have one name each, list elements are written `[]`."""
    values = json.loads(path.read_text(encoding="utf-8"))
    found: dict[str, set[str]] = {}
    kinds = {
        dict: "object",
        list: "array",
        bool: "boolean",
        int: "integer",
        float: "number",
        str: "string",
    }

    def visit(value: object, place: str) -> None:
        found.setdefault(place, set()).add(kinds.get(type(value), "null"))
        if isinstance(value, dict):
            for key, item in value.items():
                visit(item, f"{place}.{_key(key, values.get('labels', ()))}")
        elif isinstance(value, list):
            for item in value:
                visit(item, f"{place}[]")

    visit(values, "")
    return {
        place.removeprefix("."): "|".join(sorted(types)) for place, types in found.items() if place
    }


def _key(key: str, labels: list[str]) -> str:
    if key in labels:
        return "LABEL"
    return re.sub(r"^\d+$", "NUMBER", re.sub(r"^\w+:\w+$", "SPEAKER", key))


def changed_keys(frozen: dict[str, str], now: dict[str, str]) -> dict[str, str]:
    """The keys that were lost or changed their type. New keys are allowed; what was null once may
    have a value.
    """
    changes = {}
    for key, types in frozen.items():
        before = set(types.split("|"))
        after = set(now.get(key, "missing").split("|"))
        machine = {"null"} if key.startswith("environment.") else set()
        if before != {"null"} and not after <= before | machine or "missing" in after:
            changes[key] = f"{types} -> {'|'.join(sorted(after))}"
    return changes


# Models


def waveforms() -> list[np.ndarray]:
    """Two clips of different length, as 16-bit integers at 16 kHz."""
    with np.load(FIXTURES / "logits.npz") as kept:
        return [kept["clip_0"], kept["clip_1"]]


@torch.inference_mode()
def logits_of(folder: Path, clips: list[np.ndarray]) -> np.ndarray:
    """What the model in the folder gives for the clips, in one padded batch."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        extractor = AutoFeatureExtractor.from_pretrained(folder)
        model = AutoModelForAudioClassification.from_pretrained(folder).eval()
        rate = extractor.sampling_rate
        clips = [clip.astype(np.float32) / 32768 for clip in clips]
        batch = extractor(clips, sampling_rate=rate, padding=True, return_tensors="pt")
        return model(**batch).logits.float().numpy()
    finally:
        torch.set_num_threads(threads)


def model_facts(folder: Path, model: torch.nn.Module) -> dict:
    """The configuration of a model, its defaults and its tensors."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    extractor = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
    for key in ("transformers_version", "use_cache"):  # the Trainer's own
        config.pop(key, None)
    inherited = PreTrainedConfig().to_dict()
    defaults = {
        key: value for key, value in type(model.config)().to_dict().items() if key not in inherited
    }
    config["auto_map"] = sorted(config.get("auto_map", {}))  # the modules' names may change
    if "auto_map" in extractor:
        extractor["auto_map"] = sorted(extractor["auto_map"])
    tensors = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    facts = {"config": config, "defaults": defaults, "extractor": extractor, "tensors": tensors}
    return json.loads(json.dumps(facts))


# Cards and pages


def card_facts(text: str) -> dict:
    """Machine-readable facts of a model card, and its numbers: metadata, Python snippets, numbers
    of tables.
    """
    code = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    code = [
        [line for line in block.splitlines() if line and not line.startswith("#")] for block in code
    ]
    rows = [line for line in text.splitlines() if line.startswith("|")]
    return {
        "metadata": ModelCard(text).data.to_dict(),
        "code": code,
        "numbers": numbers("\n".join(rows)),
    }


def numbers(text: str) -> str:
    """The different numbers in a text."""
    return " ".join(sorted(set(re.findall(r"\d+(?:\.\d+)?", text))))


class Page(HTMLParser):
    """An HTML page: ids, numbers of tables, ids before pictures, and what it loads."""

    def __init__(self, text: str):
        super().__init__()
        self.ids, self.pictures, self.loaded, self.open = [], set(), [], Counter()
        self.section = self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.open[tag] += 1
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.section = attributes.get("id", self.section)
        self.pictures |= {self.section} if tag == "img" else set()
        address = attributes.get("href") if tag == "link" else attributes.get("src")
        if address and tag != "audio" and not address.startswith("data:"):
            self.loaded.append(address)

    def handle_endtag(self, tag):
        self.open[tag] -= 1

    def handle_data(self, data):
        if self.open["table"]:
            self.text += f" {data}"

    def facts(self) -> dict:
        return {
            "ids": sorted(self.ids),
            "pictures": sorted(self.pictures),
            "numbers": numbers(self.text),
        }
