"""Requests over the bus: see `voxbus.contracts.rpc` for operations and replies."""

from __future__ import annotations

from voxbus.runtime.rpc.client import RpcClient
from voxbus.runtime.rpc.errors import RequestFailedError, invalid, not_found, problems_of
from voxbus.runtime.rpc.server import RpcServer

__all__ = ["RequestFailedError", "RpcClient", "RpcServer", "invalid", "not_found", "problems_of"]
