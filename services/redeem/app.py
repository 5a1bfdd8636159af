"""The process of redeem: `uvicorn --factory services.redeem.app:create`."""

from fastapi import FastAPI

from services.redeem.api import ROUTERS
from services.redeem.handlers import HEARS, ON
from services.redeem.jobs import benefits_due, closing, gift_card_sweeping, releasing
from services.redeem.jobs.reconciling import SHOWN_EVERY_S, show_open
from services.redeem.jobs.reconciling import job as reconcile
from services.redeem.jobs.sealing import seal
from services.redeem.jobs.sealing_on_call import seal_on_call
from services.redeem.jobs.sweeping import BEFORE_S, care_for_idle, do_waiting, expire_lots
from services.redeem.resting import next_due
from shared.config import Settings
from shared.jobs import Job
from shared.service import create_service


def create(settings: Settings | None = None) -> FastAPI:
    """The app; settings come from the environment unless given."""
    chosen = settings or Settings()
    jobs = [
        Job("close", every_s=closing.EVERY_S, run=closing.close_months),
        Job("asked", every_s=1.0, run=do_waiting, endless=True),
        Job("expire", every_s=300.0, run=expire_lots, first_after_s=BEFORE_S),
        Job("idle", every_s=3600.0, run=care_for_idle, first_after_s=BEFORE_S),
        Job("thresholds", every_s=benefits_due.LEARN_EVERY_S, run=benefits_due.learn_job),
        Job("lapse-benefits", every_s=benefits_due.LAPSE_EVERY_S, run=benefits_due.lapse_job),
        Job("issue-benefits", every_s=benefits_due.ISSUE_EVERY_S, run=benefits_due.issue_job),
        Job(
            gift_card_sweeping.JOB,
            every_s=gift_card_sweeping.EVERY_S,
            run=gift_card_sweeping.expire_now_and_then,
        ),
        Job(releasing.JOB, every_s=releasing.EVERY_S, run=releasing.release_now_and_then),
        Job("asked-seals", every_s=1.0, run=seal_on_call, endless=True),
        Job("show-differences", every_s=SHOWN_EVERY_S, run=show_open),
    ]
    if chosen.seal_every_s:
        jobs.append(Job("seal", every_s=chosen.seal_every_s, run=seal))
    if chosen.reconcile_every_s:
        jobs.append(Job("reconcile", every_s=chosen.reconcile_every_s, run=reconcile))
    return create_service(
        "redeem",
        "Pointbank redeem",
        handlers=ON,
        hears=HEARS,
        routers=ROUTERS,
        jobs=tuple(jobs),
        next_due=next_due,
        settings=chosen,
    )
