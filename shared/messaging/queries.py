"""Messaging's queries, one set for every service: the search path says whose tables they mean."""

from shared.sql import load

queries = load("shared.messaging")
