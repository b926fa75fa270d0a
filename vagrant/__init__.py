"""The lab: the same cluster as containers on one machine or as virtual machines."""
