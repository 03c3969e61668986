"""Documents of a service in MongoDB: connection, migrations, outbox, pages."""

from __future__ import annotations

from voxbus.runtime.store.connection import Document, DocumentStore, StoreSettings, store_failure

__all__ = ["Document", "DocumentStore", "StoreSettings", "store_failure"]
