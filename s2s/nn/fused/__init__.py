"""Kernels for training on a GPU, written in Triton; `choice` decides where they run.

A file `*_kernel.py` imports triton and is imported where that is sure to be installed.
"""
