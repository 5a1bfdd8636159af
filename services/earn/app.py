"""The earn service: `uvicorn --factory services.earn.app:create`."""

from fastapi import FastAPI

from services.earn.api import router
from services.earn.handlers import HEARS, ON, buried
from services.earn.quotes import router as quotes
from services.earn.settling import settle_waiting
from shared.config import Settings
from shared.runtime import Job
from shared.service import create_service


def create(settings: Settings | None = None) -> FastAPI:
    """The service's app."""
    return create_service(
        "earn",
        "Pointbank earn",
        handlers=ON,
        hears=HEARS,
        routers=[router, quotes],
        jobs=(Job("settle", every_s=1.0, run=settle_waiting),),
        buried=buried,
        settings=settings,
    )
