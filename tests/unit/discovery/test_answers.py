"""What a person can answer about a table, and what each answer writes; one that does not fit is refused."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from tenantry.discovery.answers import TableQuestion, answered, questions
from tenantry.discovery.proposal import Proposal
from tenantry.discovery.spec_file import spec_text
from tenantry.errors import UsageError
from tenantry.model.schema import Schema, Table
from tenantry.model.spec import Orphans, Spec, TablePart
from unit.discovery.answering import Answers, Rows, proposed
from unit.planning.shop import PRODUCTS, STORES
from unit.schemas import TENANTS, schema, table, unique

PEOPLE = table("people", "tenant_id > tenants")
GOODS = table("goods", "store_id? > stores", "person_id? > people")


class Asked:
    """What discover leaves open of these tables, and what an answer makes of the file."""

    def __init__(self, *tables: Table, given: Answers | None = None) -> None:
        self.schema: Schema = schema(TENANTS, STORES, *tables)
        self.proposal: Proposal = proposed(STORES, *tables, given=given)
        self.text = spec_text(self.proposal)
        self.spec = Spec.parse(self.text)
        self.questions = questions(self.spec, self.proposal, self.schema)

    def question(self, of: str) -> TableQuestion:
        return next(one for one in self.questions if one.part.name == of)

    def after(self, of: str, words: str, slug: str = "") -> tuple[Spec, TablePart]:
        """The spec, and the table's part of it, after the answer that says these words."""
        question = self.question(of)
        (answer,) = (one for one in question.answers if words in one.meaning)
        spec = Spec.parse(answered(self.text, self.spec, self.schema, [(question, answer)], slug))
        (part,) = (one for one in spec.table if one.name == of)
        assert part.undecided is None
        return spec, part


def test_most_rows_first() -> None:
    """As the census counted them, or else as PostgreSQL estimates; what is decided is not asked."""
    asked = Asked(PRODUCTS, PEOPLE, GOODS, given={"goods": Rows(rows=9, conflicts=1, paths={"person_id": (9, 1)})})
    assert [(one.part.name, one.rows) for one in asked.questions] == [("products", 1000), ("goods", 9)]
    assert asked.question("products").cause == "no path reaches them"


@pytest.mark.parametrize(
    ("words", "key", "value"),
    [("none may write", "shared", True), ("shared and writable", "shared", "write")],
)
def test_shared(words: str, key: str, value: object) -> None:
    _, part = Asked(PRODUCTS).after("products", words)
    assert getattr(part, key) == value


def test_one_tenants() -> None:
    _, part = Asked(PRODUCTS).after("products", "belong to one tenant", slug="it's")
    assert part.assign is not None
    assert part.assign.tenant == "it's"


CONFLICT: Answers = {"goods": Rows(conflicts=3, paths={"person_id": (10, 3)})}


@pytest.mark.parametrize(("words", "path", "other"), [
    ("store_id decides", "store_id", "person_id"), ("person_id decides", "person_id", "store_id"),
])  # fmt: skip
def test_one_of_two_ways(words: str, path: str, other: str) -> None:
    """The other one may lead to another tenant's row from then on."""
    spec, part = Asked(PEOPLE, GOODS, given=CONFLICT).after("goods", words)
    assert part.paths == (((path,),),)
    assert [(one.child, one.crosses) for one in spec.reference] == [(f"goods.{other}", True)]


BOXES, SALES = table("boxes"), table("sales", "store_id > stores", "box_id > boxes")
ORPHANS: Answers = {"boxes": Rows(paths={"sales.box_id": (8, 0)})}


@pytest.mark.parametrize(
    ("words", "orphans", "slug"),
    [
        ("are shared by all tenants", Orphans.SHARED, ""),
        ("belong to the default tenant", Orphans.DEFAULT, "rest"),
        ("belong to the quarantine tenant", Orphans.QUARANTINE, ""),
    ],
)
def test_rows_without_a_tenant(words: str, orphans: Orphans, slug: str) -> None:
    spec, part = Asked(SALES, BOXES, given=ORPHANS).after("boxes", words, slug=slug)
    assert part.orphans is orphans
    assert spec.tenant.default == (slug or None)
    assert part.children == ("sales.box_id",)


def test_a_default_tenant_that_is_there_is_not_asked_for() -> None:
    asked = Asked(SALES, BOXES, given=ORPHANS)
    spec = Spec.parse(asked.text.replace("[tenant]\n", '[tenant]\ndefault = "rest"\n'))
    (question,) = questions(spec, asked.proposal, asked.schema)
    (answer,) = (one for one in question.answers if "default tenant" in one.meaning)
    assert answer.slug == ""
    assert "'rest'" in answer.meaning


def test_members() -> None:
    """Who is linked to a row reads it, or changes it as well."""
    link = table("listings", "product_id > products", "tenant_id > tenants",
                 uniques=(unique("id", primary=True), unique("product_id", "tenant_id")))  # fmt: skip
    asked = Asked(link, PRODUCTS, given={"products": Rows(paths={"listings.product_id": (10, 4)})})
    for words, writable in (("none may write", False), ("changes them", True)):
        answers = [
            one for one in asked.question("products").answers if "linked" in one.meaning and words in one.meaning
        ]
        spec = Spec.parse(answered(asked.text, asked.spec, asked.schema, [(asked.question("products"), answers[0])]))
        (part,) = (one for one in spec.table if one.name == "products")
        assert (part.membership, part.writable) == ("listings", writable)


def test_what_discover_proposes_by_now() -> None:
    """Of a table that was open when the file was written: the keys that do not fit any more go."""
    asked = Asked(Table(name=PEOPLE.name, columns=PEOPLE.columns, foreign_keys=PEOPLE.foreign_keys,
                                   primary_key=PEOPLE.primary_key, uniques=PEOPLE.uniques))  # fmt: skip
    text = asked.text.replace('paths = [["tenant_id"]]', 'shared = true\nundecided = "?"')
    spec = Spec.parse(text)
    question = next(one for one in questions(spec, asked.proposal, asked.schema) if one.part.name == "people")
    answer = question.answers[0]
    assert answer.meaning == 'as discover now proposes: paths = [["tenant_id"]]'
    part = next(one for one in Spec.parse(answered(text, spec, asked.schema, [(question, answer)])).table
                if one.name == "people")  # fmt: skip
    assert (part.paths, part.shared, part.undecided) == (((("tenant_id",),),), False, None)


def test_an_answer_that_does_not_fit() -> None:
    """A column that is gone since refuses the way that begins with it; what did not fit before is no reason."""
    asked = Asked(PEOPLE, GOODS, given=CONFLICT)
    now = schema(TENANTS, STORES, PEOPLE, table("goods", "person_id? > people"))
    text = f'{asked.text}\n[[table]]\nname = "nowhere"\nshared = true\n'
    for words, fits in (("store_id decides", False), ("shared: all tenants read it", True)):
        (answer,) = (one for one in asked.question("goods").answers if words in one.meaning)
        with nullcontext() if fits else pytest.raises(UsageError, match="has no column 'store_id'"):
            answered(text, Spec.parse(text), now, [(asked.question("goods"), answer)])
