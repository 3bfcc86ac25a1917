"""The script that makes the operator: reasons are comments, what is optional is one, and no name ends a comment."""

from __future__ import annotations

from tenantry.reports.operator_script import OperatorScript, make_role, right

HOSTILE = "it's\n\\! rm -rf /\n--"


def script(role: str) -> str:
    rights = (
        make_role(role, "LOGIN", "The operator."),
        right("ALTER ROLE {} BYPASSRLS", role, optional=True, why="Only for dumps, " + "and so on " * 20),
        right("GRANT CONNECT ON DATABASE {} TO {}", "shop", role, why="It connects."),
    )
    return OperatorScript(role=role, database="shop", rights=rights).text


def test_the_order() -> None:
    """What is needed in one transaction, and what is optional behind its end, as comments."""
    text = script("maria")
    needed, _, optional = text.partition("COMMIT;")
    assert needed.index("BEGIN;") < needed.index("-- The operator.") < needed.index('CREATE ROLE "maria" LOGIN')
    assert '-- It connects.\nGRANT CONNECT ON DATABASE "shop" TO "maria";' in needed
    assert "BYPASSRLS" not in needed
    lines = [line for line in optional.splitlines() if line]
    assert all(line.startswith("-- ") for line in lines)
    assert max(map(len, lines)) <= 103


def test_hostile_names() -> None:
    """Within statements they are quoted; a comment of such a name stays one."""
    needed, _, behind = script(HOSTILE).partition("COMMIT;")
    assert all(not line.strip() or line.startswith("-- ") for line in behind.splitlines())
    assert 'GRANT CONNECT ON DATABASE "shop" TO "it\'s\n\\! rm -rf /\n--";' in needed
    assert "r.rolname OPERATOR(pg_catalog.=) " in needed
