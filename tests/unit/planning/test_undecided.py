"""What hangs on an undecided table is undecided too, instead of being called misspelt."""

from tenantry.model.name import Name
from tenantry.model.schema import Column, ForeignKey, Schema, Table, Unique
from tenantry.model.spec import Spec
from tenantry.planning.ownership import resolve

SPEC = """
[tenant]
table = "tenants"
slug = "id"
[[table]]
name = "lots"
paths = [["tenants"]]
undecided = "who knows"
[[table]]
name = "moves"
paths = [["lots"]]
[[table]]
name = "notes"
paths = [["moves"]]
[[table]]
name = "boxes"
children = ["notes.boxes"]
"""


def table(name: str, *parents: str) -> Table:
    columns = [Column(name=column, type="integer", base_type="integer") for column in ("id", *parents)]
    keys = [
        ForeignKey(name=parent, columns=(parent,), parent=Name("public", parent), parent_columns=("id",))
        for parent in parents
    ]
    return Table(
        name=Name("public", name), columns=tuple(columns), foreign_keys=tuple(keys), primary_key=("id",),
        uniques=(Unique(name=f"{name}_pkey", columns=("id",), constraint=True, primary=True),),
    )  # fmt: skip


def test_tables_behind_an_undecided_one_wait_for_it() -> None:
    tables = [
        table("tenants"), table("lots", "tenants"), table("moves", "lots"), table("notes", "moves", "boxes"),
        table("boxes"),
    ]  # fmt: skip
    schema = Schema(
        version=180000, database="d", user="u", schemas=("public",), tables={one.name: one for one in tables}
    )
    ownership = resolve(Spec.parse(SPEC), schema)
    assert {name.name: why for name, why in ownership.undecided.items()} == {
        "lots": "who knows",
        "moves": "public.lots, which it needs, is undecided",
        "notes": "public.moves, which it needs, is undecided",
        "boxes": "public.notes, which it needs, is undecided",
    }
    assert not list(ownership.owned)
