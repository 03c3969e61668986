"""Entry point of the agents service."""

from voxbus.agents.app import AgentsApplication
from voxbus.agents.settings import AgentsSettings
from voxbus.runtime.process import load_settings, run_process

if __name__ == "__main__":
    run_process("agents", load_settings(AgentsSettings), AgentsApplication)
