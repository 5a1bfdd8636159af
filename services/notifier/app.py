"""The notifier service: `uvicorn --factory services.notifier.app:create`."""

from fastapi import FastAPI

from services.notifier.api import router
from services.notifier.handlers import HEARS, ON
from services.notifier.sender import send_all
from services.notifier.store import next_due
from shared.config import Settings
from shared.jobs import Job
from shared.service import create_service


def create(settings: Settings | None = None) -> FastAPI:
    """The service's app."""
    jobs = (Job("sender", every_s=1.0, run=send_all, endless=True),)
    return create_service(
        "notifier",
        "Pointbank notifier",
        handlers=ON,
        hears=HEARS,
        routers=[router],
        jobs=jobs,
        next_due=next_due,
        settings=settings,
    )
