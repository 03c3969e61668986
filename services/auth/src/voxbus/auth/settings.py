"""Settings of the auth service."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr

from voxbus.runtime.store import StoreSettings


class AuthSettings(StoreSettings):
    """Environment variables `VOXBUS_*`."""

    signup_enabled: bool = Field(default=True, description="Whether people may make accounts for themselves.")
    admin_email: str | None = Field(default=None, description="The first admin: made at start when there is no admin.")
    admin_password: SecretStr | None = Field(default=None, description="Password of the first admin.")
    admin_password_file: Path | None = Field(
        default=None, description="File with the first admin's password, instead of the variable."
    )
    access_ttl_s: int = Field(default=900, ge=30, le=3600, description="Life of an access token.")
    refresh_ttl_days: float = Field(default=30, gt=0, description="A login that is not used for this long ends.")
    session_max_days: float = Field(default=180, gt=0, description="A login ends after this long even when it is used.")
    signing_key_days: float = Field(default=90, gt=0, description="How long a key signs before the next one does.")
    signing_key_lead_s: float = Field(
        default=60, ge=0, description="A new key is published for this long before it signs."
    )
    signing_key_check_s: float = Field(
        default=5, gt=0, description="How often a process looks whether others changed the keys."
    )
    signing_key_passphrase: SecretStr | None = Field(
        default=None, description="Encrypts the private keys in the store; the same for every auth process."
    )
    # RFC 9106, second recommended option: 64 MiB, three passes, four lanes.
    argon2_memory_kib: int = Field(
        default=65536, ge=1024, le=4 * 1024 * 1024, description="Memory of a password's hash, in KiB."
    )
    argon2_time_cost: int = Field(default=3, ge=1, le=100, description="Its passes over that memory.")
    argon2_parallelism: int = Field(default=4, ge=1, le=64, description="Its lanes, each a thread.")
    argon2_concurrency: int | None = Field(
        default=None,
        ge=1,
        le=64,
        description="Passwords hashed at a time, each in argon2_memory_kib; unset: as many as there are cores for.",
    )
