"""Reply to speech."""
