"""A trained model, whoever made it, judged on a corpus: what its labels mean, whom it heard before, what it says."""
