"""The server's application as a deployment of Ray Serve, with as many replicas as there are texts to speak.

serve run soundstorm_runtime.server.ray_serve:serve_app bundle=/voices/flite-multi max_replicas=20
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field
from ray import serve

from .app import create_app
from .settings import Settings, read_token


class Arguments(BaseModel):
    """What `serve run` takes as NAME=VALUE.

    Attributes:
        bundle: Folder of the voice, under the same path on all nodes.
        token_file: File of the bearer token on the node that deploys; or else the environment of that node.
        allowed_hosts: Names by which clients may address the service, separated by commas.
        threads: Processors of a replica.
        at_once: Texts that a replica speaks at the same time.
        queue: Texts that may wait in a replica.
        max_wait: Seconds until the speech of a request begins.
        target: Texts in a replica, spoken or waiting, above which another one is started.
        min_replicas, max_replicas: Bounds of their number.
    """

    model_config = ConfigDict(extra="forbid")

    bundle: Path
    token_file: Path | None = None
    allowed_hosts: str = ""
    threads: int = Field(1, ge=1)
    at_once: int = Field(32, ge=1)
    queue: int = Field(32, ge=0)
    max_wait: float = Field(10.0, gt=0)
    target: float = Field(4.0, gt=0)
    min_replicas: int = Field(1, ge=0)
    max_replicas: int = Field(4, ge=1)


def serve_app(arguments: Arguments) -> serve.Application:
    """Return the application for `serve.run`."""
    settings = Settings(
        arguments.bundle.resolve(),
        token=read_token(arguments.token_file),
        allowed_hosts=tuple(name for name in arguments.allowed_hosts.split(",") if name),
        threads=arguments.threads,
        at_once=arguments.at_once,
        queue=arguments.queue,
        max_wait=arguments.max_wait,
    )

    def build() -> FastAPI:
        return create_app(settings)

    deployment: Any = serve.deployment(
        serve.ingress(build)(),
        name="speech",
        ray_actor_options={"num_cpus": arguments.threads},
        max_ongoing_requests=arguments.at_once + arguments.queue,
        autoscaling_config={
            "min_replicas": arguments.min_replicas,
            "max_replicas": arguments.max_replicas,
            "target_ongoing_requests": arguments.target,
        },
    )
    return deployment.bind()
