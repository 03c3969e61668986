"""Settings every process has: environment variables `VOXBUS_*`, or the same names in a `.env` file."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from voxbus.contracts.base import Identifier, new_id


class RuntimeSettings(BaseSettings):
    """Subclass it per service and add the service's own fields."""

    model_config = SettingsConfigDict(env_prefix="VOXBUS_", env_file=".env", extra="ignore", frozen=True)

    nats_url: str = Field(
        default="nats://127.0.0.1:4222", description="Where the bus is; several servers separated by commas."
    )
    instance_id: Identifier = Field(default_factory=lambda: new_id("p"), description="Name of this process on the bus.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="The least severe of what is logged."
    )
    http_host: str = Field(default="127.0.0.1", description="Address of /health, /ready and /metrics.")
    http_port: int = Field(
        default=0, ge=0, le=65535, description="Port of /health, /ready and /metrics; 0 takes a free one."
    )
    drain_timeout_s: float = Field(
        default=5.0, ge=0, description="How long a stopping process waits for its work to move."
    )


class WorkerSettings(RuntimeSettings):
    """Settings of a stage worker."""

    capacity: int | None = Field(
        default=None, ge=1, description="Streams at a time; unset: the stage's measured default."
    )
    orphan_timeout_s: float = Field(
        default=5.0, ge=0.5, description="A stream whose owner is silent for this long ends."
    )
