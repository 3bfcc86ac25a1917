"""School-food stock of many municipalities; the owner of a lot can be found only from its movements."""

from tenantry.presets.estoque.faults import FAULTS
from tenantry.presets.estoque.rows import Estoque

__all__ = ["FAULTS", "Estoque"]
