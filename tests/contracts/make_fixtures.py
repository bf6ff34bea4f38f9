"""Makes the fixtures of the contract tests: python tests/contracts/make_fixtures.py (minutes, on
one thread).

They record what ser_hf writes and reads. Make them again only if a contract changes on purpose, and
say so.
"""

import json
import lzma
import os
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path

os.environ |= {"SER_HF_CACHE": "cache", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}

import golden
import numpy as np
import soundfile
import torch
from entry_points import (
    architectures,
    command,
    from_published_weights,
    model_card,
    report_page,
    resolved,
)
from support.testing import write_checkpoint
from transformers import AutoModelForAudioClassification

import ser_hf

# Left out of the folders: what only people look at, and what is large. Of one model all Python
# files stay.
DROPPED = ["*.png", "*.svg", "index.html", "report_schema.json", "checkpoints", "logs"]


def main() -> None:
    torch.set_num_threads(1)
    fixtures = golden.FIXTURES
    fixtures.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)  # so that all paths in the fixtures are relative
        checkpoints()
        runs = golden.run_recipes()
        for recipe in [*runs.values(), *golden.model_recipes().values()]:
            ser_hf.run_recipe(recipe)
        (fixtures / "runs.json").write_text(
            lines({name: run_facts(Path("runs", name)) for name in runs})
        )
        folders(fixtures / "folders.tar.xz")
        logits(fixtures / "logits.npz")
        evaluation(fixtures)
        facts = {path.name: loaded_facts(path) for path in sorted(Path("kept/models").iterdir())}
        (fixtures / "models.json.xz").write_bytes(lzma.compress(json.dumps(facts).encode()))
        (fixtures / "pages.json").write_text(lines(pages(Path("kept"))))
        (fixtures / "recipes.json.xz").write_bytes(lzma.compress(json.dumps(recipes()).encode()))


def checkpoints() -> None:
    for kind in ("wav2vec2", "hubert"):
        write_checkpoint(kind, kind, "group")


def lines(values: object) -> str:
    return json.dumps(values, indent=1, ensure_ascii=False) + "\n"


def run_facts(run: Path) -> dict:
    """Files, tables and keys of a run. Of several seeds or folds the first represents all."""
    numbered = [child.name for child in run.iterdir() if child.name in ("seed-2", "fold-2")]
    keys = {}
    for place in [".", *numbered, "foil"]:
        if (run / place).is_dir():
            keys[place] = {
                name: golden.key_types(run / place / name)
                for name in ("report/report.json", "split.json")
                if (run / place / name).is_file()
            }
    return {"files": golden.files_of(run), "columns": golden.columns_of(run), "keys": keys}


def folders(archive: Path) -> None:
    """Models without their Python files, of one network with them; runs; the encoders that they
    start from.
    """
    for name in golden.model_recipes():
        ignored = ["README.md", "recipe.yaml", "report.json", "*.py"]
        complete = [] if name == "crnn" else ignored
        shutil.copytree(
            f"runs/{name}/model", f"kept/models/{name}", ignore=shutil.ignore_patterns(*complete)
        )
    for name in golden.run_recipes():
        dropped = DROPPED + ["*.py"] if name == "single" else [*DROPPED, "*.py", "reference.npz"]
        shutil.copytree(
            f"runs/{name}", f"kept/runs/{name}", ignore=shutil.ignore_patterns(*dropped)
        )
    for kind in ("wav2vec2", "hubert"):
        shutil.copytree(kind, f"kept/checkpoints/{kind}")
    with tarfile.open(archive, "w:xz", preset=9) as packed:
        for path in sorted(Path("kept").rglob("*")):
            member = packed.gettarinfo(path, path.relative_to("kept"))
            member.mtime = 0
            member.uid = 0
            member.gid = 0
            member.uname = ""
            member.gname = ""
            with path.open("rb") if path.is_file() else open(os.devnull, "rb") as content:
                packed.addfile(member, content if path.is_file() else None)


def logits(path: Path) -> None:
    found = [next(Path("cache").rglob(f"{clip}.wav")) for clip in golden.CLIPS]
    clips = [
        soundfile.read(wav, dtype="int16")[0][: 16000 - 3200 * i] for i, wav in enumerate(found)
    ]
    models = [
        *sorted(Path("kept/models").iterdir()),
        Path("kept/runs/single/model"),
        Path("kept/runs/lora/model"),
    ]
    given = {str(folder.relative_to("kept")): golden.logits_of(folder, clips) for folder in models}
    np.savez_compressed(path, clip_0=clips[0], clip_1=clips[1], **given)


def evaluation(fixtures: Path) -> None:
    """What `ser-hf evaluate` gives for the single run on the part that tested it."""
    arguments = [
        "kept/runs/single",
        "--recipe",
        "kept/runs/single",
        "--output",
        "evaluated",
        "--device",
        "cpu",
    ]
    assert command("evaluate", *arguments) == 0
    report = json.loads(Path("evaluated/report.json").read_text())
    facts = {
        "files": golden.files_of(Path("evaluated")),
        "keys": golden.key_types(Path("evaluated/report.json")),
    }
    (fixtures / "evaluation.json").write_text(lines(facts | {"metrics": report["metrics"]}))


def loaded_facts(folder: Path) -> dict:
    return golden.model_facts(folder, AutoModelForAudioClassification.from_pretrained(folder))


def pages(kept: Path) -> dict:
    """Facts of the card and the page of each run."""
    facts = {}
    for name in golden.run_recipes():
        run = kept / "runs" / name
        scratch = Path("pages", name)
        page = golden.Page(report_page(run, scratch))
        published = golden.card_facts(
            model_card(run, "someone/tiny", report_repo="someone/tiny-report")
        )
        facts[name] = {
            "card": golden.card_facts(model_card(run, f"runs/{name}/model")),
            "published": {key: published[key] for key in ("metadata", "code")},
            "page": page.facts(),
        }
    return facts


def recipes() -> dict:
    """Kind of model -> the shortest recipe, and the same recipe with all defaults."""
    models = {name: {"architecture": name} for name in architectures()}
    models |= {name: models[name] | {"random_init": True} for name in from_published_weights()}
    short = {
        name: {"name": "r", "corpus": {"name": "synthetic"}, "model": model}
        for name, model in models.items()
    }
    short["encoder"] = {
        "name": "r",
        "corpus": {"name": "synthetic"},
        "model": golden.encoder("wav2vec2"),
    }
    short["encoder sklearn"] = short["encoder"] | {
        "model": golden.encoder("wav2vec2", pooling="mean"),
        "training": {"solver": "sklearn"},
    }
    short["mfcc_linear trainer"] = short["mfcc_linear"] | {"training": {"solver": "trainer"}}
    return {kind: {"given": recipe, "resolved": resolved(recipe)} for kind, recipe in short.items()}


if __name__ == "__main__":
    sys.exit(main())
