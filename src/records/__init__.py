"""Bytes on the disk: whole, sealed and locked; what a trial and a study write."""
