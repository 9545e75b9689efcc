"""Pretrained vision models that make image features."""
