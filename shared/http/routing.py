"""Routes of the shell: declared to FastAPI as ever, which documents them; called by ourselves, in a fixed order.

FastAPI's own call solves dependencies that we don't have, decodes what pydantic can validate as it is, and judges the
body before it asks who calls.
"""

from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, cast

from fastapi import APIRouter
from fastapi._compat import ModelField, field_annotation_is_sequence
from fastapi.dependencies.utils import request_params_to_args
from fastapi.exceptions import RequestValidationError
from fastapi.requests import Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from pydantic import TypeAdapter
from starlette.datastructures import QueryParams
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from shared.errors import Refusal
from shared.http.auth import Guard
from shared.http.bodies import read_body, read_no_body
from shared.http.cursors import answer
from shared.http.problems import on_parameters, on_refusal


class Route(APIRoute):
    """A route that refuses in a fixed order: the guards (401, 403, 503, 400), the parameters (422), the body (400, 413, 422); also
    one that says something where a call takes none.

    Its dependencies are guards; its parameters stand in path, query and headers; its body is one value, validated from
    the JSON as it is. What it returns is a Response, or anything that msgspec can encode.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        dependant, endpoint = self.dependant, cast(Callable[..., Coroutine[Any, Any, Any]], self.endpoint)
        guards = [(needed.name, needed.call) for needed in dependant.dependencies]
        assert all(isinstance(guard, Guard) for _, guard in guards), "a dependency of a route is a guard"
        assert not dependant.cookie_params, "there are no cookies"
        assert len(dependant.body_params) <= 1, "a route has one body"
        known = {field.alias for field in dependant.query_params}
        lists = {
            field.alias
            for field in dependant.query_params
            if field_annotation_is_sequence(field.field_info.annotation)
        }
        body: tuple[str, TypeAdapter[Any], bool] | None = None
        if self.body_field is not None:
            field = dependant.body_params[0]
            shape = TypeAdapter[Any](cast(Any, field.field_info.annotation))
            body = field.name, shape, not field.field_info.is_required()
        takes_none = body is None and "GET" not in (self.methods or ())
        status = self.status_code or 200

        async def run(request: Request) -> Response:
            values: dict[str, Any] = {}
            for name, guard in guards:
                found = await cast(Any, guard)(request)
                if name is not None:
                    values[name] = found
            if dependant.path_params:
                _take(values, dependant.path_params, request.path_params)
            if dependant.header_params:
                _take(values, dependant.header_params, request.headers)
            query = request.query_params if request.scope["query_string"] else {}
            if unknown := query.keys() - known:
                raise RequestValidationError(
                    [
                        {"type": "extra_forbidden", "loc": ("query", name), "msg": ""}
                        for name in sorted(unknown)
                    ]
                )
            if query and (twice := _said_twice(request.query_params) - lists):
                # Of several values one would count, and the others be lost without a word.
                raise RequestValidationError(
                    [
                        {"type": "twice", "loc": ("query", name), "msg": "Say this parameter once"}
                        for name in sorted(twice)
                    ]
                )
            if nul := sorted(name for name, value in query.items() if "\0" in value):
                # PostgreSQL keeps no such text, so nothing can be found by it.
                raise RequestValidationError(
                    [
                        {"type": "nul", "loc": ("query", name), "msg": "There is a NUL character"}
                        for name in nul
                    ]
                )
            if known:
                _take(values, dependant.query_params, request.query_params)
            if dependant.request_param_name:
                values[dependant.request_param_name] = request
            if body is not None:
                name, shape, optional = body
                values[name] = await read_body(request, shape, optional=optional)
            elif takes_none:
                await read_no_body(request)
            made = await endpoint(**values)
            return made if isinstance(made, Response) else answer(made, status)

        return run


Table = Mapping[tuple[str, str], tuple["Route", Callable[[Request], Coroutine[Any, Any, Response]]]]
"""Method and path -> a route without path parameters, and how it is called."""


def straight(routes: Sequence[BaseRoute]) -> Table:
    """The routes that a call of their path goes straight to."""
    return {
        (method, route.path): (route, route.get_route_handler())
        for route in routes
        if isinstance(route, Route) and "{" not in route.path
        for method in route.methods or ()
        if _first_of(routes, method, route.path) is route
    }


def found_in(table: Table, scope: Scope) -> bool:
    """Whether an HTTP call goes straight to its route."""
    return (scope["method"], scope["path"]) in table and not scope.get("root_path")


class Straight:
    """The ASGI app of calls that are found in a table: each goes straight to its route. The answer is the router's: what that
    does in between is for files, forms and generators."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["route"], run = self._table[scope["method"], scope["path"]]
        scope["path_params"] = {}
        request = Request(scope, receive, send)
        try:
            response = await run(request)
        except Refusal as refusal:
            response = await on_refusal(request, refusal)
        except RequestValidationError as error:
            response = await on_parameters(request, error)
        await response(scope, receive, send)


def _first_of(routes: Sequence[BaseRoute], method: str, path: str) -> BaseRoute | None:
    """The route that answers such a call, by the router's own rule."""
    scope = {"type": "http", "method": method, "path": path, "root_path": ""}
    return next((route for route in routes if route.matches(scope)[0] is Match.FULL), None)


class Router(APIRouter):
    """An APIRouter whose routes are the shell's."""

    def __init__(self, *, prefix: str = "", tags: list[str] | None = None) -> None:
        super().__init__(
            prefix=prefix,
            tags=list(tags or []),
            route_class=Route,
            generate_unique_id_function=lambda route: route.name,
        )


def guards_of(route: APIRoute) -> list[Guard]:
    """The guards among a route's dependencies, in order."""
    needed: list[object] = [dependant.call for dependant in route.dependant.dependencies]
    return [call for call in needed if isinstance(call, Guard)]


def _said_twice(query: QueryParams) -> set[str]:
    said = query.multi_items()
    if len(said) == len(query):
        return set()
    return {name for name, times in Counter(name for name, _ in said).items() if times > 1}


def _take(values: dict[str, Any], fields: Sequence[ModelField], given: Mapping[str, Any]) -> None:
    found, errors = request_params_to_args(fields, cast(Any, given))
    if errors:
        raise RequestValidationError(errors)
    values.update(found)
