"""What `--help` says of a verb beside its options: examples that can be pasted, and exit codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click


class Explained(click.Command):
    """A command with examples, each a sentence and the command line that does it.

    `exit_codes` are those that mean something of their own, as text: `130, 143` is one entry.
    """

    def __init__(
        self,
        *args: Any,
        examples: Sequence[tuple[str, str]],
        exit_codes: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)
        self.exit_codes = dict(exit_codes or {})

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Sentences wrap; a command line stays on its own line, so that it can be copied."""
        if self.exit_codes:
            with formatter.section("Exit codes"):
                formatter.write_dl(list(self.exit_codes.items()))
        with formatter.section("Examples"):
            for sentence, line in self.examples:
                formatter.write_text(sentence)
                formatter.write(f"{'':{formatter.current_indent + 2}}{line}\n")
        super().format_epilog(ctx, formatter)
