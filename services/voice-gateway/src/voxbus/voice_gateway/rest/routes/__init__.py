"""The routes, one module per noun; `rest/api.py` takes their `router`. After a change: `make contracts`."""
