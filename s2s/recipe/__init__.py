"""The recipe: typed sections, rules that tie them together, YAML in which faults have places."""
