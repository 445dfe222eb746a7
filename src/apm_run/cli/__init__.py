"""The launcher ``apm-run``: a POSIX shell script, and the Python form it hands over to."""
