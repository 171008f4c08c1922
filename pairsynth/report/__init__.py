"""The report: one HTML page of everything that was made and measured."""
