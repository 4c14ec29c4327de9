"""`soundstorm-export`: a checkpoint in, a bundle out."""

from __future__ import annotations

from pathlib import Path

import click

from soundstorm_runtime.command import run, version_option


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@version_option
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("voice"),
    show_default=True,
    help="Folder of the bundle; an older bundle there is replaced.",
)
def export(checkpoint: Path, output: Path) -> None:
    """Export the voice in CHECKPOINT to a bundle that speaks without PyTorch.

    Each graph is run beside PyTorch on several lengths and batches; nothing is written unless all agree.
    """
    from soundstorm_edge.checkpoint import load_voice

    from .bundle import export_bundle

    bundle = export_bundle(load_voice(checkpoint), output, lambda line: click.echo(line, err=True))
    click.echo(f"{'graph':<14}{'size':>10}{'largest error':>16}{'equal draws':>14}")
    for name, facts in bundle.manifest.parity.items():
        megabytes = bundle.graph_file(name).stat().st_size / 1e6
        click.echo(f"{name:<14}{megabytes:>7.1f} MB{facts.largest_error:>16.1e}{facts.agreement:>14.2%}")
    click.echo(f"bundle: {output}")


def main() -> None:
    """Run the command line and exit."""
    run(export)


if __name__ == "__main__":
    main()
