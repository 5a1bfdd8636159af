"""Gift cards: money on a card, in a ledger of its own."""
