"""discover --interactive: questions in a terminal, whose answers stand in the file at once."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from conftest import ROOT, Command
from servers import Database
from tenantry.model.spec import Orphans, Spec, TablePart

SHOP = """
CREATE TABLE tenants (id int PRIMARY KEY, slug text UNIQUE);
CREATE TABLE users (id int PRIMARY KEY, tenant_id int NOT NULL REFERENCES tenants);
CREATE TABLE orders (id int PRIMARY KEY, tenant_id int NOT NULL REFERENCES tenants, user_id int REFERENCES users);
CREATE TABLE visits (id int PRIMARY KEY, guest_id int NOT NULL REFERENCES users, host_id int NOT NULL REFERENCES users);
CREATE TABLE items (id int PRIMARY KEY, tenant_id int REFERENCES tenants, user_id int REFERENCES users);
CREATE TABLE notes (id int PRIMARY KEY, said text);
CREATE TABLE letters (id int PRIMARY KEY, said text);
CREATE TABLE rates (id int PRIMARY KEY, said text);
INSERT INTO tenants VALUES (1, 'a'), (2, 'b');
INSERT INTO users SELECT n, 1 + n % 2 FROM generate_series(1, 6) n;
INSERT INTO orders SELECT n, 1 + n % 2, 1 + (n + 1) % 2 FROM generate_series(1, 40) n;
INSERT INTO visits SELECT n, 1 + n % 6, 1 + (n + 1) % 6 FROM generate_series(1, 30) n;
INSERT INTO items SELECT n, CASE WHEN n > 5 THEN 1 + n % 2 END, 2 + n % 2 FROM generate_series(1, 20) n;
INSERT INTO notes SELECT n, 'x' FROM generate_series(1, 10) n;
INSERT INTO letters SELECT n, 'x' FROM generate_series(1, 9) n;
INSERT INTO rates SELECT n, 'x' FROM generate_series(1, 8) n;
ANALYZE;
"""


class Conversation:
    """The command in a terminal: what it says, and what is typed."""

    def __init__(self, shop: Command, *arguments: str) -> None:
        self.terminal, theirs = pty.openpty()
        environment = {
            **os.environ,
            "DATABASE_URL": shop.dsn,
            "PYTHONPATH": str(ROOT / "src"),
            "COLUMNS": "200",
            "NO_COLOR": "1",
            "TERM": "dumb",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tenantry", *arguments], cwd=shop.folder, env=environment, stdin=theirs,
            stdout=theirs, stderr=theirs, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        self.said = self.first = ""

    def until(self, words: str) -> str:
        """What is said up to these words, since the last time."""
        deadline = time.monotonic() + 60
        while words not in self.said:
            assert time.monotonic() < deadline, self.said
            if select.select([self.terminal], [], [], 0.2)[0]:
                try:
                    self.said += os.read(self.terminal, 65536).decode(errors="replace")
                except OSError:
                    assert words in self.said, self.said
        before, _, self.said = self.said.partition(words)
        return before

    def answers(self, *lines: str) -> str:
        """Each line, typed at its prompt; what is said by the next one."""
        said = ""
        for line in lines:
            os.write(self.terminal, f"{line}\n".encode())
            said = self.until("Answer: ")
        return said

    def ends(self, line: str) -> int:
        os.write(self.terminal, f"{line}\n".encode())
        self.until("Next: ")
        return self.process.wait(timeout=60)


@contextmanager
def talking(shop: Command, *arguments: str) -> Iterator[Conversation]:
    talk = Conversation(shop, "discover", "--interactive", *arguments)
    try:
        talk.first = talk.until("Answer: ")
        yield talk
    finally:
        talk.process.kill()
        talk.process.wait()
        os.close(talk.terminal)


@pytest.fixture
def shop(template: Callable[..., Database], command: Callable[[str], Command]) -> Command:
    return command(template("interview", lambda made: made.load(SHOP)).dsn)


def parts(shop: Command) -> dict[str, TablePart]:
    return {part.name: part for part in Spec.read(shop.folder / "tenantry.toml").table}


def undecided(shop: Command) -> set[str]:
    return {name for name, part in parts(shop).items() if part.undecided is not None}


def number(said: str, words: str) -> str:
    """Of the answer that says so."""
    (line,) = [line for line in said.splitlines() if words in line]
    return line.split()[0]


def test_answers_stand_in_the_file_at_once(shop: Command) -> None:
    """Most rows first; one answer for all tables with the same question; undo brings the file back to the byte; a wrong key
    asks again; what is left is asked the next time; at the end migrate has nothing left to ask."""
    path = shop.folder / "tenantry.toml"
    with talking(shop) as talk:
        first = talk.first
        assert "orders, 40 rows" not in first
        assert "visits, 30 rows" in first
        assert undecided(shop) == {"visits", "items", "notes", "letters", "rates"}
        written = path.read_bytes()
        os.write(talk.terminal, b"x\n")
        assert "Type 1 to" in talk.until("Answer: ")
        assert path.read_bytes() == written
        said = talk.answers(number(first, "host_id decides"))
        assert parts(shop)["visits"].paths == ((("host_id",),),)
        assert [part.child for part in Spec.read(path).reference] == ["visits.guest_id"]
        assert "items, 20 rows" in said
        said = talk.answers("u")
        assert path.read_bytes() == written
        assert "visits, 30 rows" in said
        said = talk.answers("s")
        assert "items, 20 rows" in said
        said = talk.answers(number(said, "shared by all tenants"))
        assert parts(shop)["items"].orphans is Orphans.SHARED
        assert "notes, 10 rows" in said
        assert "for all 3 tables" in said
        assert talk.ends("2*") == 0
    found = parts(shop)
    assert {found[name].shared for name in ("notes", "letters", "rates")} == {"write"}
    with talking(shop) as talk:
        assert "visits, 30 rows (1 left)" in talk.first
        assert talk.ends(number(talk.first, "guest_id decides")) == 0
    assert undecided(shop) == set()
    assert shop("migrate", "--until", "expand", "--dry-run").status == 0


def test_a_tenant_is_named(shop: Command) -> None:
    """By its slug; one that is not there would be made, so it is asked for twice."""
    with talking(shop) as talk:
        said = talk.answers("s", "s")
        one = number(said, "belong to one tenant")
        os.write(talk.terminal, f"{one}\n".encode())
        assert "a, b" in talk.until("? ")
        os.write(talk.terminal, b"bb\n")
        assert "The tenant 'bb' does not exist" in talk.until("Repeat it: ")
        said = talk.answers("b")
        assert "nothing was written" in said
        assert "notes" in undecided(shop)
        os.write(talk.terminal, f"{one}*\n".encode())
        talk.until("? ")
        os.write(talk.terminal, b"b\n")
        talk.until("Next: ")
        assert talk.process.wait(timeout=60) == 0
    assert {parts(shop)[name].assign.tenant for name in ("notes", "letters", "rates")} == {"b"}  # type: ignore[union-attr]


def test_interrupted(shop: Command) -> None:
    """Ctrl-C leaves what was answered."""
    with talking(shop) as talk:
        talk.answers("s", "s", "1")
        assert parts(shop)["notes"].shared is True
        # As the terminal does for Ctrl-C.
        os.killpg(talk.process.pid, signal.SIGINT)
        talk.until("Interrupted: 1 table answered")
        assert talk.process.wait(timeout=60) == 130
    assert undecided(shop) == {"visits", "items", "letters", "rates"}


def test_somebody_else_writes(shop: Command) -> None:
    """What is changed in an editor meanwhile stays, is asked no more, and is not taken back."""
    path = shop.folder / "tenantry.toml"
    with talking(shop) as talk:
        talk.answers("s", "s", "1")
        text = path.read_text()
        edited = "# mine\n" + text.replace('name = "letters"\nundecided = ', 'name = "letters"\nshared = true\n#')
        assert edited.count("shared = true\n#") == 1
        path.write_text(edited)
        said = talk.answers("u")
        assert "changed by another program" in said
        assert path.read_text() == edited
        assert "rates" in said
        assert "letters" not in said
        assert talk.ends("1") == 0
    assert path.read_text().startswith("# mine\n")
    assert undecided(shop) == {"visits", "items"}


def test_no_terminal(shop: Command) -> None:
    """Exit 2 with a sentence, and no file."""
    for extra in ((), ("--json",)):
        outcome = shop("discover", "--interactive", *extra)
        assert outcome.status == 2
        assert "needs a terminal" in outcome.stderr + outcome.stdout
    assert not (shop.folder / "tenantry.toml").exists()
