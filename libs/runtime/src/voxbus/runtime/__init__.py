"""What every service needs to run: settings, bus, logs, metrics, health, stage streams, requests, documents."""

import os

# NumPy's own threads wait for each other by spinning: with all cores busy, the resampler's filters took 9 s to make and not
# 0.04 s. Our matrices are too small to gain from threads. It has to be set before NumPy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
