"""Escalate: which detections are one incident, how severe it is and why, and who has to know."""
