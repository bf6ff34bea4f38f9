"""Where models come from: their plan, checkpoints, published files, and batches of clips.

- `files`: finds the files of a model, which is a folder or a repository of the Hub.
- `data_only`: copies of models of others that hold no code.
- `encoders`: the table of speech encoders.
- `checkpoint`: configuration and feature extractor of an encoder's checkpoint.
- `plan` and `build`: the plan of a model from the keys of a recipe, and the model itself.
- `weights` and `published`: tensors of checkpoints, and weights that other projects publish.
- `heads`: dimensional models of the Hub with heads that transformers does not have.
- `batches`: windows of clips, their batches, and predictions merged from windows.
"""
