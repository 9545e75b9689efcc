"""A run's folder: checkpoints, logs, the environment it was made in."""
