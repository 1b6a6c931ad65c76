"""Pictures of what the codes hold, and the report that shows them."""
