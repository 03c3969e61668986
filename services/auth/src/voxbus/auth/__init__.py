"""Users, passwords, tokens and API keys of Voxbus."""
