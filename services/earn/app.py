"""The earn service: `uvicorn --factory services.earn.app:create`."""

from fastapi import FastAPI

from services.earn.api import ROUTERS
from services.earn.handlers import HEARS, ON, buried
from services.earn.jobs.benefiting import POLL_S as BENEFITS_POLL_S
from services.earn.jobs.benefiting import keep_benefits_going
from services.earn.jobs.checking import EVERY_S, check_days
from services.earn.jobs.holding import POLL_S as HOLDS_POLL_S
from services.earn.jobs.holding import release_held_points
from services.earn.jobs.refunding import POLL_S, keep_refunds_going
from services.earn.jobs.settling import settle_waiting
from services.earn.jobs.telling import EVERY_S as TELL_EVERY_S
from services.earn.jobs.telling import tell_accruals
from services.earn.jobs.thinning import EVERY_S as THIN_EVERY_S
from services.earn.jobs.thinning import thin_sightings
from services.earn.resting import next_due
from shared.config import Settings
from shared.jobs import Job
from shared.service import create_service


def create(settings: Settings | None = None) -> FastAPI:
    """The service's app."""
    return create_service(
        "earn",
        "Pointbank earn",
        handlers=ON,
        hears=HEARS,
        routers=ROUTERS,
        jobs=(
            Job("settle", every_s=1.0, run=settle_waiting, endless=True),
            Job("holds", every_s=HOLDS_POLL_S, run=release_held_points),
            Job("settlement", every_s=EVERY_S, run=check_days),
            Job("benefits", every_s=BENEFITS_POLL_S, run=keep_benefits_going),
            Job("refunds", every_s=POLL_S, run=keep_refunds_going),
            Job("thin-sightings", every_s=THIN_EVERY_S, run=thin_sightings),
            Job("tell-accruals", every_s=TELL_EVERY_S, run=tell_accruals),
        ),
        buried=buried,
        next_due=next_due,
        settings=settings,
    )
