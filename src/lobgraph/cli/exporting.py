"""export: a policy for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..report.console import say
from .app import app


@app.command()
def export(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="Run directory, scenario's directory (its newest run), or policy file."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="File to write; one that is there is not overwritten.")],
    form: Annotated[
        str, typer.Option("--format", help="onnx, or torch: a program of torch.export.")
    ] = "onnx",
    role: Annotated[str | None, typer.Option(help="Whose policy, where the run has several.")] = None,
    agent: Annotated[
        int | None, typer.Option(min=0, help="Of which agent, where each has its own (ppo.sharing: agent).")
    ] = None,
) -> None:
    """Write a policy as ONNX or torch.export, normaliser and all, for any number of books and any batch."""
    from ..rl.export import export as write

    found = write(run, role, form, out, agent)
    say(
        f"inputs: {', '.join(found.inputs)}; outputs: {', '.join(found.outputs)} (docs/runs.md has their shapes)"
    )
    say(
        f"compared with the policy on random inputs: differs by {found.difference:.1g} of the action's range at most"
    )
    say(f"written: {found.path}")
