"""`soundstorm-train`: every stage of training, from recorded speech to one checkpoint."""

from __future__ import annotations

import gc
import sys

import click

from soundstorm_runtime.support.command import needs_extra, run


def main() -> None:
    """Run the command line and exit; with several processes, leave their group first."""
    try:
        run(_load)
    finally:
        torch = sys.modules.get("torch")
        if torch is not None and torch.distributed.is_initialized():
            gc.collect()  # objects that hold the group keep its threads, which may abort Python's shutdown
            torch.distributed.destroy_process_group()


def _load() -> click.Command:
    with needs_extra("train"):
        from .commands import main_group
    return main_group
