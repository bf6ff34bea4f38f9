"""What a trained model makes of recordings: labels, logits, and embeddings for systems that build on it.

Data walks through the modules in this order: `expert` loads the model, `paths` and `lists` find the `recordings` that
it is to hear, `reading` decodes them chunk by chunk, cut into the windows of a `grid` where emotion over time is asked
for, `hearing` has the model answer in batches, `vectors` takes the embeddings on the way, `tables` makes rows of it,
`timeline` smooths those over time, `text` and `files` write them, `timeline_figure` draws them, `predictions` puts
them together.
"""

from .predict import Predictions, predict

__all__ = ["Predictions", "predict"]
