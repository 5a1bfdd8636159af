"""Routes of the shell: guard first, then the idempotency key, then the body; FastAPI does the rest."""

from collections.abc import Callable, Coroutine, Iterator
from typing import Any, cast

from fastapi import APIRouter
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.requests import Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from pydantic import TypeAdapter

from shared.http.auth import Guard
from shared.http.bodies import read_body
from shared.http.writes import Writes, idempotency_key


class Route(APIRoute):
    """A route that refuses in a fixed order: 401, 403, 503, 400 and 422. Unknown query parameters are refused too.

    A body is validated here, from its JSON: strict types, our pointers. FastAPI sees the finished value.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        dependants = list(_all(self.dependant))
        guards = guards_of(self)
        keyed = any(isinstance(guard, Writes) for guard in guards)
        known = {field.alias for dependant in dependants for field in dependant.query_params}
        shape, optional = None, False
        if self.body_field is not None:
            assert len(self.dependant.body_params) == 1, "a route has one body, a model"
            shape = TypeAdapter[Any](cast(Any, self.body_field.field_info.annotation))
            optional = not self.body_field.field_info.is_required()

        async def run(request: Request) -> Response:
            for guard in guards:
                await guard.admit(request)
            if keyed:
                idempotency_key(request)
            if request.scope["query_string"] and (unknown := set(request.query_params) - known):
                raise RequestValidationError(
                    [
                        {"type": "extra_forbidden", "loc": ("query", name), "msg": ""}
                        for name in sorted(unknown)
                    ]
                )
            if shape is not None:
                # Where Request.json() keeps what it decoded: FastAPI asks it and finds our model, already valid.
                request._json = await read_body(request, shape, optional=optional)  # noqa: SLF001
            return await handle(request)

        return run


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
    needed: list[object] = [dependant.call for dependant in _all(route.dependant)]
    return [call for call in needed if isinstance(call, Guard)]


def _all(dependant: Dependant) -> Iterator[Dependant]:
    yield dependant
    for needed in dependant.dependencies:
        yield from _all(needed)
