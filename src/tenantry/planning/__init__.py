"""Turns spec and schema into a plan, without a connection to the database."""

from tenantry.planning.ownership import resolve
from tenantry.planning.plan import Plan, make_plan, until_option

__all__ = ["Plan", "make_plan", "resolve", "until_option"]
