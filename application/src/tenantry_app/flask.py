"""Flask: pip install "tenantry-app[flask]".

app = Flask(__name__)
use_tenants(app, Resolution(ApiKey(keys), directory=directory, open=["/health"]))
"""

from __future__ import annotations

from typing import Any

from flask import Flask, Response

from tenantry_app.problems import Problem, is_unavailable, unavailable
from tenantry_app.resolution import Resolution
from tenantry_app.wsgi import TenantMiddleware


def use_tenants(app: Flask, resolution: Resolution) -> None:
    """Serve each request of `app` in its tenant's block (see wsgi.TenantMiddleware), and answer with a problem if a
    view raises one, or if the database is unavailable."""
    app.wsgi_app = TenantMiddleware(app.wsgi_app, resolution)  # type: ignore[method-assign]
    handle = app.handle_exception

    def answer(e: Exception) -> Any:
        # Flask calls this for errors that no other handler accepts; otherwise it would log them and answer 500.
        problem = unavailable() if is_unavailable(e) else None
        return handle(e) if problem is None else _response(problem)

    app.handle_exception = answer  # type: ignore[method-assign]
    app.register_error_handler(Problem, _response)


def _response(problem: Problem) -> Response:
    return Response(problem.body, problem.status, problem.all_headers)
