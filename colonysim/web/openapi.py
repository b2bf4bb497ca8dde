"""The description of the control API in OpenAPI 3.1, made of its routes: GET /colonysim/openapi.json."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

Route = tuple[str, str]
"""Method and name."""

_WHOLE: Final = {"type": "integer", "minimum": 0}
_NUMBERS: Final = dict.fromkeys(("offset", "limit", "after", "call"), _WHOLE)
_FLAGS: Final = {"descending": {"type": "string", "enum": ["true", "false"]}}
_TEXT: Final = {"type": "string", "minLength": 1}
_NEEDED: Final = {("GET", name): name for name in ("process", "workflow")} | {
    ("GET", "wire"): "call",
    ("GET", "why-not"): "process",
    ("GET", "story"): "process",
}
"""The queries that must be given."""
_LISTS: Final = {("GET", name) for name in ("faults", "calls", "snapshots", "events", "coverage")} | {
    ("POST", "faults"),
    ("PATCH", "faults"),
    ("DELETE", "faults"),
}
"""The routes that answer with a list; the others answer with an object."""
_PAGES: Final = {("GET", "report")}
"""The routes that answer with HTML; the others answer with JSON."""
_ERRORS: Final = {
    400: "The body or query makes no sense.",
    401: "The token is missing or wrong.",
    403: "This client is not answered.",
    404: "There is no such thing.",
    405: "The route takes another method.",
    409: "It cannot be now.",
    413: "The body is too long.",
    415: "The body is not sent as JSON.",
}


def describe(
    routes: Mapping[Route, Callable[..., Any]], bodies: Mapping[Route, Any], queries: Mapping[Route, tuple[str, ...]]
) -> dict[str, Any]:
    """Return the description of routes, of which each is summed up by the first line of its function's docstring."""
    kinds = [kind for kind in dict.fromkeys(bodies.values()) if kind is not Any]
    _, definitions = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    paths: dict[str, dict[str, Any]] = {}
    for (method, name), function in sorted(routes.items(), key=lambda item: (item[0][1], item[0][0])):
        operation = _operation((method, name), function, bodies, queries.get((method, name), ()))
        paths.setdefault(f"/colonysim/{name}", {})[method.lower()] = operation
    error = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
    return {
        "openapi": "3.1.0",
        "info": {"title": "The control API of colonysim", "version": "1", "license": {"name": "MIT"}},
        "paths": paths,
        "components": {
            "schemas": {**definitions, "Error": error},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


def _operation(
    route: Route, function: Callable[..., Any], bodies: Mapping[Route, Any], fields: tuple[str, ...]
) -> dict[str, Any]:
    method, name = route
    answer = {"type": "string" if route in _PAGES else "array" if route in _LISTS else "object"}
    operation: dict[str, Any] = {
        "operationId": f"{method.lower()}-{name.replace('/', '-')}",
        "summary": inspect.cleandoc(function.__doc__ or "").partition("\n")[0],
        "responses": {"200": _response("The answer.", answer, "text/html" if route in _PAGES else "application/json")}
        | {str(code): _response(text, {"$ref": "#/components/schemas/Error"}) for code, text in _ERRORS.items()},
    }
    if fields:
        operation["parameters"] = [
            {
                "name": field,
                "in": "query",
                "required": _NEEDED.get(route) == field,
                "schema": _NUMBERS.get(field) or _FLAGS.get(field) or _TEXT,
            }
            for field in fields
        ]
    if route in bodies:
        kind = bodies[route]
        schema = {} if kind is Any else {"$ref": f"#/components/schemas/{kind.__name__}"}
        operation["requestBody"] = {"content": {"application/json": {"schema": schema}}}
    return operation


def _response(text: str, schema: dict[str, Any], kind: str = "application/json") -> dict[str, Any]:
    return {"description": text, "content": {kind: {"schema": schema}}}
