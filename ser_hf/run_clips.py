"""The clips of a run's parts, as a network hears them in training and in judgement."""

from datasets import Dataset

from .material import Fold, Material
from .sections import Recipe
from .training.balancing import balanced, oversampled
from .training.batches import part
from .training.windows import told


def part_of(recipe: Recipe, material: Material, fold: Fold, name: str, learnt: bool = False) -> Dataset:
    """The clips of a part. Those that the Trainer learns from are cropped where they are too long, and labelled by
    votes, over-sampled and balanced if the recipe says so; all others are whole, in windows if they are too long."""
    rows, rate = fold.split.rows[name], material.store.sampling_rate
    if learnt and recipe.training.solver == "trainer":
        longest = material.plan.longest_clip
        limits = [recipe.audio.max_duration, longest and longest / rate]
        limit = min((seconds for seconds in limits if seconds), default=None)
        clips = part(material.dataset, rows, material.store, limit, recipe.training.loss.soft_labels)
        seed = recipe.training.seeds[0]
        if balances(recipe, material):
            corpora, speakers = material.dataset["corpus"][:], material.dataset["speaker"][:]
            return balanced(clips, corpora, speakers, material.weights, recipe.training.balance, seed)
        return oversampled(clips, seed) if recipe.augment.oversample else clips
    return part(material.dataset, rows, material.store, window=window_of(recipe, material))


def balances(recipe: Recipe, material: Material) -> bool:
    """Whether an epoch meets some clips more often than others by the weights of corpora, or `training.balance`."""
    return recipe.training.balance is not None or any(weight != 1 for weight in material.weights.values())


def window_of(recipe: Recipe, material: Material) -> int | None:
    """Samples of the longest piece that is judged at once: the recipe's, or what the model can take."""
    asked = recipe.evaluation.window and round(recipe.evaluation.window * material.store.sampling_rate)
    return min((samples for samples in (asked, material.plan.longest_clip) if samples), default=None)


def told_of(recipe: Recipe, material: Material, judged: Dataset) -> list[str]:
    """What was done to clips of the judged part that the model cannot take as they are."""
    plan, rate = material.plan, material.store.sampling_rate
    limits = window_of(recipe, material), plan.longest_clip, plan.shortest_clip
    return [f"{sentence}." for sentence in told(recipe.evaluation.part, judged, rate, *limits)]
