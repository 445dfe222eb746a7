"""Call something of the shop's, and show what comes of it: ``celery_send.py EXPRESSION``."""

import sys

import celery_shop as shop  # noqa: F401
from celery import chain, chord, group  # noqa: F401

found = eval(sys.argv[1])
for each in found if isinstance(found, list) else [found]:
    print(repr(each.get(timeout=20, propagate=False)) if hasattr(each, "ready") else repr(each))
