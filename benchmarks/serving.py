"""Compare exported files with the model in torch: processor time for a clip, alone and in batches,
and agreement.

    OMP_NUM_THREADS=1 python benchmarks/serving.py [NAME ...] [--repeats 15] [--readme]

The networks have random weights and the sizes of their recipes; the encoder is that of
wav2vec2-base. `ser-hf export` writes the files, with int8 ones. Then noise of 3 s is classified
from waveform to logits by torch, the ONNX file and the int8 file in turn, so that other work on the
machine slows down all of them. `network` is torch without the front end, from features on: a floor.
Times are processor time in one thread, divided by the clips of a batch. Results are merged into
benchmarks/results/serving.json; `--readme` prints its table without measuring.
"""

import argparse
import json
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor

from ser_hf.experiment.sections import environment_section
from ser_hf.export.onnx import compare, export_model, logits_of
from ser_hf.inference.classifier import Classifier
from ser_hf.inference.load import load_classifier
from ser_hf.models import ARCHITECTURES
from ser_hf.models.modeling_base import AcousticClassifier
from ser_hf.models.modeling_pooled_encoder import (
    PooledEncoderConfig,
    PooledEncoderForAudioClassification,
)
from ser_hf.utils.yaml import read_yaml

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "serving.json"
RECIPES = {
    "crnn": "ravdess_crnn",
    "se_resnet": "ravdess_se_resnet",
    "cnn2d": "ravdess_cnn2d",
    "byols": "ravdess_emobox_byols",
    "wav2vec2": None,
}
SECONDS = 3.0
CLASSES = 8
BATCHES = (1, 16)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "names", nargs="*", default=list(RECIPES), metavar="NAME", help=", ".join(RECIPES)
    )
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--readme", action="store_true")
    options = parser.parse_args()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"networks": {}}
    if not options.readme:
        torch.set_num_threads(1)
        for name in options.names:
            with tempfile.TemporaryDirectory() as folder:
                row = measure(write_model(name, Path(folder, name)), options.repeats)
            results["networks"][name] = row | {"environment": environment_section().to_dict()}
            print(table({name: results["networks"][name]}), flush=True)
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(table(results["networks"]))


def write_model(name: str, folder: Path) -> Path:
    """A network with random weights in a folder, as after training."""
    torch.manual_seed(0)
    recipe = RECIPES[name]
    if recipe is None:
        # the variant that supports padding
        encoder = Wav2Vec2Config(feat_extract_norm="layer", conv_bias=True)
        model = PooledEncoderForAudioClassification(
            PooledEncoderConfig(encoder=encoder, num_labels=CLASSES)
        )
    else:
        options = read_yaml(ROOT / "recipes" / f"{recipe}.yaml")["model"]
        options = {
            key: value
            for key, value in options.items()
            if key not in ("architecture", "checkpoint")
        }
        network = ARCHITECTURES[name]
        model = network(network.config_class(num_labels=CLASSES, **options))
        settle(model)
    model.save_pretrained(folder)
    Wav2Vec2FeatureExtractor(
        do_normalize=recipe is None, return_attention_mask=True
    ).save_pretrained(folder)
    return folder


@torch.no_grad()
def settle(model: AcousticClassifier) -> None:
    """Statistics of normalization as after training, on noise."""
    noise = torch.randn(8, 16000) * 0.1
    norm = model.front_end.normalize
    norm.observing = norm.counts
    for _ in range(30):
        model.train()(noise)
    if norm.counts:
        norm.settle()
        for _ in range(30):
            model(noise)


def measure(folder: Path, repeats: int) -> dict:
    """Measure one network in its forms."""
    classifier = load_classifier(folder, device="cpu")
    exports = export_model(folder, folder / "model.onnx", int8=True)
    classifiers = {"torch": classifier} | {
        form: load_classifier(file.path) for form, file in exports.files.items()
    }
    rate = classifier.extractor.sampling_rate
    shape = (max(BATCHES), round(SECONDS * rate))
    noise = np.random.default_rng(0).standard_normal(shape).astype(np.float32) * 0.1
    result = {
        "parameters": sum(parameter.numel() for parameter in classifier.model.parameters()),
        "forms": {},
    }
    outputs = {
        form: logits_of(classifier_of_form, noise, max(BATCHES))
        for form, classifier_of_form in classifiers.items()
    }
    for form, logits in outputs.items():
        deviation = compare(logits, outputs["torch"], None)
        size = exports.files[form].bytes if form in exports.files else 4 * result["parameters"]
        result["forms"][form] = {
            "bytes": size,
            "logit_difference": deviation.logits,
            "changed": deviation.changed,
        }
    for batch in BATCHES:
        clips = noise[:batch]
        work = {
            form: partial(logits_of, classifier_of_form, clips, batch)
            for form, classifier_of_form in classifiers.items()
        }
        floor = network_alone(classifier, clips)
        if floor is not None:
            work["network"] = floor
        for form, times in clock(work, repeats).items():
            quartiles = (1000 * np.percentile(times, (50, 25, 75)) / batch).round(3).tolist()
            result["forms"].setdefault(form, {})[f"milliseconds_{batch}"] = quartiles
    return result


def network_alone(classifier: Classifier, clips: np.ndarray):
    """A function that runs the network of ser_hf on features that were computed before; None for
    encoders.
    """
    model = classifier.model
    if not isinstance(model, AcousticClassifier):
        return None
    lengths = torch.full((len(clips),), clips.shape[1])
    speeds = range(len(getattr(model.config, "test_speeds", ()))) or [None]
    with torch.inference_mode():
        views = [model.front_end(torch.from_numpy(clips), lengths, speed) for speed in speeds]

    @torch.inference_mode()
    def run() -> None:
        model.classifier(torch.stack([model.embed(*view) for view in views]).mean(dim=0))

    return run


def clock(work: dict, repeats: int) -> dict[str, list[float]]:
    """Seconds of processor time of each function, called in turn."""
    times = {form: [] for form in work}
    for repeat in range(repeats + 2):  # the first ones allocate memory
        for form, run in work.items():
            began = time.process_time()
            run()
            if repeat > 1:
                times[form].append(time.process_time() - began)
    return times


def table(networks: dict) -> str:
    lines = [
        "| network | form | MB | alone, ms | of torch | in batches of 16, ms a clip | of torch | "
        "logits differ by |"
    ]
    lines.append("|---|---|---|---|---|---|---|---|")
    for name, result in networks.items():
        for form, row in result["forms"].items():
            cells = [name, form, f"{row['bytes'] / 1e6:.1f}" if "bytes" in row else ""]
            for batch in BATCHES:
                key = f"milliseconds_{batch}"
                median, low, high = row[key]
                cells += [
                    f"{median:.1f} ({low:.1f} to {high:.1f})",
                    f"{median / result['forms']['torch'][key][0]:.2f}",
                ]
            cells.append(f"{row['logit_difference']:.1e}" if form in ("onnx", "int8") else "")
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
