"""Speech to words, and when a turn starts and ends."""
