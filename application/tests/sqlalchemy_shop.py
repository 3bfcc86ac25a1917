"""The shop's models in SQLAlchemy."""

from __future__ import annotations

from typing import Any

from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import URL, ForeignKey, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    pass


class Customer(Base):
    __tablename__ = "customers"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    orders: Mapped[list[Order]] = relationship(back_populates="customer")


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("customers.id"))
    note: Mapped[str | None]
    customer: Mapped[Customer] = relationship(back_populates="orders")


COUNT = select(func.count()).select_from(Order)


def url(dsn: str, driver: str) -> URL:
    options = conninfo_to_dict(dsn)
    host, port = str(options["host"]), int(str(options.get("port") or 5432))
    place: dict[str, Any] = (
        {"query": {"host": host, "port": str(port)}} if host.startswith("/") else {"host": host, "port": port}
    )
    return URL.create(f"postgresql+{driver}", str(options["user"]), database=str(options["dbname"]), **place)
