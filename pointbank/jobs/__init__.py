"""Jobs of the services that a command runs: once, for one tenant or for all."""
