"""Where captioned images come from; the table is `pairsynth.sources.table.SOURCES`."""
