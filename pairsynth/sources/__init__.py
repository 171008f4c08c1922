"""Where captioned pictures come from; the table is `pairsynth.sources.table.SOURCES`."""
