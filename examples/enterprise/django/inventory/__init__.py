"""The inventory's tables, and who is a member of which organisation."""


class Router:
    """What the admin keeps of its own is in `control`; migrations run there alone."""

    OWN = frozenset({"admin", "auth", "contenttypes", "sessions"})

    def _alias(self, model):
        return "control" if model._meta.app_label in self.OWN or model._meta.model_name == "member" else "default"

    def db_for_read(self, model, **hints):
        return self._alias(model)

    def db_for_write(self, model, **hints):
        return self._alias(model)

    def allow_migrate(self, db, app_label, **hints):
        return db == "control"
