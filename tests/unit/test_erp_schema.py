"""The schema on which the commands are measured is as large as it says."""

import re

from bench.large import KEYS, TABLES, ErpSchema


def test_as_many_tables_and_keys_as_said() -> None:
    """Tables and foreign keys are counted in the script itself, and no two tables have one name."""
    schema = ErpSchema()
    names = re.findall(r"CREATE TABLE (\w+)", schema.script)
    assert len(names) == len(set(names)) == TABLES
    assert schema.script.count("REFERENCES") == schema.keys == KEYS
    assert ErpSchema(tables=60, keys=200).keys == 200
