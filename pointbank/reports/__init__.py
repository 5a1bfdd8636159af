"""What a tenant's books come to, and what a draft of a programme would come to."""
