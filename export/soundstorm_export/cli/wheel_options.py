"""`soundstorm-export --wheel`: the options of a voice package, apart from those of the export."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from soundstorm_runtime.support.command import needs_extra

if TYPE_CHECKING:
    from ..voice_package import PackageOptions


def wheel_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a voice package; the command gets them as `package`, None without --wheel."""

    @click.option(
        "--wheel",
        is_flag=True,
        help="Write a voice package: sources in the folder --output, and a wheel to publish or to install.",
    )
    @click.option("--license", help="SPDX expression of the licence of the voice, such as CC-BY-4.0.")
    @click.option(
        "--attribution",
        help="Whose speech the voice was trained on, and what their licence asks to be said.",
    )
    @click.option("--package-version", show_default="1.0.0", help="Version of the voice package.")
    @functools.wraps(command)
    def with_package(
        *arguments: Any,
        wheel: bool,
        license: str | None,
        attribution: str | None,
        package_version: str | None,
        **options: Any,
    ) -> Any:
        given = {"license": license, "attribution": attribution, "version": package_version}
        return command(*arguments, package=_package(wheel, given), **options)

    return with_package


def _package(wheel: bool, given: dict[str, str | None]) -> PackageOptions | None:
    if not wheel:
        if any(value is not None for value in given.values()):
            raise click.UsageError("--license, --attribution and --package-version need --wheel")
        return None
    if not given["license"] or not given["attribution"]:
        raise click.UsageError(
            "--wheel needs --license and --attribution: under which licence the voice may be used, and whose "
            "speech it was trained on"
        )
    with needs_extra("export"):
        from ..voice_package import PackageOptions
    return PackageOptions(**{name: value for name, value in given.items() if value is not None})
