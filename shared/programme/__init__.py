"""The programme document: what people write (`model`), what is wrong with it (`validation`), and what a bill is
judged with (`compiled`)."""
