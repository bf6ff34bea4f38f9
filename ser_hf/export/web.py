"""Writes a static page that runs an exported model in the browser, on the user's device.

The folder needs no build step and no program on a server: any server of files will do.
onnxruntime-web runs the ONNX file. The page decodes and resamples recordings as `ser-hf predict`
does, so that their predictions are equal up to 1e-3.
"""

import base64
import dataclasses
import hashlib
import itertools
import os
import shutil
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Literal

import numpy as np
from huggingface_hub import constants

from ..corpora.schema import EMOTION_COLORS
from ..evaluation.tasks import DIMENSIONS, MULTI_LABEL
from ..inference.load import find_model
from ..inference.onnx_classifier import OnnxClassifier, load_onnx
from ..loading.files import find_file
from ..report.model_page import LIMITS, headline, leak_warning
from ..report.page import template
from ..report.report import Report, read_report
from ..utils.cache import format_size
from ..utils.errors import UserError
from ..utils.files import atomic_folder, write_json
from .onnx import Difference, export_model, short_name

# The page is tested with this version. Another one may have other files.
RUNTIME_VERSION = "1.30.0"
CDN = "https://cdn.jsdelivr.net"
# Servers to which the Hub redirects a browser for the large files of a Space.
HUB_FILE_HOSTS = ("https://*.hf.co", "https://*.huggingface.co")
# Files of onnxruntime-web with their SHA-384: a browser refuses a file with another content.
_SCRIPT = "ort.wasm.min.js"
_MODULE = "ort-wasm-simd-threaded.mjs"
_BINARY = "ort-wasm-simd-threaded.wasm"
RUNTIME_FILES = {
    _SCRIPT: "Bw6URI+Gvoadw0do7/QrSHUC9D1vCYYK5OSqChFyhyV5mzPL4oe2rOAFljAnS8Sq",
    _MODULE: "XcXA/MtAf0WpB8e023xQH9CM7RIjiugakT7x99DIwpFf7k56BIFFcAPerIF7FDad",
    _BINARY: "vjBJ1z7qrhkTyYsNqKeF6c7N+nOJSU94czEo+tvZcu8G75JparGq9kB+kTnEUNVM",
}
# Where the files are below a folder that a user names: the package, its `dist`, or a project.
_RUNTIME_FOLDERS = (".", "dist", "node_modules/onnxruntime-web/dist")
FACTS = "facts.json"
MODEL = "model.onnx"
RUNTIME = "runtime"
_STATIC_FILES = ("page.js", "audio.js", "recorder.js", "style.css")
# The files and folders of a page, for which an existing folder is replaced.
PAGE_FILES = {"index.html", FACTS, MODEL, RUNTIME, *_STATIC_FILES}
_PACKAGE_FOLDER = "page"
# The color of dimensions beside labels.
_NEUTRAL_COLOR = EMOTION_COLORS["neutral"]


@dataclasses.dataclass(frozen=True)
class RuntimeFile:
    """A file of onnxruntime-web: its name, and the hash that the browser compares."""

    name: str
    integrity: str


@dataclasses.dataclass(frozen=True)
class Runtime:
    """onnxruntime-web as the page loads it.

    Args:
        version: its version.
        base: the address that the names of its files are appended to.
        script, module, binary: its files.
    """

    version: str
    base: str
    script: RuntimeFile
    module: RuntimeFile
    binary: RuntimeFile


@dataclasses.dataclass(frozen=True)
class Scale:
    """The scale of a dimension.

    Args:
        name: the dimension.
        low, high: the ratings that the values 0 and 1 stand for.
        bounded: whether predictions end at these ratings.
    """

    name: str
    low: float
    high: float
    bounded: bool


@dataclasses.dataclass(frozen=True)
class PageFacts:
    """The content of facts.json, which the page reads.

    Args:
        title: the name of the model.
        model: the name of its file.
        bytes: the size of this file.
        sampling_rate: the rate of its input in Hz.
        task: the meaning of its outputs.
        labels: the names of its outputs, in their order.
        colors: a color for each label.
        ranges: the scale of each output of a model of dimensions; otherwise empty.
        dimensions: the dimensions that a model predicts beside its labels; None without any.
        neutral: the color of these dimensions.
        label_threshold: the probability above which a label is predicted, if a clip may have
            several.
        unknown_threshold: the least probability of a prediction; None if every clip has one.
        window: the most samples of a window; None for no limit.
        runtime: what runs the file.
    """

    title: str
    model: str
    bytes: int
    sampling_rate: int
    task: Literal["emotions", "multi_label", "dimensions"]
    labels: list[str]
    colors: list[str]
    ranges: list[Scale]
    dimensions: list[Scale] | None
    neutral: str
    label_threshold: float | None
    unknown_threshold: float | None
    window: int | None
    runtime: Runtime


@dataclasses.dataclass(frozen=True)
class WebExport:
    """A written page.

    Args:
        folder: the folder of the page.
        bytes: the size of the model's file, which each visitor downloads.
        local_runtime: whether onnxruntime-web is in the folder, and not loaded from a CDN.
        difference: the difference between the outputs of the file and of the model.
        compared_on: a description of the clips for which the two were compared.
    """

    folder: Path
    bytes: int
    local_runtime: bool
    difference: Difference
    compared_on: str


def export_web(
    source: str | os.PathLike,
    folder: str | os.PathLike,
    *,
    runtime: str | os.PathLike | None = None,
    int8: bool = False,
    clips: Sequence[np.ndarray | str | os.PathLike] | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
    label_names: Sequence[str] | None = None,
    hub_model: str | None = None,
) -> WebExport:
    """Write a static page that runs a model in the browser, with the microphone and with files.

    Recordings stay on the device: the page's policy lets the browser connect to the page's server
    and to the addresses of the runtime and of the model only.

    Example: `ser_hf.export_web("runs/a", "site")`

    Args:
        source: a run folder, a model folder or a Hub id.
        folder: the folder of the page; an existing page is replaced.
        runtime: a folder with onnxruntime-web, whose files are copied beside the page. None: the
            page loads them from a public CDN.
        int8: use the file with int8 weights: a smaller download with slightly other predictions.
        clips, revision, trust_remote_code, label_names: as for `export_model`.
        hub_model: the Hub id of the model, for a page that becomes a Space: the page links its
            card, and may load its own files from the Hub's servers.

    Raises:
        UserError: if the folder has other files, the runtime is missing or has another version, or
            the model cannot be exported.
    """
    folder = Path(folder)
    _require_replaceable(folder)
    runtime_folder = None if runtime is None else _find_runtime(Path(runtime))
    with atomic_folder(folder, "--web") as partial:
        export = export_model(
            source,
            partial / MODEL,
            int8=int8,
            clips=clips,
            revision=revision,
            trust_remote_code=trust_remote_code,
            label_names=label_names,
        )
        file = export.files["int8" if int8 else "onnx"]
        os.replace(file.path, partial / MODEL)
        for path in partial.iterdir():
            if path.name != MODEL:
                path.unlink()
        base = f"{RUNTIME}/"
        if runtime_folder is None:
            base = f"{CDN}/npm/onnxruntime-web@{RUNTIME_VERSION}/dist/"
        else:
            _copy_runtime(runtime_folder, partial / RUNTIME)
        classifier = load_onnx(partial / MODEL)
        report = _report_of(source, revision)
        facts = _facts(
            classifier,
            title=report.name if report else short_name(os.fspath(source)),
            size=file.bytes,
            base=base,
        )
        hosts = () if hub_model is None else (constants.ENDPOINT, *HUB_FILE_HOSTS)
        _write_page(
            partial,
            facts,
            report,
            page_of_model=_page_of_model(hub_model, source),
            model_hosts=hosts,
        )
    return WebExport(
        folder=folder,
        bytes=file.bytes,
        local_runtime=runtime_folder is not None,
        difference=file.difference,
        compared_on=export.compared_on,
    )


def _require_replaceable(folder: Path) -> None:
    """Refuse a path that holds other files than a page."""
    if folder.is_file():
        raise UserError(f"--web: {folder} is a file; name a folder")
    others = set(os.listdir(folder)) - PAGE_FILES if folder.is_dir() else set()
    if others:
        raise UserError(
            f"--web: {folder} holds {min(others)}, which is not of such a page; name another folder"
        )


def _find_runtime(folder: Path) -> Path:
    """Find the files of onnxruntime-web below a folder, and check them.

    Raises:
        UserError: if a file is missing or is not that of `RUNTIME_VERSION`.
    """
    install = f"npm install onnxruntime-web@{RUNTIME_VERSION}"
    for below in _RUNTIME_FOLDERS:
        if (folder / below / _SCRIPT).is_file():
            break
    else:
        raise UserError(f"--runtime: {folder} holds no {_SCRIPT}; {install} writes it")
    for name, expected in RUNTIME_FILES.items():
        path = folder / below / name
        content = path.read_bytes() if path.is_file() else b""
        if base64.b64encode(hashlib.sha384(content).digest()).decode() != expected:
            raise UserError(
                f"--runtime: {path} is not that of version {RUNTIME_VERSION}; {install} writes it"
            )
    return folder / below


def _copy_runtime(source: Path, folder: Path) -> None:
    folder.mkdir()
    for name in RUNTIME_FILES:
        shutil.copyfile(source / name, folder / name)


def _report_of(source: str | os.PathLike, revision: str | None) -> Report | None:
    """Read the report that is published with a model; None if there is none."""
    location = find_model(os.fspath(source), revision)
    path = find_file(location, "report.json", revision, required=False)
    return read_report(Path(path)) if path else None


def _page_of_model(hub_model: str | None, source: str | os.PathLike) -> str | None:
    """The address of the model's card; None for a model in a folder."""
    if hub_model is None and not os.path.isdir(source):
        hub_model = os.fspath(source)
    return None if hub_model is None else f"{constants.ENDPOINT}/{hub_model}"


def _facts(classifier: OnnxClassifier, *, title: str, size: int, base: str) -> PageFacts:
    task: Literal["emotions", "multi_label", "dimensions"] = "emotions"
    if classifier.task is MULTI_LABEL:
        task = "multi_label"
    elif classifier.task is DIMENSIONS:
        task = "dimensions"
    beside_labels = _scales(classifier.rating_ranges, bounded=True)
    return PageFacts(
        title=title,
        model=MODEL,
        bytes=size,
        sampling_rate=classifier.extractor.sampling_rate,
        task=task,
        labels=classifier.labels,
        colors=_colors(classifier.labels),
        ranges=_scales(classifier.ranges, bounded=classifier.bounded),
        dimensions=beside_labels or None,
        neutral=_NEUTRAL_COLOR,
        label_threshold=classifier.label_threshold,
        unknown_threshold=classifier.model.settings.unknown_threshold,
        window=classifier.window(),
        runtime=Runtime(
            version=RUNTIME_VERSION,
            base=base,
            script=_runtime_file(_SCRIPT),
            module=_runtime_file(_MODULE),
            binary=_runtime_file(_BINARY),
        ),
    )


def _runtime_file(name: str) -> RuntimeFile:
    return RuntimeFile(name, f"sha384-{RUNTIME_FILES[name]}")


def _scales(ranges: Mapping[str, Sequence[float]], *, bounded: bool) -> list[Scale]:
    return [Scale(name, low, high, bounded) for name, (low, high) in ranges.items()]


def _colors(labels: Sequence[str]) -> list[str]:
    """A color for each label; labels that are no emotions get the remaining colors."""
    emotions = {label.lower() for label in labels}
    unused = [color for name, color in EMOTION_COLORS.items() if name not in emotions]
    remaining = itertools.cycle(unused or EMOTION_COLORS.values())
    return [EMOTION_COLORS.get(label.lower()) or next(remaining) for label in labels]


def _write_page(
    folder: Path,
    facts: PageFacts,
    report: Report | None,
    *,
    page_of_model: str | None,
    model_hosts: Sequence[str],
) -> None:
    """Write the files of a page, beside its model.

    Args:
        page_of_model: the address of the model's card.
        model_hosts: addresses besides the page's server from which the model's file may come.
    """
    files = resources.files(__package__) / _PACKAGE_FOLDER
    for name in _STATIC_FILES:
        (folder / name).write_bytes((files / name).read_bytes())
    write_json(folder / FACTS, dataclasses.asdict(facts))
    is_local = facts.runtime.base == f"{RUNTIME}/"
    outputs = "Dimensions" if facts.task == "dimensions" else "Emotions"
    html = template(f"{__package__}.{_PACKAGE_FOLDER}", "index.html").render(
        facts=facts,
        outputs=outputs,
        size=format_size(facts.bytes),
        report=report,
        headline=headline(report) if report else None,
        leak=leak_warning(report) if report else None,
        page_of_model=page_of_model,
        limits=LIMITS,
        runtime_host="" if is_local else CDN,
        runtime_place="it is a part of this page" if is_local else f"it comes from {CDN}",
        model_hosts=" ".join(model_hosts),
    )
    (folder / "index.html").write_text(html, encoding="utf-8")
