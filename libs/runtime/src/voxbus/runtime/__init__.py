"""What every service needs to run: settings, bus, logs, metrics, health, stage streams."""
