"""Run the campaigns service: `python -m voxbus.campaigns`."""

from __future__ import annotations

from voxbus.campaigns.app import CampaignsApplication
from voxbus.campaigns.settings import CampaignsSettings
from voxbus.runtime.process import load_settings, run_process

if __name__ == "__main__":
    run_process("campaigns", load_settings(CampaignsSettings), CampaignsApplication)
