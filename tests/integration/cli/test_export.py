"""export writes an ORM's files; that they are right, its own ORM says (application/tests)."""

from __future__ import annotations

from conftest import Command


def test_files(shop: Command) -> None:
    """Not before there is a tenant column; into new files, unless it is told to write over what is there."""
    early = shop("export", "django")
    assert (early.status, "has no tenant column yet" in early.stderr) == (4, True)
    assert shop("migrate", "--until", "expand").status == 0
    django = ("export", "django", "--app", "stock", "--output", "stock")
    assert shop(*django).status == 0
    models = shop.folder / "stock" / "models.py"
    assert "class Escolas(models.Model):" in models.read_text()
    assert models.stat().st_mode & 0o777 == 0o600
    models.write_text("")
    assert shop(*django).status == 4
    assert shop(*django, "--force").status == 0
    assert models.read_text()
