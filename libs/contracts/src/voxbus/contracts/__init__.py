"""What travels: messages, subjects, the stream frame, events. No I/O."""
