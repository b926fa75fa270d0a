"""Test equipment: programs that stand in for what a container cannot have."""
