"""Entities and rules; no I/O."""
