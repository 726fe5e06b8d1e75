"""Support cases: what customers, employees and others report, until it is an incident or none."""
