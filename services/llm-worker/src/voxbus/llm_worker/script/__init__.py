"""The dialogue engine of provider `scripted`: a script, what the caller said so far, and the next words follow.

No model and no memory: the state of a conversation is found by replaying its messages. See docs/agents/scripted.md.
"""
