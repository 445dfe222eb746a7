"""apm-run."""
