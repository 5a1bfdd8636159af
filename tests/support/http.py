"""A small service in the shell, for tests of the shell: it writes to a list, under real tokens and real keys."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import httpx
import msgspec
from fastapi import FastAPI, Query
from pydantic import AwareDatetime, BaseModel, Field, model_validator
from pydantic_core import PydanticCustomError
from starlette.requests import Request
from starlette.responses import Response

from pointbank.tokens import DevKeys, dev_keys, issue
from shared.config import Settings
from shared.errors import NotFound
from shared.http.app import create_app
from shared.http.auth import Principal, require
from shared.http.bodies import Body, Moment
from shared.http.cursors import Cursor, Limit, answer, decode_cursor, page
from shared.http.openapi import problems
from shared.http.problems import TenantForbidden
from shared.http.routing import Router
from shared.http.runtime import Check
from shared.http.writes import Read, Write, reads, writes
from shared.messaging.answers import refusal
from shared.messaging.commands import Done, FromHttp, Item, Outcome, Refused

AmountMinor = Annotated[int, Field(ge=1, le=10**12)]


class Member(Body):
    card_number: str | None = None
    email: str | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> "Member":
        if (self.card_number is None) == (self.email is None):
            raise PydanticCustomError("identity_ambiguous", "Exactly one of card_number, email is wanted.")
        return self


class Line(Body):
    sku: str
    amount_minor: AmountMinor


class Sale(Body):
    ref: str = Field(min_length=1, max_length=64)
    channel: Literal["store", "ecom"] = "store"
    occurred_at: AwareDatetime | None = None
    member: Member | None = None
    lines: list[Line] = Field(default=[], max_length=1000)


class SaleOut(BaseModel):
    sale_id: UUID
    status: str


class RecordSale(msgspec.Struct, frozen=True):
    sale: Sale


class Position(msgspec.Struct):
    last: int


class ListLane:
    """Writes each command to a list, once per idempotency key; refuses the ref "refused"."""

    def __init__(self) -> None:
        self.items: list[Item[Any]] = []
        self._answers: dict[tuple[str, str, str], tuple[bytes, Outcome]] = {}

    async def submit(self, item: Item[Any]) -> Outcome:
        origin = item.origin
        assert isinstance(origin, FromHttp)
        scope = (origin.principal, origin.route, origin.key)
        if (known := self._answers.get(scope)) is not None:
            if known[0] != origin.request_hash:
                raise refusal("idempotency_key_reused", "The key was used with other content.")
            match known[1]:
                case Done(status, body):
                    return Done(status, body, replayed=True)
                case Refused(refused):
                    return Refused(refused, replayed=True)
        self.items.append(item)
        outcome: Outcome = Done(
            201, b'{"sale_id":"01a20261-6110-7623-a101-67553939c87e","status":"recorded"}'
        )
        if item.command.sale.ref == "refused":
            outcome = Refused(refusal("bill_conflict", "Another sale has this reference."))
        self._answers[scope] = (origin.request_hash, outcome)
        return outcome


class Shop:
    """The running service: two tenants, one of them being migrated."""

    def __init__(self) -> None:
        self.lanes = {"acme": ListLane()}
        self.broken: Exception = RuntimeError("the card 6270158304941178 was in here")
        self.extra: list[Check] = []

    def tenant(self, code: str) -> "ShopTenant":
        if code == "moving":
            raise refusal("tenant_migrating", "The tenant is being migrated.")
        if code not in self.lanes:
            raise TenantForbidden("There is no such tenant here.")
        return ShopTenant(code, self.lanes[code])

    def checks(self) -> Sequence[Check]:
        return [Check("consumer earn", True), *self.extra]


class ShopTenant(msgspec.Struct, frozen=True):
    code: str
    lane: ListLane


def router() -> Router:
    made = Router(prefix="/v1", tags=["sales"])

    @made.post(
        "/sales",
        status_code=201,
        response_model=SaleOut,
        responses=problems("bill_conflict", "total_mismatch"),
    )
    async def record_sale(
        body: Sale, call: Annotated[Write, writes("bills:write", one_merchant="own")]
    ) -> Response:
        """Records a sale."""
        call.principal.at_merchant("shop-1")
        return await call.submit(RecordSale(body), terminal="T03")

    @made.get("/sales")
    async def list_sales(
        call: Annotated[Read, reads("bills:read")],
        channel: Annotated[list[Literal["store", "app"]] | None, Query()] = None,
        since: Annotated[Moment | None, Query()] = None,
        cursor: Cursor = None,
        limit: Limit = 2,
    ) -> Response:
        position = decode_cursor(cursor, Position)
        start = position.last if position is not None else 0
        numbers = list(range(start + 1, min(start + limit, 5) + 1))
        return page(numbers, Position(numbers[-1]) if numbers[-1] < 5 else None)

    @made.get("/sales/{sale_id}", response_model=SaleOut, responses=problems("not_found"))
    async def get_sale(sale_id: UUID, who: Annotated[Principal, require("bills:read")]) -> Response:
        if sale_id.int == 0:
            raise NotFound("There is no such sale.")
        return answer({"sale_id": sale_id, "status": who.subject})

    @made.post("/sales/{sale_id}/void", response_model=SaleOut)
    async def void_sale(
        sale_id: UUID, call: Annotated[Write, writes("bills:write", one_merchant="own")]
    ) -> Response:
        """Takes no body."""
        return await call.submit(RecordSale(Sale(ref=str(sale_id))))

    @made.get("/bugs")
    async def bug(request: Request, who: Annotated[Principal, require()]) -> Response:
        raise request.app.state.runtime.broken

    return made


class Served:
    """The app, a client without a token, and what issues tokens for it."""

    def __init__(self, app: FastAPI, shop: Shop, client: httpx.AsyncClient, keys: DevKeys) -> None:
        self.app = app
        self.shop = shop
        self.client = client
        self.keys = keys

    def token(self, role: str = "ecommerce", tenant: str = "acme", **more: Any) -> str:
        return issue(self.keys, role=role, tenant=tenant, subject="shop-app", **more)

    def headers(self, key: str | None = None, **more: Any) -> dict[str, str]:
        made = {"Authorization": f"Bearer {self.token(**more)}"}
        return made if key is None else {**made, "Idempotency-Key": key}

    async def post(self, body: Any, key: str | None = "k-1", **more: Any) -> httpx.Response:
        content = body if isinstance(body, bytes) else msgspec.json.encode(body)
        headers = {"Content-Type": "application/json", **self.headers(key), **more.pop("headers", {})}
        return await self.client.post("/v1/sales", content=content, headers=headers, **more)


def shop_app(
    keys: DevKeys, shop: Shop, *, service: str = "earn", routers: Sequence[Router] | None = None
) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.runtime = shop
        yield

    settings = Settings(jwt_keys=str(keys.jwks))
    chosen = [router()] if routers is None else routers
    return create_app("Shop", chosen, lifespan, service=service, settings=settings)


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[Served]:
    """The small service, called in-process."""
    keys = dev_keys(folder)
    shop = Shop()
    app = shop_app(keys, shop)
    transport = httpx.ASGITransport(app, raise_app_exceptions=True, client=("203.0.113.7", 5050))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://shop") as client,
    ):
        yield Served(app, shop, client, keys)


PROBLEM_MEMBERS = ["type", "title", "status", "code", "detail", "request_id"]


def assert_problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """That the answer is this problem, in the one form; gives its members."""
    found: dict[str, Any] = response.json()
    assert (response.status_code, found["code"]) == (status, code), found
    assert response.headers["content-type"] == "application/problem+json"
    assert list(found)[:6] == PROBLEM_MEMBERS
    assert found["type"] == f"/problems/{code}"
    assert found["status"] == status
    assert found["request_id"] == response.headers["x-request-id"]
    return found
