"""Recipes from anywhere: a mistake is one short line, in bounded time, before a file is written."""

import os
import random
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import fuzz_recipes

from ser_hf.cli import main
from ser_hf.experiment.reading import read_recipe
from ser_hf.utils.errors import MOST

BOUNDED_MESSAGES = True

RECIPE = "corpus: {name: synthetic, speakers: 3, takes: 1}\nmodel: {architecture: crnn}\n"
TEXTS = {
    "aliases that multiply": ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "aliases"),
    "an anchor inside itself": (RECIPE + "provenance: &a {b: *a}\n", "aliases"),
    "deep lists": ("a: " + "[" * 100_000, "nest"),  # PyYAML 6.0.4 refuses them itself
    "deep mappings": ("{a: " * 5000, "nested"),
    "deep blocks": ("".join(" " * i + "a:\n" for i in range(2000)), "bytes"),
    "deep dashes": ("- " * 5000, "nested"),
    "a long word": ("name: " + "x" * 10_000_000, "10,000,006 bytes"),
    "a long key": ("x" * 900_000 + ": 1\n", "not valid YAML"),
    "many values": ("a: [" + "1," * 400_000 + "]", "values"),
    "many keys": (RECIPE + "".join(f"a{i}: 1\n" for i in range(14_000)), "a0: unknown key"),
    "a null byte": (b"name: a\0b\n", "control characters"),
    "an escaped null byte": (RECIPE + 'name: "a\\0b"\n', "name: "),
    "an escape code": (RECIPE + 'name: "a\\eb"\n', "name: "),
    "UTF-16": (RECIPE.encode("utf-16"), "UTF-8"),
    "a byte order mark": (b"\xef\xbb\xbf" + RECIPE.encode() + b"nme: x\n", "nme: unknown key"),
    "a null byte, nested": (
        RECIPE + 'training: {lr_scheduler_kwargs: {a: "\\0"}}\n',
        "control characters",
    ),
    "half a surrogate pair": (RECIPE + 'name: "\\uD800"\n', "not valid YAML"),
    "a line break in a key": (RECIPE + '"tra\\nin": 1\n', "tra in: unknown key"),
    "nothing as key": (RECIPE + "training: {~: 1}\n", "training.None: unknown key"),
    "an infinite number": (
        RECIPE + "training: {num_train_epochs: 1e400}\n",
        "training.num_train_epochs: ",
    ),
    "a number of 5000 digits": (RECIPE + "training: {seeds: [" + "9" * 5000 + "]}\n", "digits"),
    "an object": ("a: !!python/object/apply:os.system [ls]\n", "tags"),
    "a wrong tag": (RECIPE + "name: !!bool maybe\n", "tags"),
    "no architecture": (
        "corpus: {name: synthetic}\n",
        "model.architecture: missing; choose one of crnn, ",
    ),
    "no corpus": (
        "model: {architecture: crnn}\n",
        "corpus.name: missing; choose one of annotations, ",
    ),
    **{
        f"the name {name}": (f"{RECIPE}name: {name}\n", "name: expected a name")
        for name in ("a/b", "..", "''", "/a", "a\\b", "x" * 201, '"a\\nb"', '"a\\u202eb"')
    },
}
OVERRIDES = {
    "x" * 100_000: "expected an override of the form section.key=value",
    "a." * 5000 + "b=1": "nested so deep",
    "provenance." + "a." * 5000 + "b=1": "nested so deep",
    "audio.sampling_rate.x.y=1": "audio.sampling_rate: expected a whole number",
    "name=\udc80": "not valid YAML",
    "\udc80=x": ": unknown key",
    "na\nme=x": "na me: unknown key",
    "\x1b[31m=x": "[31m: unknown key",
    f"output_dir={'x' * 5000}": "output_dir: expected a path",
    'audio.cache_dir="a\\0"': "audio.cache_dir: control characters",
    f"corpus={{name: csv, root: {'x' * 300}}}": "corpus.root: expected a path",
    f"protocol={{name: file, path: {'x' * 5000}}}": "protocol.path: expected a text of 1 to 1,000 "
    "characters",
    "model.channels=[60000, 60000, 60000, 60000]": "parameters take",
    "audio.sampling_rate=1000000000": "audio.sampling_rate: ",
    "training.dataloader_num_workers=1000000": "training.dataloader_num_workers: ",
    "training.torch_compile_mode=fast": "training.torch_compile_mode: ",
    "training.dataloader_multiprocessing_context=spawn": (
        "training.dataloader_multiprocessing_context: "
    ),
    f"training.seeds={list(range(5000))}": "training.seeds: ",
    "corpus.speakers=1000000000": "corpus.speakers: ",
}


@pytest.fixture(scope="module", autouse=True)
def imported():
    """What a first recipe imports counts for no refusal."""
    read_recipe({"corpus": {"name": "synthetic"}, "model": {"architecture": "crnn"}})


def refused(capsys, *arguments):
    """The one line of a refusal of `ser-hf train`, in bounded time (of the processor), nothing
    having been written.
    """
    before = sorted(os.listdir())
    began = time.process_time()
    assert main(["train", *map(str, arguments)]) == 2
    assert time.process_time() - began < 2
    assert sorted(os.listdir()) == before
    (line,) = [line for line in capsys.readouterr().err.split("\n") if line.startswith("error: ")]
    message = line.partition(" (the whole message: ")[0]
    assert len(message) <= len("error: ") + MOST
    assert line.isprintable()
    return line


@pytest.mark.parametrize("kind", TEXTS)
def test_a_text_that_no_recipe_has(kind, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text, expected = TEXTS[kind]
    Path("bad.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    assert expected in refused(capsys, "bad.yaml")


@pytest.mark.parametrize("override", OVERRIDES, ids=lambda override: ascii(override[:40]))
def test_an_override_that_no_recipe_takes(override, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("good.yaml").write_text(RECIPE)
    assert OVERRIDES[override] in refused(capsys, "good.yaml", override)


@pytest.mark.parametrize("path", ["pipe", "folder", "/dev/zero", "x" * 5000, "", "a\nb", "\udc80"])
def test_a_path_that_is_no_file(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    os.mkdir("folder")
    assert "--resume" not in refused(capsys, path)  # as a fault of the machine would say


@pytest.mark.parametrize("one", fuzz_recipes.ONES)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(rng=st.randoms(use_true_random=False))
def test_random_mistakes(one, rng: random.Random):
    one(rng)
