"""The routes, one module per noun. Each has a `router` that `rest/api.py` takes."""
