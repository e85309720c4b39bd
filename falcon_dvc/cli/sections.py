"""The help of the command line in plain text, because the import of rich takes longer than all else that a help needs."""

from typing import Any

from typer.core import TyperGroup


class SectionedGroup(TyperGroup):
    """A group of commands whose help lists them under the headings of their ``rich_help_panel``."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write a section for each heading, in the order of the first commands, with the first sentence of each help."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for name, command in self.commands.items():
            heading = getattr(command, "rich_help_panel", None)
            rows = sections.setdefault(heading if isinstance(heading, str) else "Commands", [])
            rows.append((name, (command.help or "").split("\n\n")[0]))
        for heading, rows in sections.items():
            with formatter.section(heading):
                formatter.write_dl(rows)
