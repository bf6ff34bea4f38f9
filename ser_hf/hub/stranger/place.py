"""Where a model is: a folder, or a repository of the Hub at one commit, and what its small files say."""

import hashlib
import json
import sys
from pathlib import Path

from words import first_line

CODE_MAY_IMPORT = ("torch", "numpy", "transformers")
POINTER = b"version https://git-lfs"
_CONFIGS = ("config.json", "preprocessor_config.json", "processor_config.json")
_WEIGHTS = (".safetensors", ".bin")


class Refused(Exception):
    """There is nothing to look at, for a reason that the user can do something about: (kind, what was said)."""


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
