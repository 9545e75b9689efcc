"""Pretrained vision models that extract image features."""
