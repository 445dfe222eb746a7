"""Elastic's rules per family of libraries, written once (spec 18)."""
