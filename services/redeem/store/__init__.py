"""What redeem reads and writes, in the words of its domain. Each function is one round trip."""
