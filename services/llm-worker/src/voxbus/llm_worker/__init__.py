"""Words to reply, sentence by sentence; tool calls."""
