"""One command per stage of dvc.yaml."""
