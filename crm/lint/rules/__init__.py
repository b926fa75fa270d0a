"""The rules, by subject; each module's functions register themselves (crm/lint)."""
