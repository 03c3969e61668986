"""The edge: what speaks a wire protocol with callers. `VoiceServer` listens; a `Line` is the caller's end of a call."""
