"""The columns by which a report groups the evaluated clips."""

import dataclasses
import math
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Slicing:
    """How a column of the corpus divides the clips into groups.

    Args:
        column: name of the column; clips without a value are in no group.
        bounds: the bounds of the groups, for a column of numbers; each bound is the smallest number
            of a group. Without bounds each value is a group.
        unit: unit of the numbers.
        most_values: the report leaves out a column with more groups than this.
    """

    column: str
    bounds: tuple[float, ...] = ()
    unit: str = ""
    most_values: float = 50

    @property
    def groups(self) -> list[str]:
        """The names of the groups between bounds."""
        first = f"under {self.bounds[0]} {self.unit}"
        pairs = zip(self.bounds, self.bounds[1:], strict=False)
        between = [f"{low} to {high} {self.unit}" for low, high in pairs]
        last = f"{self.bounds[-1]} {self.unit} and more"
        return [first, *between, last]

    def group(self, value: Any) -> str | None:
        """The group of one clip; None if its value is unknown."""
        if not self.bounds:
            return None if value is None or not str(value).strip() else str(value)
        if value is None:
            return None
        try:
            number = float(value)
        except ValueError:  # an age such as "26-35"
            return None
        if math.isnan(number):
            return None
        return self.groups[np.searchsorted(self.bounds, number, side="right")]

    def in_order(self, groups: set[str]) -> list[str]:
        """Sort the names of groups for the report.

        With bounds they are in the order of the bounds. Otherwise numbers come first, by size, then
        words in alphabetical order.
        """
        if self.bounds:
            return sorted(groups, key=self.groups.index)
        numbers = sorted((name for name in groups if name.isdecimal()), key=lambda n: (int(n), n))
        words = sorted(name for name in groups if not name.isdecimal())
        return numbers + words


# {name in the report: slicing}. To add a grouping to the report, add an entry here; its column is
# then stored in predictions.parquet too.
SLICES = {
    "corpus": Slicing("corpus"),
    "speaker": Slicing("speaker", most_values=math.inf),
    "sex": Slicing("sex"),
    "age_group": Slicing("age", (18, 30, 45, 60), "years"),
    "language": Slicing("language"),
    "sentence": Slicing("sentence"),
    "intensity": Slicing("intensity"),
    "duration": Slicing("duration", (1, 2, 3, 5, 10), "s"),
}


def grouped_columns() -> dict[str, bool]:
    """{column: whether it has numbers} of the columns that `SLICES` needs."""
    return {slicing.column: bool(slicing.bounds) for slicing in SLICES.values()}
