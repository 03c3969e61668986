"""Campaigns of Voxbus and their contacts."""
