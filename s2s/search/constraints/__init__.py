"""Constraints on outputs: positive, negative, on the logits."""
