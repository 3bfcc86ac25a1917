"""Portuguese names of towns, schools, people and food: composed from parts, each different from all others."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import gcd, prod
from typing import NamedTuple
from unicodedata import normalize

TOWNS = (
    "Nova Esperança do Vale", "Santa Luzia da Serra", "Ribeirão das Pedras", "Campo Belo do Norte",
    "Lagoa Dourada Nova", "Porto das Flores", "São Bento do Rio", "Monte Claro do Sul",
    "Vila Rica da Mata", "Águas Mansas", "Barra do Cedro", "Jardim da Colina", "Pedra Alta",
    "Três Ipês", "Boa Vista do Araguari", "Santo Amaro do Planalto", "Córrego Fundo Velho",
    "Serra dos Ventos", "Palmeiral", "Rio Manso do Oeste", "Conceição das Águas", "Capão Verde",
    "Bom Retiro da Barra", "Olho d'Água Grande", "Cruzeiro da Mata", "Aurora do Sertão",
    "Mirante do Vale", "Pinhal Novo", "Várzea Bonita", "Santana dos Pinheiros",
)  # fmt: skip

_SCHOOLS = ("EMEF", "EMEI", "Escola Municipal", "CMEI", "Creche Municipal", "Escola do Campo")
_FIRST = (
    "Ana", "Antônio", "Aparecida", "Augusto", "Beatriz", "Benedito", "Cecília", "Clarice", "Dirce",
    "Eduardo", "Elza", "Fernando", "Francisca", "Geraldo", "Helena", "Inês", "João", "Joaquim", "José",
    "Júlia", "Laura", "Lourdes", "Luís", "Madalena", "Marcos", "Maria", "Miguel", "Nair", "Olga",
    "Osvaldo", "Paulo", "Raimundo", "Rita", "Roberto", "Sebastião", "Sílvia", "Teresa", "Vicente",
    "Yolanda", "Zilda",
)  # fmt: skip
_LAST = (
    "Almeida", "Alves", "Andrade", "Araújo", "Barbosa", "Barros", "Batista", "Campos", "Cardoso",
    "Carvalho", "Castro", "Correia", "Costa", "Cunha", "Dias", "Duarte", "Farias", "Fernandes",
    "Ferreira", "Figueiredo", "Freitas", "Gomes", "Gonçalves", "Lima", "Lopes", "Macedo", "Machado",
    "Martins", "Melo", "Mendes", "Miranda", "Monteiro", "Moraes", "Moreira", "Nascimento", "Nogueira",
    "Nunes", "Oliveira", "Pacheco", "Pereira",
)  # fmt: skip
_VARIANTS = ("", " da agricultura familiar", " da região", " em embalagem dupla")
_PACKS = (1.0, 5.0)


class FoodItem(NamedTuple):
    """A food of the catalogue: `life` is its shelf life in days, `pack` its weight in kg."""

    name: str
    category: str
    perishable: bool
    life: int
    pack: float


_FOODS = (
    ("Arroz branco", "grãos", 360), ("Arroz integral", "grãos", 240), ("Feijão carioca", "grãos", 300),
    ("Feijão preto", "grãos", 300), ("Lentilha", "grãos", 360), ("Milho para canjica", "grãos", 300),
    ("Macarrão espaguete", "massas", 540), ("Macarrão parafuso", "massas", 540),
    ("Farinha de trigo", "farinhas", 180), ("Farinha de mandioca", "farinhas", 240),
    ("Fubá", "farinhas", 180), ("Aveia em flocos", "farinhas", 270), ("Leite em pó", "laticínios", 365),
    ("Queijo muçarela", "laticínios", 60), ("Iogurte natural", "laticínios", 30),
    ("Frango em cubos", "carnes", 90), ("Carne bovina moída", "carnes", 60),
    ("Peixe em filé", "carnes", 90), ("Óleo de soja", "óleos", 360),
    ("Extrato de tomate", "conservas", 720), ("Sardinha em lata", "conservas", 1080),
    ("Banana-prata", "frutas", 10), ("Maçã", "frutas", 30), ("Laranja-pera", "frutas", 20),
    ("Batata", "hortaliças", 30), ("Cenoura", "hortaliças", 25), ("Abóbora", "hortaliças", 40),
    ("Açúcar cristal", "mercearia", 720), ("Sal iodado", "mercearia", 900),
    ("Café torrado", "mercearia", 365),
)  # fmt: skip

FOODS = len(_FOODS) * len(_VARIANTS) * len(_PACKS)
"""The number of different foods."""


def school(number: int) -> str:
    """The name of school `number` (from 0); all are different."""
    kind, first, middle, last = _mixed(number, _SCHOOLS, _FIRST, _LAST, _LAST)
    return f"{kind} {first} {middle} {last}"


def person(number: int) -> str:
    """The name of person `number` (from 0)."""
    first, middle, last = _mixed(number, _FIRST, _LAST, _LAST)
    return f"{first} {middle} {last}"


def food(number: int) -> FoodItem:
    """Food `number` (from 0, below FOODS); all are different."""
    kind, rest = number % len(_FOODS), number // len(_FOODS)
    name, category, life = _FOODS[kind]
    pack = _PACKS[rest % len(_PACKS)]
    variant = _VARIANTS[rest // len(_PACKS)]
    return FoodItem(f"{name}{variant} {pack:.0f} kg", category, life <= 90, life, pack)


def slug(name: str) -> str:
    """A name in lower-case ASCII letters with hyphens."""
    plain = normalize("NFKD", name).encode("ascii", "ignore").decode()
    return "-".join("".join(letter if letter.isalnum() else " " for letter in plain.lower()).split())


def _mixed(number: int, *parts: Sequence[str]) -> list[str]:
    """One combination per number, with neighbouring numbers far apart.

    A stride that has no factor in common with the number of combinations visits each of them once; higher numbers get a
    numbered last part.
    """
    total = prod(map(len, parts))
    stride = _stride(total)
    round_, place = divmod(number, total)
    place = place * stride % total
    chosen = []
    for part in parts:
        place, index = divmod(place, len(part))
        chosen.append(part[index])
    if round_:
        chosen[-1] += f" {round_ + 1}"
    return chosen


@cache
def _stride(total: int) -> int:
    golden = total * 618_034 // 1_000_000
    return next(step for step in range(golden, total) if gcd(step, total) == 1)
