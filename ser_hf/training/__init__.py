"""Training: the Trainer with its losses, schedules, freezing and adapters, or scikit-learn."""
