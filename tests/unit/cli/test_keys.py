"""What the options of API keys become."""

from __future__ import annotations

from datetime import timedelta

from tenantry.model.api_key import SCOPES
from unit.cli.calling import CommandLine


def test_keys(line: CommandLine) -> None:
    called = line("keys.create_key", "keys create acme --name web")
    assert called.positional[1:] == ("acme", "web")
    assert (called.named["scopes"], called.named["lifetime"], called.named["dry_run"]) == (SCOPES, None, False)
    called = line("keys.create_key", "keys create acme --name web --scope read --expires 90d --dry-run")
    assert (called.named["scopes"], called.named["lifetime"], called.named["dry_run"]) == (
        ["read"], timedelta(days=90), True,
    )  # fmt: skip
    assert line("keys.rotate_key", "keys rotate abcdefgh").named["overlap"] == timedelta(days=1)
    assert line("keys.rotate_key", "keys rotate abcdefgh --overlap 0s").named["overlap"] == timedelta()
    assert line("keys.revoke_key", "keys revoke abcdefgh").positional == ("abcdefgh",)
    assert line("keys.list_keys", "keys list --tenant acme").named["slug"] == "acme"
    assert "--name" in line.refused("keys create acme")
