"""Defaults that fit the data: what a recipe does not say is chosen from counts of its pairs, from
the time there is, and from the speed of the machine.

    counts.py   counts one side of the training pairs, and both together
    rules.py    what the counts say: one function a subject, each choice with its reason
    sizes.py    sizes of models, and their speed on this machine
    choose.py   all choices for a recipe
"""
