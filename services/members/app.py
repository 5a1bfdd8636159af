"""The process of members: `uvicorn --factory services.members.app:create`."""

from fastapi import FastAPI

from services.members.api import ROUTERS
from services.members.birthdays import EVERY_S, keep_telling
from services.members.birthdays_api import ROUTERS as BIRTHDAYS
from services.members.cards_api import cards
from services.members.handlers import HEARS, ON
from services.members.merges_api import merges
from services.members.rates_api import ROUTERS as RATES
from services.members.segments_api import ROUTERS as SEGMENTS
from shared.config import Settings
from shared.jobs import Job
from shared.service import create_service


def create(settings: Settings | None = None) -> FastAPI:
    """The app; settings come from the environment unless given."""
    return create_service(
        "members",
        "Pointbank members",
        handlers=ON,
        hears=HEARS,
        routers=(*ROUTERS, *RATES, *BIRTHDAYS, *SEGMENTS, cards, merges),
        jobs=(Job("birthdays", every_s=EVERY_S, run=keep_telling),),
        settings=settings,
    )
