"""How each code of the table is raised, by service."""
