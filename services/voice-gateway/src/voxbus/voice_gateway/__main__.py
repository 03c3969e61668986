"""`python -m voxbus.voice_gateway`"""

from __future__ import annotations

from voxbus.runtime.process import load_settings, run_process
from voxbus.voice_gateway.app import VoiceGateway
from voxbus.voice_gateway.settings import GatewaySettings


def main() -> None:
    """Run the gateway until SIGTERM or SIGINT."""
    run_process("voice-gateway", load_settings(GatewaySettings), VoiceGateway)


if __name__ == "__main__":
    main()
