"""Numbers about pairs, one file a family; none of them knows how the pairs were made."""
