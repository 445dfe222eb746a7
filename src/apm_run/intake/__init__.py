"""Intake v2 in both directions: encode for the agent; decode and validate for the receiver; limits for both."""
