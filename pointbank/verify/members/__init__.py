"""Who takes part, with which cards, in which segment and at which tier, and what they were told."""
