"""Plug-ins: corpora and networks that other installed packages offer as entry points."""

from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import entry_points
from typing import Any

from .errors import UserError


class WithPlugins(Mapping[str, Any]):
    """A table of built-in entries by name, and of the entry points of a group.

    An entry point is imported when it is first used: a plug-in imports this package, so it cannot
    be imported while this package is being imported.

    Args:
        built_in: names and entries; no plug-in can have one of these names.
        group: the group of entry points, such as ``ser_hf.corpora``.
        check: raises a ValueError that describes what is wrong with an entry of a plug-in.
    """

    def __init__(self, built_in: Mapping[str, Any], group: str, check: Callable[[str, Any], None]):
        self.entries = dict(built_in)
        self.group = group
        self.check = check
        self.points = {point.name: point for point in entry_points(group=group)}

    def __getitem__(self, name: str) -> Any:
        """The entry of a name.

        Raises:
            KeyError: for a name without an entry.
            UserError: for a plug-in that cannot be imported or used; the message names its package.
        """
        if name in self.points:
            self.entries[name] = self._load(name)
            del self.points[name]
        return self.entries[name]

    def _load(self, name: str) -> Any:
        """Import the entry of a plug-in and check it."""
        point = self.points[name]
        try:
            if name in self.entries:
                raise ValueError(f"ser_hf has a {name}, so its entry point needs another name")
            entry = point.load()
            self.check(name, entry)
        except Exception as error:  # the code of a plug-in may raise anything
            kind = "" if type(error) is ValueError else f"{type(error).__name__}: "
            package = point.dist.name if point.dist else point.value
            raise UserError(
                f"plug-in {name} ({self.group}) of the package {package}: {kind}{error}"
            ) from error
        return entry

    def __contains__(self, name: object) -> bool:
        return name in self.entries or name in self.points

    def __iter__(self) -> Iterator[str]:
        return iter({**self.entries, **self.points})

    def __len__(self) -> int:
        return len({*self.entries, *self.points})
