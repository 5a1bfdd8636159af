"""The queries of earn."""

from shared.sql import load

queries = load("services.earn")
merging = load("services.earn", "merging.sql")
counters = load("services.earn", "counters.sql")
acts = load("services.earn", "acts.sql")
referrals = load("services.earn", "referrals.sql")
rates = load("services.earn", "rates.sql")
