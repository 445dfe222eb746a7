"""Enqueue something: ``rq_send.py EXPRESSION``; prints the ids."""

import datetime  # noqa: F401
import sys

import rq_jobs  # noqa: F401
from rq_jobs import Queue, Retry, connection, queue  # noqa: F401

try:
    from rq import Callback  # noqa: F401
except ImportError:
    pass

found = eval(sys.argv[1])
for job in found if isinstance(found, list) else [found]:
    print(*(getattr(job, "words", None) or (job.id, job.meta, job.get_status())))
