"""What earn reads and writes, in the words of its domain. Each function is one or two round trips."""
