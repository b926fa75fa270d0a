"""The failure drill: break the lab on purpose under load, then account for every write."""
