"""status where there is no spec, or none that fits."""

from __future__ import annotations

from conftest import Command
from tenantry.presets import spec_path


def test_without_a_spec(shop: Command) -> None:
    """Exit 0, and it says so: what the journal knows is shown, before a migration and after it."""
    (shop.folder / "tenantry.toml").rename(shop.folder / "spec.toml")
    fresh = shop("status")
    assert (fresh.status, "NOT_STARTED  no spec that fits" in fresh.stdout) == (0, True), fresh
    assert "Next: give the spec with --config" in fresh.stdout
    assert shop("migrate", "--until", "expand", "--config", "spec.toml", "--quiet").status == 0
    told = shop("status", "--json").json
    assert (told["spec"], told["word"], told["steps"][1], told["tables"]) == (None, None, None, [])
    assert told["steps"][0] > 0
    assert [run["command"] for run in told["runs"]] == ["migrate --until expand"]
    assert "how many are to come is not known" in shop("status").stdout
    assert shop("status", "--config", "other.toml").status == 2


def test_with_a_spec_that_does_not_fit(shop: Command) -> None:
    """Exit 0: entries that do not fit are named, and all others are shown; of another database's spec nothing fits."""
    assert shop("migrate", "--until", "expand", "--quiet").status == 0
    with (shop.folder / "tenantry.toml").open("a") as spec:
        spec.write('\n[[table]]\nname = "estoque_lote"\nshared = true\n')
    told = shop("status")
    assert told.status == 0
    assert "steps applied of those that fit the database" in told.stdout
    assert "misfit   [[table]] 'estoque_lote': the table public.estoque_lote does not exist" in told.stdout
    assert "estoque_movimentacoes" in told.stdout
    assert "Next: correct the entries of the spec" in told.stdout
    (shop.folder / "other.toml").write_text(spec_path("enterprise").read_text())
    other = shop("status", "--config", "other.toml", "--json")
    assert (other.status, other.json["word"]) == (0, None)
    assert any("does not exist" in misfit for misfit in other.json["misfits"])
    assert [run["command"] for run in other.json["runs"]] == ["migrate --until expand"]
