"""One page of all that was made and measured, in the order a reader asks."""
