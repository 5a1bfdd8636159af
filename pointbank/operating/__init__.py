"""What an operator has to set right, or moves: dead letters, streams, and a tenant as a whole."""
