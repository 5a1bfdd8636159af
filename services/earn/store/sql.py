"""The queries of earn."""

from shared.sql import load

queries = load("services.earn")
merging = load("services.earn.store", "merging.sql")
counters = load("services.earn.store", "counters.sql")
acts = load("services.earn.store", "acts.sql")
referrals = load("services.earn.store", "referrals.sql")
rates = load("services.earn.store", "rates.sql")
