"""Loads models: their plan, their checkpoints, published weights, and batches of clips.

- `files`: finds the files of a model, which is a folder or a repository of the Hub.
- `converted`: finds the safetensors that the Hub has made of a model's pickle.
- `data_only`: copies of third-party models that contain no code.
- `encoders`: the table of speech encoders.
- `checkpoint`: reads the configuration and the feature extractor of an encoder's checkpoint.
- `plan` and `build`: plan a model from the keys of a recipe, and build the model.
- `weights` and `transferred`: load checkpoints, and weights that other projects publish.
- `published` and `download`: the table of these published files, and their download.
- `output_names`: reads the names of a checkpoint's labels.
- `heads` and `head_networks`: load models of the Hub whose heads transformers does not have.
- `published_start`: starts a training from such a model.
- `batches`: divides clips into windows, and merges the predictions of windows.
"""
