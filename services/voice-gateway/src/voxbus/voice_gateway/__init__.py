"""The edge: voice WebSocket, call logic, play-out."""
