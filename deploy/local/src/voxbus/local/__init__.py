"""Voxbus on one machine: the `voxbus` command."""
