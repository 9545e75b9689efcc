"""s2s: train and use attentive LSTM sequence-to-sequence models, described by one YAML recipe."""

__version__ = "0.1.0"
