"""Whether a command line of ours exists, and settings."""

from collections.abc import Sequence
from typing import Any

import typer

from workers.cli import app
from workers.gateway.settings import GatewaySettings

SETTINGS = {f"PHOTOTWIN_{name.upper()}" for name in GatewaySettings.model_fields}
BESIDE_SETTINGS = {"PHOTOTWIN_SECRETS_DIR"}
"""What `workers.runtime.settings` reads besides."""


def exists(arguments: Sequence[str]) -> None:
    """Of `phototwin ARGUMENTS`. Raises ValueError, or what the command's parser raises."""
    command: Any = typer.main.get_command(app)
    context, rest = command.context_class(command, info_name="phototwin"), list(arguments)
    while rest and hasattr(command, "get_command"):
        name = rest.pop(0)
        command = command.get_command(context, name)
        if command is None:
            raise ValueError(f"there is no command {name}")
        context = command.context_class(command, parent=context, info_name=name)
    if rest or not getattr(command, "invoke_without_command", False):
        command.parse_args(context, rest)
