"""Topology modules, one per service type; each registers itself by being here."""
