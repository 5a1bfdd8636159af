"""The tiers service: `uvicorn --factory services.tiers.app:create`."""

from fastapi import FastAPI

from services.tiers.api import router
from services.tiers.handlers import HEARS, ON
from services.tiers.settling import settle_all
from shared.config import Settings
from shared.runtime import Job
from shared.service import create_service


def create(settings: Settings | None = None) -> FastAPI:
    """The service's app."""
    jobs = (Job("settle", every_s=1.0, run=settle_all),)
    return create_service(
        "tiers", "Pointbank tiers", handlers=ON, hears=HEARS, routers=[router], jobs=jobs, settings=settings
    )
