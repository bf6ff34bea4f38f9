"""What somebody meets who has no ser_hf: a script that `ser_hf.hub.verify` runs in a process of its own.

    python -I stranger.py QUESTIONS.json ANSWERS.jsonl

It must import nothing of ser_hf, and hides what `pip install` of `INSTALLED` would not have brought: who follows a
model card has that and no more. Each answer is a line of plain facts; what they mean is `ser_hf.hub.verdict`'s matter.
"""

import hashlib
import importlib.metadata
import json
import math
import re
import sys
from pathlib import Path

# What a card asks for, and what adapters are looked up with.
INSTALLED = ("torch", "numpy", "transformers", "soundfile", "soxr", "peft")
CODE_MAY_IMPORT = ("torch", "numpy", "transformers")
POINTER = b"version https://git-lfs"
_CONFIGS = ("config.json", "preprocessor_config.json", "processor_config.json")
_WEIGHTS = (".safetensors", ".bin")


class Hiding:
    """A finder of modules that does not find some: None for them, as where they were never installed."""

    def __init__(self, finder, names):
        self.finder, self.names = finder, names

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        # Private names (_sysconfigdata_..., those of compiled packages) are nobody's to ask for.
        private = top.startswith("_") or top.endswith("__mypyc")
        hidden = top == "ser_hf" or not (self.names is None or top in self.names or private)
        return None if hidden else self.finder.find_spec(name, path, target)


def importable(packages):
    """Names that can be imported where these packages, and what they need, are; None if that cannot be told."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    wanted = [(canonicalize_name(package), "") for package in packages]
    seen, names = set(), {*sys.stdlib_module_names, "transformers_modules", "pkg_resources"}
    while wanted:
        package, extra = wanted.pop()
        if (package, extra) in seen:
            continue
        seen.add((package, extra))
        try:
            found = importlib.metadata.distribution(package)
        except importlib.metadata.PackageNotFoundError:
            if package in ("torch", "numpy", "transformers"):
                return None  # installed in a way that leaves no record of what belongs to it
            continue
        listed = found.read_text("top_level.txt")
        paths = listed.split() if listed else [str(path) for path in found.files or ()]
        names |= {path.partition("/")[0].partition(".")[0] for path in paths}
        for line in found.requires or ():
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                wanted += [(canonicalize_name(needed.name), more) for more in ("", *needed.extras)]
    return names


class Refused(Exception):
    """There is nothing to look at, for a reason that the user can do something about: (kind, what was said)."""


def look(asked):
    """All facts about one model: a dict that JSON can hold. `asked` is what `ser_hf.hub.verify` writes."""
    try:
        place = Place(asked)
        recordings = [heard(path) for path in asked["recordings"]]
    except Refused as refused:
        return {"refused": list(refused.args)}
    quiet()
    answer = {"versions": versions()}
    answer |= {"commit": place.commit, "files": place.files, "readme": place.text("README.md"), "task": place.task()}
    answer |= {"pointers": place.pointers(), "adapter_of": place.adapter_of()}
    answer |= place.code(asked["known_code"])
    classifier, error = attempt(place, False)
    answer["plain_error"] = told(error)
    answer["remote_code"] = bool(error and "trust_remote_code" in str(error))
    if classifier is not None:
        answer |= tensors(classifier.model, place, answer["adapter_of"])
        # transformers knows the kind of model, and made a head of its own for it where the code has another.
        answer["remote_code"] = bool(answer["code"] and answer["missing"])
    if answer["remote_code"]:
        ours = not (answer["code_unknown"] or answer["code_from"])
        if not (ours if asked["trust_remote_code"] is None else asked["trust_remote_code"]):
            return answer | {"untrusted": True}
        classifier, error = attempt(place, True)
        if classifier is not None:
            answer |= tensors(classifier.model, place, answer["adapter_of"])
    if classifier is None:
        return answer | {"loads": False, "error": told(error), "lacks": lacks(error), "shapes": shapes(place, error)}
    answer["loads"] = True
    answer |= describe(classifier)
    return answer | listen(classifier, recordings, asked["waveforms"], asked["stereo"])


class Place:
    """A folder, or a repository at one commit, and the small files in it."""

    def __init__(self, asked):
        self.folder = Path(asked["where"]) if asked["folder"] else None
        self.name, self.commit, self.online = asked["where"], None, False
        if self.folder:
            found = [path.relative_to(self.folder) for path in self.folder.rglob("*") if path.is_file()]
            self.files = sorted(path.as_posix() for path in found if not path.parts[0].startswith("."))
        else:
            self._find(asked["revision"])

    def _find(self, revision):
        from huggingface_hub import HfApi, constants, errors, hf_hub_download, try_to_load_from_cache

        try:
            if constants.HF_HUB_OFFLINE:
                cached = try_to_load_from_cache(self.name, "config.json", revision=revision)
                if not isinstance(cached, str):
                    raise Refused("offline", "")
                snapshot = Path(cached).parent
                self.commit = snapshot.name
                self.files = sorted(
                    path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*") if path.is_file()
                )
                return
            info = HfApi().model_info(self.name, revision=revision)
            self.commit, self.files, self.online = info.sha, sorted(file.rfilename for file in info.siblings), True
            for name in self.files:  # of a gated repository everybody may read the list
                if name in (*_CONFIGS, "adapter_config.json", "README.md") or name.endswith(".py"):
                    hf_hub_download(self.name, name, revision=self.commit)
        except errors.GatedRepoError as error:
            raise Refused("gated", first_line(error)) from None
        except errors.RepositoryNotFoundError as error:
            raise Refused("absent", first_line(error)) from None
        except errors.RevisionNotFoundError as error:
            raise Refused("revision", first_line(error)) from None
        except errors.HFValidationError as error:
            raise Refused("name", first_line(error)) from None
        except errors.HfHubHTTPError as error:
            status = error.response.status_code if error.response is not None else None
            raise Refused("token" if status == 401 else "hub", first_line(error)) from None
        except OSError as error:
            raise Refused("offline", first_line(error)) from None
        except Exception as error:
            if type(error).__module__.partition(".")[0] not in ("httpx", "httpx2", "httpcore", "httpcore2"):
                raise
            raise Refused("offline", first_line(error)) from None

    def path(self, name):
        """Where a file of it lies on this disk; None if it has none of that name."""
        from huggingface_hub import try_to_load_from_cache

        if name not in self.files:
            return None
        if self.folder:
            return self.folder / name
        cached = try_to_load_from_cache(self.name, name, revision=self.commit)
        return Path(cached) if isinstance(cached, str) else None

    def text(self, name):
        path = self.path(name)
        return None if path is None else path.read_text(encoding="utf-8", errors="replace")

    def values(self, name):
        """A JSON file's values; nothing where it is absent or holds no object, which loading will complain of."""
        try:
            values = json.loads(self.text(name) or "{}")
        except ValueError:
            return {}
        return values if isinstance(values, dict) else {}

    def adapter_of(self):
        """What the adapter at its root adapts ("" where that is not told); None without one."""
        return self.values("adapter_config.json").get("base_model_name_or_path") or (
            "" if "adapter_config.json" in self.files else None
        )

    def task(self):
        """What `pipeline` without a task asks the Hub for: the task, or why there is none; None where nobody asks."""
        from transformers.pipelines import get_task

        if not self.online:
            return None
        try:
            return {"name": get_task(self.name)}
        except RuntimeError as error:
            return {"error": first_line(error)}

    def pointers(self):
        """Weights that are only Git LFS's word for them."""
        if not self.folder:
            return []
        weights = [self.folder / name for name in self.files if name.endswith(_WEIGHTS)]
        return [path.name for path in weights if path.open("rb").read(len(POINTER)) == POINTER]

    def code(self, known):
        """The code files that loading it runs, those that are not there, what they import beside `CODE_MAY_IMPORT`,
        those whose SHA-256 sums are not `known`, and other repositories that code comes from."""
        from transformers.dynamic_module_utils import get_imports, get_relative_imports

        named = [value for name in _CONFIGS for value in strings(self.values(name).get("auto_map"))]
        named += strings(self.values("config.json").get("custom_pipelines"), "impl")
        foreign = sorted({value.partition("--")[0] for value in named if "--" in value})
        wanted = [value.rpartition(".")[0] + ".py" for value in named if "--" not in value]
        used, absent, imports = [], [], set()
        while wanted:
            name = wanted.pop()
            if name in used or name in absent:
                continue
            path = self.path(name)
            if path is None:
                absent.append(name)
                continue
            used.append(name)
            try:
                imports |= set(get_imports(path))
                wanted += [f"{module}.py" for module in get_relative_imports(path)]
            except SyntaxError:
                continue  # which loading will tell
        sums = {name: hashlib.sha256(self.path(name).read_bytes()).hexdigest() for name in used}
        return {
            "code": sorted(used),
            "code_absent": sorted(absent),
            "code_imports": sorted(imports - {*CODE_MAY_IMPORT} - sys.stdlib_module_names),
            "code_unknown": sorted(name for name in used if sums[name] not in known),
            "code_from": foreign,
        }


def strings(value, key=None):
    """All strings in a nest of dicts and lists, or those under one key."""
    if isinstance(value, str):
        return [value] if key is None else []
    if isinstance(value, dict):
        pairs = [(item, None if name == key else key) for name, item in value.items()]
    else:
        pairs = [(item, key) for item in value] if isinstance(value, list) else []
    return [text for item, under in pairs for text in strings(item, under)]


def heard(path):
    """A recording as a card's snippet reads it, by sampling rate."""
    from transformers.audio_utils import load_audio

    try:
        load_audio(path)
    except Exception as error:
        raise Refused("recording", f"{path}: {first_line(error)}") from None
    return lambda sampling_rate: load_audio(path, sampling_rate=sampling_rate)


def attempt(place, trust):
    """The pipeline, or what loading it raised."""
    from transformers import pipeline

    try:
        kind = {"revision": place.commit, "trust_remote_code": trust, "device": "cpu"}
        return pipeline("audio-classification", model=place.name, **kind), None
    except (Exception, SystemExit) as error:  # code of others may raise anything
        return None, error


def tensors(model, place, adapter_of):
    """What became of every tensor: of the network, and of the file."""
    state = model.state_dict()
    found = {"tensors": len(state), "missing": [], "unexpected": [], "mismatched": []}
    floating = {name: tensor for name, tensor in state.items() if tensor.is_floating_point()}
    found["not_finite"] = sorted(name for name, tensor in floating.items() if not tensor.isfinite().all())
    if adapter_of is not None:
        return found
    try:
        _, info = type(model).from_pretrained(
            place.name, revision=place.commit, dtype="auto", output_loading_info=True
        )
    except Exception as error:
        return found | {"unaccounted": told(error)}
    found |= {key: sorted(info[f"{key}_keys"]) for key in ("missing", "unexpected")}
    return found | {"mismatched": sorted(str(key[0]) for key in info["mismatched_keys"])}


def describe(classifier):
    model, extractor = classifier.model, classifier.feature_extractor
    names = model.config.id2label
    return {
        "labels": [names.get(i) for i in range(model.config.num_labels)],
        "problem_type": model.config.problem_type,
        "sampling_rate": extractor.sampling_rate,
        "config_sampling_rate": getattr(model.config, "sampling_rate", None),
        "front_end": type(extractor).__name__,
        "model": type(model).__name__,
        "dtype": str(model.dtype).removeprefix("torch."),
    }


def listen(classifier, recordings, waveforms, stereo):
    """Answers to clips, and to what clips may be beside that; {"logits", "sum"} of each, or the "error"."""
    import numpy as np

    rate = classifier.feature_extractor.sampling_rate
    clips = [read(rate) for read in recordings] + [np.load(path) for path in waveforms]
    loudest = max(clips, key=lambda clip: float(np.abs(clip).max(initial=0)))
    kept = []
    hook = classifier.model.register_forward_hook(lambda module, given, output: kept.append(output.logits))
    half = loudest[: max(1, len(loudest) // 2)]
    others = {
        "silence": lambda: np.zeros(rate, np.float32),
        "short": lambda: loudest[: rate // 10],
        "long": lambda: np.resize(loudest, 30 * rate),
        "stereo": lambda: heard(stereo)(rate),
    }
    answers = [ask(classifier, lambda clip=clip: clip, kept) for clip in clips]
    found = {"answers": answers, "others": {name: ask(classifier, make, kept) for name, make in others.items()}}
    alone = ask(classifier, lambda: half, kept)
    padded = ask(classifier, lambda: [half, loudest], kept, batch_size=2)
    hook.remove()
    if "error" in padded or "error" in alone:
        return found | {"padding": {"error": padded.get("error") or alone["error"]}}
    gaps = [abs(a - b) for a, b in zip(alone["logits"], padded["logits"], strict=True)]
    return found | {"padding": {"difference": max(gaps), "scale": max(map(abs, alone["logits"]))}}


def ask(classifier, make, kept, **options):
    """The logits, of the first of several clips, and what its probabilities add up to."""
    kept.clear()
    try:
        scores = classifier(make(), top_k=None, **options)
        logits = kept[0][0].float().tolist()
    except (Exception, SystemExit) as error:
        return {"error": told(error)}
    scores = scores[0] if isinstance(scores[0], list) else scores
    total = sum(item["score"] for item in scores)
    return {"logits": logits, "sum": total, "finite": all(map(math.isfinite, [*logits, total]))}


def shapes(place, error):
    """Tensors of another shape in the file than in the network, where that is why it does not load."""
    if "ignore_mismatched_sizes" not in str(error):
        return []
    from transformers import AutoModelForAudioClassification

    _, info = AutoModelForAudioClassification.from_pretrained(
        place.name,
        revision=place.commit,
        trust_remote_code="auto_map" in place.values("config.json"),
        ignore_mismatched_sizes=True,
        output_loading_info=True,
    )
    return [[name, list(file), list(network)] for name, file, network in sorted(info["mismatched_keys"])]


def lacks(error):
    """Whether a package that is not there is why it does not load."""
    said = str(error)
    return isinstance(error, ImportError) or any(
        word in said for word in ("ModuleNotFoundError", "ImportError", "requires the following packages")
    )


def told(error):
    """What was raised, in a line; None for None."""
    if error is None:
        return None
    said = str(error)
    if "See the original errors" in said:  # a traceback for each class that was tried, the first the one for the task
        first = said.partition("an error is thrown:")[2].partition("\nwhile loading with")[0]
        raised = re.findall(r"^(?:[\w.]*\.)?(\w*(?:Error|Exception)): (.*)", first, re.MULTILINE)
        if raised:
            return shortened(": ".join(raised[-1]))
    return shortened(f"{type(error).__name__}: {first_line(error)}")


def first_line(error):
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    return shortened(lines[0]) if lines else type(error).__name__


def shortened(text):
    return text.rstrip(".") if len(text) <= 300 else text[:297] + "..."


def quiet():
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


def versions():
    import huggingface_hub
    import numpy
    import torch
    import transformers

    modules = (torch, transformers, huggingface_hub, numpy)
    own = {module.__name__: str(module.__version__) for module in modules}
    return {"python": sys.version.partition(" ")[0]} | own


def main(questions, answers):
    asked = json.loads(Path(questions).read_text(encoding="utf-8"))
    sys.path += [folder for folder in asked["path"] if folder not in sys.path]
    names = None if asked["everything"] else importable(INSTALLED)
    sys.meta_path[:] = [Hiding(finder, names) for finder in sys.meta_path]
    with open(answers, "a", encoding="utf-8") as file:
        for model in asked["models"]:
            file.write(json.dumps(look(model)) + "\n")
            file.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
