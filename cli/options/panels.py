"""Help in sections: the options that a newcomer needs come first, the others by what they are for.

An option names its section with `rich_help_panel`, which typer itself uses only with rich; s2s
prints plain help, because that starts quickly and looks the same in a pipe.
"""

from typing import Any

from typer.core import TyperCommand

MAIN = "Options"
SEARCH = "Search"
SAMPLING = "Sampling (--search sample)"
CONTENT = "Input and content of outputs"
LISTING = "Several outputs and scores"
SPEED = "Speed"
PLACES = "Runs and image features"
LIMITS = "Limits"
ORDER = (MAIN, SEARCH, SAMPLING, LISTING, CONTENT, PLACES, LIMITS, SPEED)


class SectionedCommand(TyperCommand):
    """A command whose help lists its options in sections."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, then the sections in their order."""
        sections: dict[str, list[tuple[str, str]]] = {title: [] for title in ("Arguments", *ORDER)}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            is_argument = parameter.param_type_name == "argument"
            panel = getattr(parameter, "rich_help_panel", None) or MAIN
            sections["Arguments" if is_argument else panel].append(record)
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)
