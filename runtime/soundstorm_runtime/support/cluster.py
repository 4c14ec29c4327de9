"""Clusters of Ray."""

from __future__ import annotations

import logging
import socket

import ray

from ..errors import OptionError


def connect(address: str) -> None:
    """Join a cluster.

    Args:
        address: 'HOST:PORT', 'auto' for the one that this machine belongs to, or 'local' for one that is
            started on this machine alone.

    Raises:
        OptionError: There is no cluster at this address.
    """
    try:
        host, _, port = address.rpartition(":")
        if host and port.isdecimal():  # Ray itself would try for minutes
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(address, ignore_reinit_error=True, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, OverflowError, ValueError, RuntimeError) as error:
        raise OptionError(
            f"there is no Ray cluster at {address!r} ({str(error).splitlines()[0]}); "
            "start one with: ray start --head"
        ) from error
