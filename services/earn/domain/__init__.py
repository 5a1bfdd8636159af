"""What a bill is (`bill`, `body`), how a till offers one (`offer`), what it is worth (`judge`, `decision`), and why
(`words`)."""
