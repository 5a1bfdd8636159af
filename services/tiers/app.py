"""The tiers service: `uvicorn --factory services.tiers.app:create`."""

from fastapi import FastAPI

from services.tiers.api import router
from services.tiers.handlers import HEARS, ON
from services.tiers.settling import next_due, settle_all
from shared.config import Settings
from shared.jobs import Job
from shared.service import create_service


def create(settings: Settings | None = None) -> FastAPI:
    """The service's app."""
    jobs = (Job("settle", every_s=1.0, run=settle_all, endless=True),)
    return create_service(
        "tiers",
        "Pointbank tiers",
        handlers=ON,
        hears=HEARS,
        routers=[router],
        jobs=jobs,
        next_due=next_due,
        settings=settings,
    )
