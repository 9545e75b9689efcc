"""Experiment trackers: TensorBoard, Weights & Biases and MLflow as listeners of a training."""
