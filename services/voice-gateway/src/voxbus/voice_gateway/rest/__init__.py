"""The REST API: a process of its own that knows who asks and what they may do, and has the services do it."""
