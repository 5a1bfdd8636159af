"""The tills' journal: what was seen answered, against the books."""
