"""A comparison as lines for the terminal, and its figures as people read them."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..evaluation.metrics import NAMES
from .pairs import fingerprint

# Letters of a name in the terminal.
_LONGEST = 48
# More pairs than this, and the terminal shows those with the best run of each group only.
MOST_PAIRS = 10
# Groups that cannot be paired with one another, of which the terminal tells why.
MOST_UNPAIRED = 4


def summary(comparison: Mapping[str, Any]) -> str:
    """The table, the pairs, what was not paired and why, and what to beware of."""
    rows, metric = comparison["runs"], comparison["metric"]
    names = shortened([row["name"] for row in rows], _LONGEST)
    table = [[names[row["name"]], *cells(row, metric)[1:]] for row in rows]
    lines = ["", *_aligned(headings(metric), table)]
    if comparison["pairs"]:
        lines += ["", *_pairs(comparison, names)]
    lines += [f"  {name}: {told}" for name, told in ((row["name"], told) for row in rows for told in row["told"])]
    unpaired = comparison["unpaired"]
    lines += [f"  not paired: {not_paired(one)}" for one in unpaired[:MOST_UNPAIRED]]
    if len(unpaired) > MOST_UNPAIRED:
        lines.append(f"  not paired: {len(unpaired) - MOST_UNPAIRED} more groups, in comparison.json (--output)")
    return "\n".join([*lines, *(f"  note: {warning}" for warning in comparison["warnings"])])


def shortened(names: Sequence[str], longest: int) -> dict[str, str]:
    """Each name with the middle of what is too long left out, unless two came to the same."""
    half = (longest - 3) // 2
    short = {name: name if len(name) <= longest else f"{name[:half]}...{name[-half:]}" for name in names}
    return {name: cut if list(short.values()).count(cut) == 1 else name for name, cut in short.items()}


def headings(metric: str) -> list[str]:
    others = [name for name in ("uar", "wa", "macro_f1") if name != metric]
    spread = ["sd", "over"]
    cost = ["parameters", "learning", "training", "an epoch"]
    return ["run", "protocol", NAMES[metric], "interval", *(NAMES[name] for name in others), *spread, *cost]


def cells(row: Mapping[str, Any], metric: str) -> list[str]:
    """The texts of a row, one for each of the headings."""
    others = [name for name in ("uar", "wa", "macro_f1") if name != metric]
    repeats, protocol = row["repeats"], row["protocol"]
    part = "" if row["part"] == "test" else f", {row['part']}"
    heard = " (not known whom it heard)" if protocol["heard_before"] is None else ""
    mark = " LEAKY" if protocol["leak"] else " (speakers heard before)" if protocol["heard_before"] else heard
    return [
        row["name"],
        f"{fingerprint(row)}{part}{mark}",
        f"{row['metrics'][metric]:.3f}",
        span(row["intervals"].get(metric)),
        *(f"{row['metrics'][name]:.3f}" for name in others),
        f"{row['deviations'][metric]:.3f}" if metric in row["deviations"] else "-",
        f"{repeats['number']} {repeats['kind']}" if repeats else "-",
        count(row["parameters"]),
        count(row["learning"]),
        seconds(row["seconds"]["training"]),
        seconds(row["seconds"]["per_epoch"]),
    ]


def span(interval: Sequence[float] | None, signed: bool = False) -> str:
    if interval is None:
        return "-"
    low, high = (f"{end:+.3f}" if signed else f"{end:.3f}" for end in interval)
    return f"{low} to {high}"


def count(number: int | None) -> str:
    """A number of parameters in three digits."""
    if number is None:
        return "-"
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return str(number)


def seconds(value: float | None) -> str:
    """A time as people say it."""
    if value is None:
        return "-"
    if value < 100:
        return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 6000 else f"{value / 3600:.1f} h"


def chance(p: float) -> str:
    """A p-value in the digits that mean something."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def chances(tests: Sequence[Mapping[str, Any]]) -> str:
    """The p-values of McNemar's tests, corrected: one, or the least and the largest over the seeds."""
    values = sorted(test["p_holm"] for test in tests)
    if len(values) < 2:
        return chance(values[0]) if values else "-"
    return f"{chance(values[0])} to {chance(values[-1])} ({len(values)} seeds)"


def not_paired(one: Mapping[str, Any]) -> str:
    others = f" with {', '.join(one['others'])}" if one["others"] else ""
    return f"{', '.join(one['runs'])}{others}: {one['why']}"


def shown_pairs(comparison: Mapping[str, Any]) -> tuple[list[Mapping[str, Any]], int]:
    """The pairs to show, and how many others there are: where they are many, those with the first run that is in any
    pair of its group."""
    pairs = comparison["pairs"]
    if len(pairs) <= MOST_PAIRS:
        return pairs, 0
    beaten = {pair["b"] for pair in pairs}
    kept = [pair for pair in pairs if pair["a"] not in beaten]
    return kept, len(pairs) - len(kept)


def _pairs(comparison: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
    metric, settings = comparison["metric"], comparison["settings"]
    pairs, others = shown_pairs(comparison)
    name = NAMES[metric]
    heads = ["on the same clips", f"{name} of both", "difference", "interval", "p (Holm)", "McNemar p (Holm)", ""]
    table = []
    for pair in pairs:
        own = pair["metrics"][metric]
        figures = [f"{own['a']:.3f} - {own['b']:.3f}", f"{own['difference']:+.3f}", span(own["interval"], signed=True)]
        tests = [chance(pair["p_holm"]), chances(pair["mcnemar"])]
        a, verdict = names[pair["a"]], pair["verdict"]
        verdict = f"{a} is better" if verdict == "a is better" else verdict
        table.append([f"{a} over {names[pair['b']]}", *figures, *tests, verdict])
    how = f"{settings['resamples']:,} resamples of speakers and clips, {100 * settings['confidence']:g} % intervals"
    many = len(comparison["pairs"])
    corrected = f", p-values corrected for {many} pairs (Holm)" if many > 1 else ""
    lines = [*_aligned(heads, table), f"  {how}{corrected}"]
    return lines + ([f"  {others} more pairs in comparison.json (--output)"] if others else [])


def _aligned(heads: Sequence[str], table: Sequence[Sequence[str]]) -> list[str]:
    """Columns of texts: the first two to the left as is one without a heading, figures to the right."""
    columns = []
    for i, column in enumerate(zip(heads, *table, strict=True)):
        width = max(map(len, column))
        left = i < 2 or not heads[i]
        columns.append([cell.ljust(width) if left else cell.rjust(width) for cell in column])
    return ["  " + "  ".join(line).rstrip() for line in zip(*columns, strict=True)]
