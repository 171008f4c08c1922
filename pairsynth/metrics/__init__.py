"""Measures, one file per family; they take features or captions, whatever made them."""
