"""Agent configurations of Voxbus and their versions."""
