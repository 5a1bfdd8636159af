"""The HTTP shell that every service wears: see app.create_app, routing.Router, writes.reads and writes.writes."""
