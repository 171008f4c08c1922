"""Sources of captioned images; the table is `pairsynth.sources.acquisition.SOURCES`."""
