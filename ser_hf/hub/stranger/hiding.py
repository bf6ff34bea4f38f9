"""Modules that are not found, as if they were not installed."""

import importlib.metadata
import sys


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
